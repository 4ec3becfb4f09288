//! What `onecopy.open` works with: a model that predicts without the library that trained it.
#![forbid(unsafe_code)]

use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;

use onecopy::{ArrayId, Float, Method, Op, Plan, Role};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;

use crate::error::{self, Kind};
use crate::load::decode;
use crate::source::{Mode, Place, Source, hot_options};
use crate::{array, run, trust};

/// A model file, opened to predict.
#[pyclass(frozen, weakref, module = "onecopy._onecopy")]
pub(crate) struct NativeModel {
    source: Py<Source>,
}

impl NativeModel {
    fn ops(&self) -> &[Op] {
        match self.source.get().model().plan() {
            Plan::Native { ops, .. } => ops,
            Plan::Uncovered { .. } => &[],
        }
    }

    /// The operations that see the input as it is given.
    fn inputs(&self) -> Vec<&Op> {
        self.ops().last().map_or(Vec::new(), |op| op.inputs(self.ops()))
    }
}

/// What an operation makes of its input first.
fn takes(op: &Op) -> &'static str {
    match op {
        Op::Trees(trees) if trees.dense_only => "dense",
        Op::Trees(trees) if trees.input == Float::F32 => "float32",
        Op::Trees(trees) if trees.integers_as_f32 => "float",
        Op::StandardScaler { mean: None, .. } => "scale",
        Op::StandardScaler { .. } | Op::MinMaxScaler { .. } => "center",
        _ => "float64",
    }
}

fn named(method: &str) -> PyResult<Method> {
    Method::from_name(method).ok_or_else(|| PyValueError::new_err(format!("there is no method {method:?}")))
}

#[pymethods]
impl NativeModel {
    #[new]
    #[pyo3(signature = (path, cache, share, guard, verify_key))]
    fn new(
        py: Python<'_>,
        path: Place,
        cache: Option<PathBuf>,
        share: &str,
        guard: Option<&str>,
        verify_key: Option<PathBuf>,
    ) -> PyResult<Self> {
        let options = hot_options(py, cache, share, guard, verify_key)?;
        let source = Source::open_hot(py, &path, Mode::Read, &options)?;
        Ok(NativeModel { source: Py::new(py, source)? })
    }

    /// Runs a method on an aligned array of float32 or float64 with two dimensions.
    #[pyo3(signature = (method, x, threads=None))]
    fn run<'py>(
        &self,
        method: &str,
        x: &Bound<'py, PyAny>,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        run::run(x.py(), self.source.bind(x.py()), None, named(method)?, x, threads)
    }

    /// Runs a method as `run` does; `None` if `x` is not such an array.
    #[pyo3(signature = (method, x, threads=None))]
    fn run_if_rows<'py>(
        &self,
        method: &str,
        x: &Bound<'py, PyAny>,
        threads: Option<usize>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        run::run_if_rows(x.py(), self.source.bind(x.py()), named(method)?, x, threads)
    }

    /// Names of the methods.
    #[getter]
    fn methods(&self) -> Vec<&'static str> {
        self.source.get().model().methods().into_iter().map(Method::name).collect()
    }

    /// The estimator that cannot be computed natively and why, if there is one.
    #[getter]
    fn uncovered(&self) -> Option<(&str, &str)> {
        match self.source.get().model().plan() {
            Plan::Native { .. } => None,
            Plan::Uncovered { what, why, .. } => Some((what, why)),
        }
    }

    /// The classes that see the input first, for messages.
    #[getter]
    fn input_estimators(&self) -> Vec<&str> {
        self.inputs().into_iter().map(Op::estimator).collect()
    }

    /// The class whose methods these are, for messages.
    #[getter]
    fn estimator(&self) -> Option<&str> {
        self.ops().last().map(Op::estimator)
    }

    /// What the input becomes first: `"float32"`, or `"float64"` unless it is a float already; `"scale"`, `"center"` and
    /// `"dense"`, which refuses sparse matrices, are of the second sort. `"float"` is LightGBM's: `"float32"` unless it is
    /// `"float64"` already.
    ///
    /// Members of a committee have their rows as they are, in one type that suits the most particular of them.
    #[getter]
    fn takes(&self) -> &'static str {
        let inputs = self.inputs();
        match inputs.as_slice() {
            [] => "float64",
            [one] => takes(one),
            several => {
                let found = |wanted: &str| several.iter().any(|op| takes(op) == wanted);
                ["center", "scale", "dense"].into_iter().find(|wanted| found(wanted)).unwrap_or("float64")
            }
        }
    }

    /// Whether integers beyond 2**24 would be rounded by one member of a committee and not by another.
    #[getter]
    fn rounds_integers(&self) -> bool {
        let inputs = self.inputs();
        inputs.len() > 1 && inputs.into_iter().any(|op| takes(op) == "float")
    }

    #[getter]
    fn n_features(&self) -> Option<u32> {
        self.source.get().model().n_features()
    }

    /// The classes of each output; none for a regressor.
    fn classes<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let ids = self.ops().last().map_or(&[][..], |op| op.classes(self.ops()));
        ids.iter().map(|id| self.view(py, *id)).collect()
    }

    /// The names of the columns it was trained with.
    fn feature_names(&self, py: Python<'_>) -> PyResult<Option<Vec<String>>> {
        let file = self.source.get();
        py.detach(|| file.model().feature_names())
            .map_err(|error| error::translate(py, Kind::Format, Some(file.path()), &error))
    }

    /// The descriptor of the sealed file in memory that it lies in, if it does.
    fn descriptor(&self) -> Option<RawFd> {
        self.source.get().model().data().sealed().map(|sealed| sealed.as_raw_fd())
    }

    #[getter]
    fn digest(&self) -> String {
        self.source.get().model().digest().to_string()
    }

    /// The metadata as JSON.
    #[getter]
    fn metadata(&self) -> String {
        self.source.get().model().metadata().to_string()
    }

    #[getter]
    fn len_bytes(&self) -> u64 {
        self.source.get().model().len_bytes()
    }

    fn array_names(&self) -> Vec<&str> {
        self.source.get().model().arrays().map(|array| array.name()).collect()
    }

    /// A read-only view of an array.
    fn array<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        match self.source.get().model().array(name) {
            Ok(array) => self.view(py, array.id()),
            Err(error) => Err(PyKeyError::new_err(error.to_string())),
        }
    }

    /// Bytes of the arrays that prediction reads, and of the others.
    fn sizes(&self) -> (u64, u64) {
        let mut sizes = (0, 0);
        for array in self.source.get().model().arrays() {
            let size = if array.role() == Role::Predict { &mut sizes.0 } else { &mut sizes.1 };
            *size += array.len_bytes();
        }
        sizes
    }

    /// The names of types and functions in the file.
    fn types(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let file = self.source.get();
        let graph = file.model().graph();
        let graph = graph.map_err(|error| error::translate(py, Kind::Format, Some(file.path()), &error))?;
        let audit = graph.map(|graph| graph.audit()).unwrap_or_default();
        Ok(audit.names.into_iter().map(|name| format!("{}.{}", name.module, name.qualname)).collect())
    }

    /// Those of them that `load` would refuse.
    fn untrusted_types(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let file = self.source.get();
        match file.model().graph() {
            Ok(Some(_)) => Ok(trust::audit(&decode(py, file)?, &[])),
            Ok(None) => Ok(Vec::new()),
            Err(error) => Err(error::translate(py, Kind::Format, Some(file.path()), &error)),
        }
    }
}

impl NativeModel {
    fn view<'py>(&self, py: Python<'py>, id: ArrayId) -> PyResult<Bound<'py, PyAny>> {
        view(self.source.bind(py), id)
    }
}

/// A read-only view of an array of a file.
pub(crate) fn view<'py>(source: &Bound<'py, Source>, id: ArrayId) -> PyResult<Bound<'py, PyAny>> {
    let (py, file) = (source.py(), source.get());
    let found = file.model().array_at(id);
    let found = found.map_err(|error| error::translate(py, Kind::Format, Some(file.path()), &error))?;
    let info = found.info();
    let descr = array::descr(py, &info.dtype)?;
    array::view(source, id, 0, descr, &info.shape, info.order, false)
}
