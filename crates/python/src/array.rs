//! NumPy arrays over mapped memory. The only place of the Python module with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::ops::Range;
use std::ptr;

use ndarray::ArrayView2;
use numpy::npyffi::{self, PY_ARRAY_API, npy_intp};
use numpy::{
    Element, PyArray1, PyArray2, PyArrayDescr, PyArrayDescrMethods, PyArrayMethods, PyUntypedArrayMethods,
};
use onecopy::{ArrayId, Dtype, Order, ReadAt};
use pyo3::exceptions::PyValueError;
use pyo3::ffi::PyTypeObject;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyType};

use crate::error::{self, Kind};
use crate::source::Source;

/// Most dimensions of a NumPy array.
const MAX_DIMENSIONS: usize = 64;

/// The `numpy.dtype` of a dtype.
pub(crate) fn descr<'py>(py: Python<'py>, dtype: &Dtype) -> PyResult<Bound<'py, PyArrayDescr>> {
    match *dtype {
        Dtype::F64 => return Ok(numpy::dtype::<f64>(py)),
        Dtype::F32 => return Ok(numpy::dtype::<f32>(py)),
        Dtype::I64 => return Ok(numpy::dtype::<i64>(py)),
        _ => {}
    }
    static DTYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = DTYPE.import(py, "numpy", "dtype")?;
    let made = match dtype {
        Dtype::Plain(_) => class.call1((dtype.to_string(),))?,
        Dtype::Record(record) => {
            let (names, formats, offsets) = (PyList::empty(py), PyList::empty(py), PyList::empty(py));
            for field in &record.fields {
                names.append(&field.name)?;
                let format = Dtype::Plain(field.dtype).to_string();
                match field.shape.as_slice() {
                    [] => formats.append(format)?,
                    shape => formats.append((format, pyo3::types::PyTuple::new(py, shape)?))?,
                }
                offsets.append(field.offset)?;
            }
            let fields = PyDict::new(py);
            fields.set_item("names", names)?;
            fields.set_item("formats", formats)?;
            fields.set_item("offsets", offsets)?;
            fields.set_item("itemsize", record.itemsize)?;
            class.call1((fields, record.aligned))?
        }
    };
    Ok(made.cast_into::<PyArrayDescr>()?)
}

/// Elements of a stored array as a NumPy array that keeps `source` alive: `shape` of them from byte `skip` of the array on.
///
/// Read-only, or copy-on-write if `writable`. `descr` holds no objects.
pub(crate) fn view<'py>(
    source: &Bound<'py, Source>,
    id: ArrayId,
    skip: u64,
    descr: Bound<'py, PyArrayDescr>,
    shape: &[u64],
    order: Order,
    writable: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = source.py();
    let file = source.get();
    let array = file.model().array_at(id).map_err(|error| refused(py, file, &error))?;
    let bytes = array.bytes().map_err(|error| refused(py, file, &error))?;
    let wrong = || PyValueError::new_err(format!("array `{}` is shorter than its part", array.name()));
    let elements = shape.iter().try_fold(1u64, |count, len| count.checked_mul(*len));
    let len = elements.and_then(|count| count.checked_mul(descr.itemsize() as u64)).ok_or_else(wrong)?;
    let end = skip.checked_add(len).ok_or_else(wrong)?;
    let (start, end) =
        (usize::try_from(skip).map_err(|_| wrong())?, usize::try_from(end).map_err(|_| wrong())?);
    let bytes = bytes.get(start..end).ok_or_else(wrong)?;
    if shape.len() > MAX_DIMENSIONS || descr.has_object() {
        return Err(wrong());
    }
    let mut data = bytes.as_ptr() as usize;
    if writable {
        let private = file.private().map_err(|error| refused(py, file, &error))?;
        let offset = data - file.model().data().as_ref().as_ptr() as usize;
        data = private.start() + offset;
    }
    let mut dims: Vec<npy_intp> = shape.iter().map(|len| *len as npy_intp).collect();
    let mut flags = if writable { npyffi::NPY_ARRAY_WRITEABLE } else { 0 };
    if order == Order::F {
        flags |= npyffi::NPY_ARRAY_F_CONTIGUOUS;
    }
    let kind = array_type(py);
    // SAFETY: the API table is NumPy's own. `dims` has `shape.len()` entries, at most NumPy's limit; without strides NumPy
    // computes those of the order in `flags`, which span exactly the bytes checked above. They belong to a mapping
    // that `source` owns and never gives up, and `source` becomes the base of the array. Reference to `descr` is handed over.
    let array = unsafe {
        PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            kind,
            descr.into_dtype_ptr(),
            dims.len() as c_int,
            dims.as_mut_ptr(),
            ptr::null_mut(),
            data as *mut _,
            flags,
            ptr::null_mut(),
        )
    };
    // SAFETY: a new reference, or null with an exception set.
    let array = unsafe { Bound::from_owned_ptr_or_err(py, array) }?;
    // SAFETY: `array` is an ndarray without a base; the reference to `source` is handed over.
    let failed = unsafe {
        PY_ARRAY_API.PyArray_SetBaseObject(py, array.as_ptr().cast(), source.clone().into_any().into_ptr())
    };
    if failed != 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(array)
}

/// Calls `with` with the values of an array, without noting in the tables of the `numpy` crate that they are borrowed. This thread keeps
/// the GIL meanwhile.
pub(crate) fn with_rows<T: Element, R>(
    x: &Bound<'_, PyArray2<T>>,
    with: impl FnOnce(ArrayView2<'_, T>) -> R,
) -> R {
    // SAFETY: the reference keeps the array, and NumPy neither moves nor frees its values. Who writes to them without the
    // GIL at the same time breaks NumPy's own rules (SAFETY.md).
    with(unsafe { x.as_array() })
}

/// A new array in C order with these bytes. `descr` holds no objects.
pub(crate) fn owned<'py>(
    py: Python<'py>,
    descr: Bound<'py, PyArrayDescr>,
    shape: &[u64],
    bytes: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    let elements = shape.iter().try_fold(1u64, |count, len| count.checked_mul(*len));
    let len = elements.and_then(|count| count.checked_mul(descr.itemsize() as u64));
    if len != Some(bytes.len() as u64) || shape.len() > MAX_DIMENSIONS || descr.has_object() {
        return Err(PyValueError::new_err("the bytes do not fill the array"));
    }
    let mut dims: Vec<npy_intp> = shape.iter().map(|len| *len as npy_intp).collect();
    let kind = array_type(py);
    // SAFETY: the API table is NumPy's own. `dims` has `shape.len()` entries, at most NumPy's limit; without data NumPy
    // allocates. The reference to `descr` is handed over.
    let array = unsafe {
        PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            kind,
            descr.into_dtype_ptr(),
            dims.len() as c_int,
            dims.as_mut_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            0,
            ptr::null_mut(),
        )
    };
    // SAFETY: a new reference, or null with an exception set.
    let array = unsafe { Bound::from_owned_ptr_or_err(py, array) }?;
    dims.fill(0);
    // SAFETY: `array` is an ndarray, and `dims` one index for each of its dimensions.
    let data = unsafe { PY_ARRAY_API.PyArray_GetPtr(py, array.as_ptr().cast(), dims.as_mut_ptr()) };
    // SAFETY: NumPy allocated as many bytes as shape and item size call for, which is `bytes.len()`; nobody else has
    // seen the array.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast(), bytes.len()) };
    Ok(array)
}

/// The memory of an array of bytes, which is kept alive and may be read in any thread.
pub(crate) struct HeldBytes {
    start: usize,
    len: usize,
    _owner: Py<PyArray1<u8>>,
}

impl HeldBytes {
    /// `array` has its bytes one after the other.
    pub(crate) fn of(array: &Bound<'_, PyArray1<u8>>) -> PyResult<Self> {
        if !array.is_contiguous() {
            return Err(PyValueError::new_err("a buffer is not contiguous"));
        }
        Ok(HeldBytes { start: array.data() as usize, len: array.len(), _owner: array.clone().unbind() })
    }
}

impl ReadAt for HeldBytes {
    fn len_bytes(&self) -> u64 {
        self.len as u64
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let from = (self.start + start) as *const u8;
        // SAFETY: the array owns or keeps alive `len` bytes from `start` on, and NumPy does not move or free them while
        // there is a reference to it. `buf` is memory of our own. Python code in another thread may write to the array
        // meanwhile, as it may while pickle reads it; then the copy is some mixture of old and new bytes.
        unsafe { ptr::copy_nonoverlapping(from, buf.as_mut_ptr(), buf.len()) };
        Ok(())
    }

    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        let len = end.checked_sub(start).filter(|_| end <= self.len)?;
        if len == 0 {
            return Some(&[]);
        }
        let from = (self.start + start) as *const u8;
        // SAFETY: as above; the range was found to lie in the array. Nobody who reads relies on finding the same bytes twice:
        // numbers of nodes are checked wherever they index, types where elements are stored, and a file when it is opened.
        Some(unsafe { std::slice::from_raw_parts(from, len) })
    }
}

/// `numpy.ndarray`
fn array_type(py: Python<'_>) -> *mut PyTypeObject {
    // SAFETY: the attached interpreter has NumPy's table of types, which is never changed.
    unsafe { npyffi::get_type_object(py, npyffi::NpyTypes::PyArray_Type) }
}

fn refused(py: Python<'_>, file: &Source, error: &(dyn std::error::Error + 'static)) -> PyErr {
    error::translate(py, Kind::Format, Some(file.path()), error)
}
