//! The engine on NumPy input: borrows the rows, releases the GIL, answers with NumPy arrays.
#![forbid(unsafe_code)]

use ndarray::ArrayView2;
use numpy::{Element, PyArray2, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use onecopy::{Input, Method, Output, PredictError, RunOptions};
use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::array;
use crate::error::{self, Kind};
use crate::source::Source;

/// Runs `method` of a member of the plan, or of the whole plan, on the rows of `x`.
///
/// `x` is an array of `float32` or `float64` with two dimensions and any strides, and is not changed by anyone meanwhile.
/// Gives one array, or a list of one per output.
pub(crate) fn run<'py>(
    py: Python<'py>,
    source: &Bound<'py, Source>,
    member: Option<u32>,
    method: Method,
    x: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let rows = Rows::of(x).ok_or_else(|| unsuitable(x))?;
    run_rows(py, source, member, method, &rows, threads)
}

/// As [`run`] of the whole plan; `None` if `x` is not such an array.
pub(crate) fn run_if_rows<'py>(
    py: Python<'py>,
    source: &Bound<'py, Source>,
    method: Method,
    x: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(rows) = Rows::of(x) else { return Ok(None) };
    run_rows(py, source, None, method, &rows, threads).map(Some)
}

fn run_rows<'py>(
    py: Python<'py>,
    source: &Bound<'py, Source>,
    member: Option<u32>,
    method: Method,
    rows: &Rows<'_, 'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    // What a member gets has been validated by scikit-learn, whose installed version decides about NaN.
    let options = RunOptions { threads, check_finite: member.is_none() };
    let file = source.get();
    let output = rows.run(|x| file.run(member, method, x, &options))?;
    match output {
        Ok(output) => to_python(py, &output),
        Err(error) => Err(refused(py, file, &error)),
    }
}

impl Source {
    fn run(
        &self,
        member: Option<u32>,
        method: Method,
        x: Input<'_>,
        options: &RunOptions,
    ) -> Result<Output, PredictError> {
        match member {
            Some(member) => self.model().run_member(member, method, x, options),
            None => self.model().run(method, x, options),
        }
    }
}

/// The input.
enum Rows<'a, 'py> {
    F32(&'a Bound<'py, PyArray2<f32>>),
    F64(&'a Bound<'py, PyArray2<f64>>),
}

impl<'a, 'py> Rows<'a, 'py> {
    /// `None` if `x` is not an aligned array of `float32` or `float64` with two dimensions.
    fn of(x: &'a Bound<'py, PyAny>) -> Option<Self> {
        if !x.cast::<PyUntypedArray>().is_ok_and(|array| array.is_aligned()) {
            return None;
        }
        let f64s = || x.cast::<PyArray2<f64>>().map(Rows::F64);
        x.cast::<PyArray2<f32>>().map(Rows::F32).or_else(|_| f64s()).ok()
    }

    fn run(&self, call: impl Call) -> PyResult<Result<Output, PredictError>> {
        match self {
            Rows::F32(x) => run_on(x, |x| call(Input::F32(x))),
            Rows::F64(x) => run_on(x, |x| call(Input::F64(x))),
        }
    }
}

/// What is done with the rows.
trait Call: Fn(Input<'_>) -> Result<Output, PredictError> + Sync {}
impl<F: Fn(Input<'_>) -> Result<Output, PredictError> + Sync> Call for F {}

fn run_on<T: Element + Sync>(
    x: &Bound<'_, PyArray2<T>>,
    call: impl Fn(ArrayView2<'_, T>) -> Result<Output, PredictError> + Sync,
) -> PyResult<Result<Output, PredictError>> {
    // One row is done before another thread could have begun, and before it could be marked as borrowed.
    if x.dims()[0] <= 1 {
        return Ok(array::with_rows(x, call));
    }
    let rows = x.try_readonly()?;
    let view = rows.as_array();
    Ok(x.py().detach(|| call(view)))
}

fn unsuitable(x: &Bound<'_, PyAny>) -> PyErr {
    let found = match x.cast::<PyUntypedArray>() {
        Ok(array) => format!("{} with {}", array.dtype(), array.ndim()),
        Err(_) => x.get_type().to_string(),
    };
    PyTypeError::new_err(format!(
        "expected an aligned array of float32 or float64 with 2 dimensions, found {found}"
    ))
}

fn to_python<'py>(py: Python<'py>, output: &Output) -> PyResult<Bound<'py, PyAny>> {
    let one = |array: &onecopy::OutputArray| {
        let info = array.info();
        let descr = array::descr(py, &info.dtype)?;
        array::owned(py, descr, &info.shape, array.bytes())
    };
    match output.arrays.as_slice() {
        [array] => one(array),
        arrays => {
            let list = PyList::empty(py);
            for array in arrays {
                list.append(one(array)?)?;
            }
            Ok(list.into_any())
        }
    }
}

/// The exception for a question that has no answer, in scikit-learn's words where it has some.
fn refused(py: Python<'_>, source: &Source, error: &PredictError) -> PyErr {
    match error {
        PredictError::Columns { estimator, expected, found } => PyValueError::new_err(format!(
            "X has {found} features, but {estimator} is expecting {expected} features as input."
        )),
        PredictError::Empty { estimator } => PyValueError::new_err(format!(
            "Found array with 0 sample(s) while a minimum of 1 is required by {estimator}."
        )),
        PredictError::NotFinite { estimator, row, column, value } => {
            let value = match *value {
                "NaN" => format!("contains NaN.\n{estimator} does not accept missing values encoded as NaN."),
                "infinity" => "contains infinity.".to_owned(),
                other => format!("contains {other}."),
            };
            PyValueError::new_err(format!("Input X {value} Found at row {row}, column {column} (from 0)."))
        }
        PredictError::NoMethod { .. } => PyAttributeError::new_err(error.to_string()),
        PredictError::Uncovered { .. } => error::raise(
            py,
            Kind::Unsupported,
            format!("{error}; onecopy.load() gives the estimator itself, which has every method"),
        ),
        _ => error::translate(py, Kind::Format, Some(source.path()), error),
    }
}
