//! Arrays, scalars and dtypes; and what stands in for NumPy's own functions, which trust their arguments.
#![forbid(unsafe_code)]

use numpy::{PyArray1, PyArrayDescr, PyArrayDyn, PyArrayMethods, PyUntypedArray};
use onecopy::{ArrayId, ArrayPart, Blob, Dtype, Node, Order, Quotients, Records};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyTuple, PyType};
use rustc_hash::FxHashMap;

use crate::array;
use crate::build::letter;
use crate::error::{self, Kind};
use crate::source::{Mode, Source};

/// Arrays of one file.
pub(super) struct Arrays<'py> {
    source: Bound<'py, Source>,
    descrs: FxHashMap<Dtype, Bound<'py, PyArrayDescr>>,
}

/// Functions of NumPy that only NumPy's own pickles may call, and the function of `onecopy._rebuild` that checks its arguments.
pub(super) fn special(module: &str, qualname: &str) -> Option<&'static str> {
    Some(match (module, qualname) {
        ("numpy", "dtype") => "dtype",
        ("numpy._core.numeric" | "numpy.core.numeric", "_frombuffer") => FROM_BUFFER,
        ("numpy._core.multiarray" | "numpy.core.multiarray", "_reconstruct") => "reconstruct",
        ("numpy._core.multiarray" | "numpy.core.multiarray", "scalar") => "scalar",
        ("pyarrow.lib", "_restore_array") => "restore_array",
        _ => return None,
    })
}

pub(super) const FROM_BUFFER: &str = "frombuffer";

/// Whether the state belongs to the making.
pub(super) fn is_two_step(special: &str) -> bool {
    matches!(special, "dtype" | "reconstruct")
}

impl<'py> Arrays<'py> {
    pub(super) fn new(source: Bound<'py, Source>) -> Self {
        Arrays { source, descrs: FxHashMap::default() }
    }

    fn py(&self) -> Python<'py> {
        self.source.py()
    }

    fn mode(&self) -> Mode {
        self.source.get().mode()
    }

    pub(super) fn descr(&mut self, dtype: &Dtype) -> PyResult<Bound<'py, PyArrayDescr>> {
        if let Some(known) = self.descrs.get(dtype) {
            return Ok(known.clone());
        }
        let made = array::descr(self.py(), dtype)?;
        self.descrs.insert(dtype.clone(), made.clone());
        Ok(made)
    }

    /// The bytes of a stored array.
    pub(super) fn bytes(&self, id: ArrayId) -> PyResult<&[u8]> {
        let model = self.source.get().model();
        let bytes = model.array_at(id).and_then(|array| array.bytes());
        bytes.map_err(|error| self.wrong(&error))
    }

    /// A view of a stored array, or a copy, as the mode asks.
    pub(super) fn array(&mut self, part: &ArrayPart) -> PyResult<Bound<'py, PyAny>> {
        self.array_in(part, self.mode())
    }

    pub(super) fn array_in(&mut self, part: &ArrayPart, mode: Mode) -> PyResult<Bound<'py, PyAny>> {
        let source = self.source.clone();
        let model = source.get().model();
        let stored = model.array_at(part.array).map_err(|error| self.wrong(&error))?;
        let info = stored.info();
        let row = info.shape.iter().skip(1).try_fold(u64::from(info.dtype.itemsize()), |product, len| {
            if part.first_row == 0 { Some(0) } else { product.checked_mul(*len) }
        });
        let skip = row.and_then(|row| row.checked_mul(part.first_row));
        let skip = skip.ok_or_else(|| self.refuse("a part of an array starts beyond its end"))?;
        let descr = self.descr(&info.dtype)?;
        let order = if part.shape.len() > 1 { info.order } else { Order::C };
        let view = array::view(
            &self.source,
            part.array,
            skip,
            descr,
            &part.shape,
            order,
            mode == Mode::CopyOnWrite,
        )?;
        match mode {
            Mode::Copy => view.call_method1(intern!(self.py(), "copy"), ("K",)),
            _ => Ok(view),
        }
    }

    pub(super) fn records(&mut self, node: &Node, records: &Records) -> PyResult<Bound<'py, PyAny>> {
        let descr = self.descr(&records.dtype)?;
        self.restored(node, &descr, &records.shape)
    }

    pub(super) fn quotients(&mut self, node: &Node, quotients: &Quotients) -> PyResult<Bound<'py, PyAny>> {
        let descr = self.descr(&Dtype::F64)?;
        self.restored(node, &descr, &quotients.numerators.shape)
    }

    /// An array of its own memory, put together from what is stored.
    fn restored(
        &self,
        node: &Node,
        descr: &Bound<'py, PyArrayDescr>,
        shape: &[u64],
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py();
        let model = self.source.get().model();
        let bytes = py.detach(|| model.node_bytes(node)).map_err(|error| self.wrong(&error))?;
        let bytes = bytes.ok_or_else(|| self.refuse("an array in pieces cannot be put together"))?;
        let made = empty(py, shape, descr.as_any(), Order::C)?;
        if !bytes.is_empty() {
            let flat = made.call_method1(intern!(py, "reshape"), (-1,))?;
            let flat = flat.call_method1(intern!(py, "view"), ("u1",))?.cast_into::<PyArray1<u8>>()?;
            let mut flat = flat.try_readwrite()?;
            let room = flat.as_slice_mut()?;
            if room.len() != bytes.len() {
                return Err(self.refuse("an array in pieces has another length than its shape"));
            }
            room.copy_from_slice(&bytes);
        }
        if self.mode() == Mode::Read {
            made.call_method1(intern!(py, "setflags"), (false,))?;
        }
        Ok(made)
    }

    /// An array of `None`.
    pub(super) fn of_objects(&self, shape: &[u64], order: Order) -> PyResult<Bound<'py, PyAny>> {
        static FULL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = self.py();
        let full = FULL.import(py, "numpy", "full")?;
        full.call1((PyTuple::new(py, shape)?, py.None(), "O", letter(order)))
    }

    /// Fills an array of objects; `values` are in C order of the indices.
    pub(super) fn fill_objects(
        &self,
        array: &Bound<'py, PyAny>,
        values: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let array = array.cast::<PyArrayDyn<Py<PyAny>>>()?;
        let mut array = array.try_readwrite()?;
        for (slot, value) in array.as_array_mut().iter_mut().zip(values) {
            *slot = value.unbind();
        }
        Ok(())
    }

    /// The array as one of a subclass of `ndarray`.
    pub(super) fn of_class(
        &self,
        class: &Bound<'py, PyAny>,
        array: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py();
        let is_array = class.cast::<PyType>().is_ok_and(|class| {
            class.is_subclass(py.get_type::<PyUntypedArray>().as_any()).unwrap_or_default()
        });
        if !is_array {
            return Err(self.refuse("the class of an array is no subclass of numpy.ndarray"));
        }
        array.call_method1(intern!(py, "view"), (class,))
    }

    /// A NumPy scalar of its exact type.
    pub(super) fn scalar(&mut self, dtype: &Dtype, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let descr = self.descr(dtype)?;
        let scalar = rebuild(self.py(), "scalar")?;
        scalar.call1((descr, PyBytes::new(self.py(), bytes)))
    }

    /// A stored `bytes` or `bytearray` as an array of bytes, for `_frombuffer`.
    pub(super) fn buffer(&mut self, blob: &Blob) -> PyResult<Bound<'py, PyAny>> {
        match blob {
            Blob::Array(id) => {
                let len = self.bytes(*id)?.len() as u64;
                self.array(&ArrayPart { array: *id, first_row: 0, shape: [len].into() })
            }
            Blob::Inline(bytes) => Ok(match self.mode() {
                Mode::Read => PyBytes::new(self.py(), bytes).into_any(),
                Mode::CopyOnWrite | Mode::Copy => PyByteArray::new(self.py(), bytes).into_any(),
            }),
        }
    }

    fn wrong(&self, error: &(dyn std::error::Error + 'static)) -> PyErr {
        error::translate(self.py(), Kind::Format, Some(self.source.get().path()), error)
    }

    fn refuse(&self, message: &str) -> PyErr {
        error::raise(self.py(), Kind::Format, message)
    }
}

/// `numpy.empty`
fn empty<'py>(
    py: Python<'py>,
    shape: &[u64],
    descr: &Bound<'py, PyAny>,
    order: Order,
) -> PyResult<Bound<'py, PyAny>> {
    static EMPTY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    EMPTY.import(py, "numpy", "empty")?.call1((PyTuple::new(py, shape)?, descr, letter(order)))
}

/// A function of `onecopy._rebuild`.
pub(super) fn rebuild<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || {
        let module = py.import("onecopy._rebuild")?;
        Ok::<_, PyErr>(module.dict().unbind())
    })?;
    let function = module.bind(py).get_item(name)?;
    function.ok_or_else(|| error::raise(py, Kind::Format, format!("onecopy._rebuild has no `{name}`")))
}
