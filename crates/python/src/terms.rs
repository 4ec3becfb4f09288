//! A big vocabulary on its way to a file, read at once instead of pickled term by term.
#![forbid(unsafe_code)]

use std::sync::Mutex;

use onecopy::{NewTerms, TermsBuilder};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple, PyType};

use crate::vocabulary::MappedVocabulary;

/// What a dict of `str` to int held when it was read. Stands for the dict in the pickle of `dump`, by its number.
#[pyclass(frozen, module = "onecopy._onecopy")]
pub(crate) struct Terms {
    number: usize,
    terms: Mutex<Option<NewTerms>>,
}

#[pymethods]
impl Terms {
    /// Reads a vocabulary; None if it is small, or no dict of which every key is a `str` and every value an `int`, or every
    /// value a `numpy.int64`.
    #[staticmethod]
    fn of(vocabulary: &Bound<'_, PyAny>, number: usize) -> PyResult<Option<Self>> {
        let py = vocabulary.py();
        let gathered = match (vocabulary.cast_exact::<PyDict>(), vocabulary.cast_exact::<MappedVocabulary>())
        {
            (Ok(dict), _) => gather(dict)?,
            (_, Ok(mapped)) => mapped.get().gather(),
            _ => None,
        };
        let Some((builder, numpy)) = gathered else { return Ok(None) };
        let terms = py.detach(|| builder.finish(numpy));
        Ok(terms.map(|terms| Terms { number, terms: Mutex::new(Some(terms)) }))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        Ok((slf.get_type(), PyTuple::new(slf.py(), [slf.get().number])?))
    }
}

impl Terms {
    /// The terms, to whoever asks first.
    pub(crate) fn take(&self) -> Option<NewTerms> {
        self.terms.lock().ok()?.take()
    }
}

fn gather(dict: &Bound<'_, PyDict>) -> PyResult<Option<(TermsBuilder, bool)>> {
    if dict.len() < TermsBuilder::MIN_TERMS {
        return Ok(None);
    }
    let int64 = dict.py().import("numpy")?.getattr("int64")?;
    let mut builder = TermsBuilder::with_capacity(dict.len());
    let mut numpy = None;
    for (term, value) in dict {
        let is_numpy = value.get_type().is(&int64);
        let alike = is_numpy == *numpy.get_or_insert(is_numpy);
        if !alike || !(is_numpy || value.is_exact_instance_of::<PyInt>()) {
            return Ok(None);
        }
        let Ok(term) = term.cast_exact::<PyString>() else { return Ok(None) };
        // A surrogate has no UTF-8, and an int may be too big.
        let (Ok(term), Ok(value)) = (term.to_str(), value.extract::<i64>()) else { return Ok(None) };
        if builder.push(term, value).is_none() {
            return Ok(None);
        }
    }
    Ok(numpy.map(|numpy| (builder, numpy)))
}
