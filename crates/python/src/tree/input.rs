//! What scikit-learn's `Tree` takes: `float32` arrays with two dimensions, and CSR matrices.
#![forbid(unsafe_code)]

use numpy::{
    PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray2, PyUntypedArray,
    PyUntypedArrayMethods,
};
use onecopy::{Csr, TreeInput, TreeInputError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Borrowed rows.
pub(super) enum Rows<'py> {
    Dense(PyReadonlyArray2<'py, f32>),
    Csr { data: Vec<f32>, indices: Vec<i32>, indptr: Vec<i32>, n_columns: usize },
}

impl<'py> Rows<'py> {
    /// In scikit-learn's words, if it cannot be.
    pub(super) fn borrow(x: &Bound<'py, PyAny>) -> PyResult<Self> {
        let Ok(array) = x.cast::<PyUntypedArray>() else { return Self::sparse(x) };
        let is_f32 = array.dtype().is_equiv_to(&numpy::dtype::<f32>(x.py()));
        if !is_f32 {
            return Err(PyValueError::new_err(format!(
                "X.dtype should be np.float32, got {}",
                array.dtype()
            )));
        }
        let wrong = || format!("Buffer has wrong number of dimensions (expected 2, got {})", array.ndim());
        if array.is_aligned() {
            let x = x.cast::<PyArray2<f32>>().map_err(|_| PyValueError::new_err(wrong()))?;
            return Ok(Rows::Dense(x.try_readonly()?));
        }
        let copy = x.call_method0("copy")?;
        let copy = copy.cast_into::<PyArray2<f32>>().map_err(|_| PyValueError::new_err(wrong()))?;
        Ok(Rows::Dense(copy.try_readonly()?))
    }

    fn sparse(x: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = x.py();
        if !py.import("scipy.sparse")?.call_method1("issparse", (x,))?.extract::<bool>()? {
            let message = format!("X should be in np.ndarray format, got {}", x.get_type());
            return Err(PyValueError::new_err(message));
        }
        if x.getattr("format")?.extract::<String>()? != "csr" {
            let message = format!("X should be in CSR sparse format, got {}", x.get_type());
            return Err(PyValueError::new_err(message));
        }
        let dtype = x.getattr("dtype")?;
        if !dtype.eq(numpy::dtype::<f32>(py))? {
            return Err(PyValueError::new_err(format!("X.dtype should be np.float32, got {dtype}")));
        }
        let (_, n_columns) = x.getattr("shape")?.extract::<(usize, usize)>()?;
        let data = x.getattr("data")?.cast_into::<PyArray1<f32>>()?.try_readonly()?.as_array().to_vec();
        Ok(Rows::Csr { data, indices: indices(x, "indices")?, indptr: indices(x, "indptr")?, n_columns })
    }

    pub(super) fn n_rows(&self) -> usize {
        match self {
            Rows::Dense(x) => x.as_array().nrows(),
            Rows::Csr { indptr, .. } => indptr.len().saturating_sub(1),
        }
    }

    pub(super) fn input(&self) -> Result<TreeInput<'_>, TreeInputError> {
        match self {
            Rows::Dense(x) => Ok(TreeInput::Dense(x.as_array())),
            Rows::Csr { data, indices, indptr, n_columns } => {
                Csr::new(data, indices, indptr, *n_columns).map(TreeInput::Csr)
            }
        }
    }
}

fn indices(x: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<i32>> {
    let array = x.getattr(name)?;
    let Ok(array) = array.cast::<PyArray1<i32>>() else {
        let found = array.getattr("dtype")?;
        let message =
            format!("Buffer dtype mismatch, expected 'const int32_t' but got '{found}' in X.{name}");
        return Err(PyValueError::new_err(message));
    };
    Ok(array.try_readonly()?.as_array().to_vec())
}
