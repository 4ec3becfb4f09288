//! `onecopy.MappedTree`: stands in for scikit-learn's `Tree`, on mapped memory.
//!
//! It is what `tree_` of a loaded estimator is. Methods compute in the stored columns; arrays are views of the
//! mapping where it has them in scikit-learn's own type, else widened copies, made when first asked for. Nodes are checked
//! before anything is computed or shown, once.
#![forbid(unsafe_code)]

pub(crate) mod boosting;
mod input;
mod member;
mod shelf;
mod state;

pub(crate) use self::boosting::Stages;
pub(crate) use self::member::Member;
pub(crate) use self::shelf::{Shelf, check_tree, mapped_tree};

use std::sync::Arc;

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use onecopy::{Column, ColumnData, Dtype, Order, StoredTree, TreeError, TreeInputError, TreeView};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use self::input::Rows;
use crate::array;
use crate::error::{self, Kind};
use crate::source::Source;

/// A fitted decision tree in a mapped file, in the place of scikit-learn's `Tree`.
///
/// It has the attributes and methods of `sklearn.tree._tree.Tree`, with the same values. Arrays are read-only.
/// A pickle or a copy of it is an ordinary `Tree`.
// The module is that of the class it stands for: tools that save objects by the name of their class name that one.
#[pyclass(frozen, name = "MappedTree", module = "sklearn.tree._tree")]
pub(crate) struct MappedTree {
    source: Py<Source>,
    tree: Arc<StoredTree>,
    /// Arrays that are no views, by [`Field`].
    copies: [PyOnceLock<Py<PyAny>>; Field::COUNT],
}

/// The arrays of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Left,
    Right,
    Feature,
    Threshold,
    Impurity,
    Samples,
    Weight,
    Missing,
    Value,
}

impl Field {
    const COUNT: usize = 9;
}

impl MappedTree {
    fn new(source: Py<Source>, tree: Arc<StoredTree>) -> Self {
        MappedTree { source, tree, copies: [const { PyOnceLock::new() }; Field::COUNT] }
    }

    fn view(&self, py: Python<'_>) -> PyResult<TreeView<'_>> {
        let source = self.source.get();
        self.tree.view(source.model()).map_err(|error| damaged(py, source, &error))
    }

    /// An array: a view, or the copy that was made of it before.
    fn array<'py>(&self, py: Python<'py>, field: Field) -> PyResult<Bound<'py, PyAny>> {
        self.view(py)?;
        if let Some(view) = self.mapped(py, field)? {
            return Ok(view);
        }
        let copy = self.copies[field as usize].get_or_try_init(py, || {
            let array = self.widened(py, field)?;
            array.call_method1("setflags", (false,))?;
            Ok::<_, PyErr>(array.unbind())
        })?;
        Ok(copy.bind(py).clone())
    }

    /// A view of the mapping, if that holds the type that scikit-learn has.
    fn mapped<'py>(&self, py: Python<'py>, field: Field) -> PyResult<Option<Bound<'py, PyAny>>> {
        let dtype = match field {
            Field::Left | Field::Right | Field::Feature | Field::Samples => Dtype::I64,
            Field::Threshold | Field::Impurity | Field::Weight | Field::Value => Dtype::F64,
            Field::Missing => Dtype::U8,
        };
        let column = match field {
            Field::Value if self.tree.values().1.is_some() => return Ok(None),
            Field::Value => self.tree.values().0,
            field => match self.column(field) {
                Some(column) => column,
                None => return Ok(None),
            },
        };
        let ColumnData::Stored { array, dtype: stored, first, .. } = column.data() else { return Ok(None) };
        if Dtype::Plain(*stored) != dtype {
            return Ok(None);
        }
        let shape = match field {
            Field::Value => self.value_shape().to_vec(),
            _ => vec![self.tree.n_nodes() as u64],
        };
        let descr = array::descr(py, &dtype)?;
        let skip = first.saturating_mul(u64::from(dtype.itemsize()));
        array::view(self.source.bind(py), *array, skip, descr, &shape, Order::C, false).map(Some)
    }

    /// A new array of scikit-learn's type.
    fn widened<'py>(&self, py: Python<'py>, field: Field) -> PyResult<Bound<'py, PyAny>> {
        let tree = self.view(py)?;
        let n = tree.n_nodes as u64;
        let (dtype, shape, bytes) = match field {
            Field::Missing => {
                let values =
                    (0..tree.n_nodes).map(|node| tree.missing.map_or(0, |missing| missing.at(node) as u8));
                (Dtype::U8, vec![n], values.collect())
            }
            Field::Left => (Dtype::I64, vec![n], ints(&tree.left.to_vec())),
            Field::Right => (Dtype::I64, vec![n], ints(&tree.right.to_vec())),
            Field::Feature => (Dtype::I64, vec![n], ints(&tree.feature.to_vec())),
            Field::Samples => {
                let source = self.source.get();
                let samples = self.tree.columns().samples.ints(source.model());
                (Dtype::I64, vec![n], ints(&samples.map_err(|error| damaged(py, source, &error))?.to_vec()))
            }
            Field::Threshold => (Dtype::F64, vec![n], floats(&tree.threshold.to_vec())),
            Field::Impurity => (Dtype::F64, vec![n], floats(&tree.impurity.to_vec())),
            Field::Weight => (Dtype::F64, vec![n], floats(&tree.weight.to_vec())),
            Field::Value => {
                let rows = (0..tree.n_nodes).flat_map(|node| (0..tree.width).map(move |index| (node, index)));
                let values: Vec<f64> = rows.map(|(node, index)| tree.value(node, index)).collect();
                (Dtype::F64, self.value_shape().to_vec(), floats(&values))
            }
        };
        array::owned(py, array::descr(py, &dtype)?, &shape, &bytes)
    }

    fn column(&self, field: Field) -> Option<&Column> {
        let columns = self.tree.columns();
        match field {
            Field::Left => Some(&columns.left),
            Field::Right => Some(&columns.right),
            Field::Feature => Some(&columns.feature),
            Field::Threshold => Some(&columns.threshold),
            Field::Impurity => Some(&columns.impurity),
            Field::Samples => Some(&columns.samples),
            Field::Weight => Some(&columns.weight),
            Field::Missing => columns.missing.as_ref(),
            Field::Value => None,
        }
    }

    fn value_shape(&self) -> [u64; 3] {
        [self.tree.n_nodes() as u64, self.tree.n_outputs() as u64, u64::from(self.tree.max_classes())]
    }

    fn n_classes_array<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_slice(py, self.tree.n_classes())
    }
}

#[pymethods]
impl MappedTree {
    /// The class that it stands for, so that `isinstance` and dispatch on types find it.
    #[getter(__class__)]
    fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        tree_class(py)
    }

    #[getter]
    fn n_features(&self) -> u32 {
        self.tree.n_features()
    }

    #[getter]
    fn n_classes<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        self.n_classes_array(py)
    }

    #[getter]
    fn n_outputs(&self) -> usize {
        self.tree.n_outputs()
    }

    #[getter]
    fn max_n_classes(&self) -> u32 {
        self.tree.max_classes()
    }

    #[getter]
    fn max_depth(&self) -> i64 {
        self.tree.max_depth()
    }

    #[getter]
    fn node_count(&self) -> usize {
        self.tree.n_nodes()
    }

    #[getter]
    fn capacity(&self) -> usize {
        self.tree.n_nodes()
    }

    #[getter]
    fn n_leaves<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let tree = self.view(py)?;
        let leaf = |node: &usize| tree.left.at(*node) == -1 && tree.right.at(*node) == -1;
        let count = (0..tree.n_nodes).filter(leaf).count();
        py.import("numpy")?.call_method1("int64", (count,))
    }

    #[getter]
    fn children_left<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, Field::Left)
    }

    #[getter]
    fn children_right<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, Field::Right)
    }

    #[getter]
    fn feature<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, Field::Feature)
    }

    #[getter]
    fn threshold<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, Field::Threshold)
    }

    #[getter]
    fn impurity<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, Field::Impurity)
    }

    #[getter]
    fn n_node_samples<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, Field::Samples)
    }

    #[getter]
    fn weighted_n_node_samples<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, Field::Weight)
    }

    #[getter]
    fn missing_go_to_left<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, Field::Missing)
    }

    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, Field::Value)
    }

    /// Predict target for X.
    #[pyo3(signature = (X))]
    #[expect(non_snake_case, reason = "scikit-learn's name")]
    fn predict<'py>(&self, py: Python<'py>, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (tree, rows) = (self.view(py)?, Rows::borrow(X)?);
        let input = rows.input().map_err(refused)?;
        let values = py.detach(|| tree.predict(&input)).map_err(refused)?;
        let (n, outputs, classes) = (rows.n_rows() as u64, self.tree.n_outputs(), self.tree.max_classes());
        let shape = match outputs {
            1 => vec![n, u64::from(classes)],
            _ => vec![n, outputs as u64, u64::from(classes)],
        };
        array::owned(py, array::descr(py, &Dtype::F64)?, &shape, &floats(&values))
    }

    /// Finds the terminal region (=leaf node) for each sample in X.
    #[pyo3(signature = (X))]
    #[expect(non_snake_case, reason = "scikit-learn's name")]
    fn apply<'py>(&self, py: Python<'py>, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let (tree, rows) = (self.view(py)?, Rows::borrow(X)?);
        let input = rows.input().map_err(refused)?;
        let leaves = py.detach(|| tree.apply(&input)).map_err(refused)?;
        Ok(PyArray1::from_vec(py, leaves))
    }

    /// Finds the decision path (=node) for each sample in X.
    #[pyo3(signature = (X))]
    #[expect(non_snake_case, reason = "scikit-learn's name")]
    fn decision_path<'py>(&self, py: Python<'py>, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (tree, rows) = (self.view(py)?, Rows::borrow(X)?);
        let input = rows.input().map_err(refused)?;
        let (indptr, indices) = py.detach(|| tree.decision_path(&input)).map_err(refused)?;
        let parts = (PyArray1::from_vec(py, indices), PyArray1::from_vec(py, indptr));
        let shape = (rows.n_rows(), self.tree.n_nodes());
        py.import("onecopy._mapped")?.call_method1("decision_path", (parts.0, parts.1, shape))
    }

    /// Compute the depth of each node in a tree.
    fn compute_node_depths<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        Ok(PyArray1::from_vec(py, self.view(py)?.node_depths()))
    }

    /// Computes the importance of each feature (aka variable).
    #[pyo3(signature = (normalize = true))]
    fn compute_feature_importances<'py>(
        &self,
        py: Python<'py>,
        normalize: bool,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let mut importances = self.view(py)?.feature_importances();
        if normalize {
            // NumPy's own order of summation.
            let sum = PyArray1::from_slice(py, &importances).call_method0("sum")?.extract::<f64>()?;
            if sum > 0.0 {
                importances.iter_mut().for_each(|importance| *importance /= sum);
            }
        }
        Ok(PyArray1::from_vec(py, importances))
    }

    /// Partial dependence of the response on the ``target_feature`` set.
    #[pyo3(signature = (X, target_features, out))]
    #[expect(non_snake_case, reason = "scikit-learn's name")]
    fn compute_partial_dependence(
        &self,
        py: Python<'_>,
        X: PyReadonlyArray2<'_, f32>,
        target_features: PyReadonlyArray1<'_, i64>,
        out: &Bound<'_, PyArray1<f64>>,
    ) -> PyResult<()> {
        let tree = self.view(py)?;
        let targets = target_features.as_array().to_vec();
        let mut out = out.try_readwrite()?;
        let out = out.as_slice_mut()?;
        if out.len() < X.as_array().nrows() {
            return Err(PyValueError::new_err("out has fewer elements than X has rows"));
        }
        tree.partial_dependence(&X.as_array(), &targets, out).map_err(refused)
    }

    fn __getstate__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(state::of_tree(self, py)?.into_any())
    }

    fn __setstate__(&self, state: &Bound<'_, PyAny>) -> PyResult<()> {
        let _ = state;
        Err(PyTypeError::new_err("a mapped tree cannot be changed; copy.copy() of it is an ordinary Tree"))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let args = (self.tree.n_features(), self.n_classes_array(py), self.tree.n_outputs());
        Ok((tree_class(py)?, args, state::of_tree(self, py)?).into_pyobject(py)?.into_any())
    }
}

fn tree_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static TREE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    TREE.import(py, "sklearn.tree._tree", "Tree").cloned()
}

fn ints(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn refused(error: TreeInputError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn damaged(py: Python<'_>, source: &Source, error: &TreeError) -> PyErr {
    error::translate(py, Kind::Format, Some(source.path()), error)
}
