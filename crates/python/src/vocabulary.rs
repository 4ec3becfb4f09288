//! A text model's `vocabulary_` where it is stored: a mapping that behaves as the dict that it was, read-only.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use onecopy::{Graph, NodeId, Terms, TermsBuilder, TermsPlace, TermsRef};
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyMapping, PyString, PyTuple, PyType};
use rustc_hash::FxHashSet;

use crate::error::{self, Kind};
use crate::source::Source;

/// Terms and their columns, looked up in the mapped file.
///
/// Read-only: `dict(vocabulary)` is an ordinary dict of the same content.
#[pyclass(frozen, mapping, weakref, module = "onecopy._onecopy")]
pub(crate) struct MappedVocabulary {
    source: Py<Source>,
    place: TermsPlace,
    /// Whether values are `numpy.int64`.
    numpy: bool,
}

/// The vocabularies of `CountVectorizer` and `TfidfVectorizer` in a graph.
pub(crate) fn of_vectorizers(graph: &Graph) -> FxHashSet<NodeId> {
    let vocabulary = |id: NodeId| {
        let (module, class) = graph.class_of(id)?;
        let known = module == "sklearn.feature_extraction.text"
            && matches!(class, "CountVectorizer" | "TfidfVectorizer");
        graph.attr(id, "vocabulary_").filter(|_| known)
    };
    (0..graph.nodes.len() as u32).filter_map(|id| vocabulary(NodeId(id))).collect()
}

/// The terms as a mapping that looks them up in the file.
pub(crate) fn mapped_vocabulary<'py>(
    source: &Bound<'py, Source>,
    terms: &Terms,
) -> PyResult<Bound<'py, PyAny>> {
    let place = place(source, terms)?;
    let vocabulary = MappedVocabulary { source: source.clone().unbind(), place, numpy: terms.numpy };
    register(source.py())?;
    Ok(Bound::new(source.py(), vocabulary)?.into_any())
}

/// The terms as an ordinary dict.
pub(crate) fn dict<'py>(source: &Bound<'py, Source>, terms: &Terms) -> PyResult<Bound<'py, PyAny>> {
    let place = place(source, terms)?;
    let vocabulary = MappedVocabulary { source: source.clone().unbind(), place, numpy: terms.numpy };
    Ok(vocabulary.to_dict(source.py())?.into_any())
}

fn place(source: &Bound<'_, Source>, terms: &Terms) -> PyResult<TermsPlace> {
    let file = source.get();
    file.model()
        .terms(terms)
        .map_err(|error| error::translate(source.py(), Kind::Format, Some(file.path()), &error))
}

/// `isinstance(vocabulary, Mapping)`, from the first vocabulary on.
fn register(py: Python<'_>) -> PyResult<()> {
    static DONE: PyOnceLock<()> = PyOnceLock::new();
    DONE.get_or_try_init(py, || PyMapping::register::<MappedVocabulary>(py)).copied()
}

impl MappedVocabulary {
    fn terms(&self) -> TermsRef<'_> {
        self.place.terms(self.source.get().model().data().as_ref())
    }

    /// All terms; `None` if the file is damaged.
    pub(crate) fn gather(&self) -> Option<(TermsBuilder, bool)> {
        let terms = self.terms();
        let mut builder = TermsBuilder::with_capacity(terms.len());
        for index in 0..terms.len() {
            builder.push(terms.term(index)?, terms.value(index)?)?;
        }
        Some((builder, self.numpy))
    }

    fn find(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
        match key.cast::<PyString>() {
            Ok(text) => Ok(text.to_str().ok().and_then(|text| self.terms().get(text))),
            // As a dict refuses keys without a hash.
            Err(_) => key.hash().map(|_| None),
        }
    }

    fn number<'py>(&self, py: Python<'py>, value: i64) -> PyResult<Bound<'py, PyAny>> {
        static INT64: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        if self.numpy {
            return INT64.import(py, "numpy", "int64")?.call1((value,));
        }
        Ok(value.into_pyobject(py)?.into_any())
    }

    fn key_at<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        match self.terms().term(index) {
            Some(term) => Ok(PyString::new(py, term).into_any()),
            None => Err(self.damaged(py, index)),
        }
    }

    fn value_at<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        match self.terms().value(index) {
            Some(value) => self.number(py, value),
            None => Err(self.damaged(py, index)),
        }
    }

    fn damaged(&self, py: Python<'_>, index: usize) -> PyErr {
        let path = self.source.get().path().display();
        let message = format!("term {index} of a vocabulary in {path} is no text; convert the model again");
        error::raise(py, Kind::Format, message)
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for index in 0..self.terms().len() {
            dict.set_item(self.key_at(py, index)?, self.value_at(py, index)?)?;
        }
        Ok(dict)
    }

    fn equals(&self, other: &Bound<'_, PyMapping>) -> PyResult<bool> {
        let py = other.py();
        if self.terms().len() != other.len()? {
            return Ok(false);
        }
        for index in 0..self.terms().len() {
            let key = self.key_at(py, index)?;
            if !other.contains(&key)? || !other.get_item(key)?.eq(self.value_at(py, index)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn read_only() -> PyErr {
    PyTypeError::new_err(
        "the vocabulary of a loaded model is read-only; dict(v) makes a copy of it that can be changed",
    )
}

fn view<'py>(slf: &Bound<'py, MappedVocabulary>, class: &str) -> PyResult<Bound<'py, PyAny>> {
    slf.py().import("onecopy._vocabulary")?.getattr(class)?.call1((slf,))
}

#[pymethods]
impl MappedVocabulary {
    /// Whether each value is the number of a column: below the number of terms.
    fn _columns_fit(&self) -> bool {
        let terms = self.terms();
        let fits = |value: i64| usize::try_from(value).is_ok_and(|value| value < terms.len());
        (0..terms.len()).all(|index| terms.value(index).is_some_and(fits))
    }

    fn __len__(&self) -> usize {
        self.terms().len()
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self.find(key)? {
            Some(value) => self.number(key.py(), value),
            None => Err(PyKeyError::new_err((key.clone().unbind(),))),
        }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.find(key)?.is_some())
    }

    #[pyo3(signature = (key, default=None, /))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.find(key)? {
            Some(value) => self.number(key.py(), value).map(Some),
            None => Ok(default),
        }
    }

    fn __iter__(slf: &Bound<'_, Self>) -> TermIterator {
        TermIterator::new(slf, What::Keys, false)
    }

    fn __reversed__(slf: &Bound<'_, Self>) -> TermIterator {
        TermIterator::new(slf, What::Keys, true)
    }

    /// Iterates over `"keys"`, `"values"` or `"items"`.
    #[pyo3(name = "_iterate", signature = (what, *, reverse=false))]
    fn iterate(slf: &Bound<'_, Self>, what: &str, reverse: bool) -> TermIterator {
        let what = match what {
            "keys" => What::Keys,
            "values" => What::Values,
            _ => What::Items,
        };
        TermIterator::new(slf, what, reverse)
    }

    fn keys<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        view(slf, "VocabularyKeys")
    }

    fn values<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        view(slf, "VocabularyValues")
    }

    fn items<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        view(slf, "VocabularyItems")
    }

    /// An ordinary dict.
    fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.to_dict(py)
    }

    fn __copy__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.to_dict(py)
    }

    fn __deepcopy__<'py>(&self, memo: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        self.to_dict(memo.py())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let args = PyTuple::new(py, [self.to_dict(py)?])?;
        PyTuple::new(py, [py.get_type::<PyDict>().into_any(), args.into_any()])
    }

    fn __eq__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        match other.cast::<PyMapping>() {
            Ok(other) => Ok(self.equals(other)?.into_pyobject(py)?.to_owned().into_any()),
            Err(_) => Ok(py.NotImplemented().into_bound(py)),
        }
    }

    fn __ne__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        match other.cast::<PyMapping>() {
            Ok(other) => Ok((!self.equals(other)?).into_pyobject(py)?.to_owned().into_any()),
            Err(_) => Ok(py.NotImplemented().into_bound(py)),
        }
    }

    fn __or__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<PyMapping>() else { return Ok(py.NotImplemented().into_bound(py)) };
        let dict = self.to_dict(py)?;
        dict.update(other)?;
        Ok(dict.into_any())
    }

    fn __ror__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<PyMapping>() else { return Ok(py.NotImplemented().into_bound(py)) };
        let dict = PyDict::new(py);
        dict.update(other)?;
        dict.update(self.to_dict(py)?.as_mapping())?;
        Ok(dict.into_any())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.to_dict(py)?.repr()?.to_string())
    }

    fn __setitem__(&self, _key: &Bound<'_, PyAny>, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(read_only())
    }

    fn __delitem__(&self, _key: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(read_only())
    }

    fn __ior__(&self, _other: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(read_only())
    }

    fn clear(&self) -> PyResult<()> {
        Err(read_only())
    }

    fn popitem(&self) -> PyResult<()> {
        Err(read_only())
    }

    #[pyo3(signature = (*_args))]
    fn pop(&self, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(read_only())
    }

    #[pyo3(signature = (*_args))]
    fn setdefault(&self, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(read_only())
    }

    #[pyo3(signature = (*_args, **_kwargs))]
    fn update(&self, _args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        Err(read_only())
    }
}

#[derive(Clone, Copy)]
enum What {
    Keys,
    Values,
    Items,
}

/// Goes through a vocabulary in insertion order, or backwards.
#[pyclass(frozen, module = "onecopy._onecopy")]
pub(crate) struct TermIterator {
    vocabulary: Py<MappedVocabulary>,
    what: What,
    reverse: bool,
    next: AtomicUsize,
}

impl TermIterator {
    fn new(vocabulary: &Bound<'_, MappedVocabulary>, what: What, reverse: bool) -> Self {
        TermIterator { vocabulary: vocabulary.clone().unbind(), what, reverse, next: AtomicUsize::new(0) }
    }
}

#[pymethods]
impl TermIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let vocabulary = self.vocabulary.get();
        let (next, len) = (self.next.load(Ordering::Relaxed), vocabulary.terms().len());
        if next >= len {
            return Ok(None);
        }
        self.next.store(next + 1, Ordering::Relaxed);
        let index = if self.reverse { len - 1 - next } else { next };
        Ok(Some(match self.what {
            What::Keys => vocabulary.key_at(py, index)?,
            What::Values => vocabulary.value_at(py, index)?,
            What::Items => {
                let pair = [vocabulary.key_at(py, index)?, vocabulary.value_at(py, index)?];
                PyTuple::new(py, pair)?.into_any()
            }
        }))
    }

    fn __length_hint__(&self) -> usize {
        let len = self.vocabulary.get().terms().len();
        len.saturating_sub(self.next.load(Ordering::Relaxed))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let rest = PyList::empty(py);
        let this = slf.get();
        let copy = TermIterator {
            vocabulary: this.vocabulary.clone_ref(py),
            what: this.what,
            reverse: this.reverse,
            next: AtomicUsize::new(this.next.load(Ordering::Relaxed)),
        };
        while let Some(item) = copy.__next__(py)? {
            rest.append(item)?;
        }
        let iter = py.import("builtins")?.getattr(intern!(py, "iter"))?;
        PyTuple::new(py, [iter, PyTuple::new(py, [rest])?.into_any()])
    }
}
