//! The trees of histogram gradient boosting: scikit-learn's compiled code follows their indices without asking.
#![forbid(unsafe_code)]

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyMappingProxy;

/// Whether nodes, an array of records, can be walked: children come after their parents and exist, and a categorical split
/// has one of `bitsets`. With `categorical`, which says for each feature whether it has categories (uint8), also
/// whether splits are of these features, and categorical ones of features with categories.
#[pyfunction]
#[pyo3(signature = (nodes, bitsets, categorical=None))]
pub(crate) fn histogram_tree_fits(
    nodes: &Bound<'_, PyAny>,
    bitsets: u64,
    categorical: Option<PyReadonlyArray1<'_, u8>>,
) -> PyResult<bool> {
    let py = nodes.py();
    let dtype = nodes.getattr(intern!(py, "dtype"))?;
    let Ok(fields) = dtype.getattr(intern!(py, "fields"))?.cast_into::<PyMappingProxy>() else {
        return Ok(false);
    };
    let size: usize = dtype.getattr(intern!(py, "itemsize"))?.extract()?;
    let mut places = Vec::with_capacity(FIELDS.len());
    for name in FIELDS {
        if !fields.contains(name)? {
            return Ok(false);
        }
        match place(&fields.get_item(name)?)? {
            Some(place) if place.start + place.len <= size => places.push(place),
            _ => return Ok(false),
        }
    }
    let Ok(bytes) = nodes.call_method1(intern!(py, "view"), ("u1",))?.cast_into::<PyArray1<u8>>() else {
        return Ok(false);
    };
    let bytes = bytes.try_readonly()?;
    let categorical = match &categorical {
        Some(categorical) => Some(categorical.as_slice()?),
        None => None,
    };
    let Ok(bytes) = bytes.as_slice() else { return Ok(false) };
    Ok(size > 0 && fits(bytes, size, &places, bitsets, categorical))
}

const FIELDS: [&str; 6] = ["is_leaf", "left", "right", "feature_idx", "is_categorical", "bitset_idx"];

/// An integer within a record.
struct Place {
    start: usize,
    len: usize,
}

/// The place of a field `(dtype, offset)`, if it is an integer in the order of this machine.
fn place(field: &Bound<'_, PyAny>) -> PyResult<Option<Place>> {
    let py = field.py();
    let dtype = field.get_item(0)?;
    let kind: String = dtype.getattr(intern!(py, "kind"))?.extract()?;
    let native: bool = dtype.getattr(intern!(py, "isnative"))?.extract()?;
    let len: usize = dtype.getattr(intern!(py, "itemsize"))?.extract()?;
    let start = field.get_item(1)?.extract()?;
    let suits = native && matches!(kind.as_str(), "i" | "u" | "b") && len <= 8;
    Ok(suits.then_some(Place { start, len }))
}

fn fits(bytes: &[u8], size: usize, places: &[Place], bitsets: u64, categorical: Option<&[u8]>) -> bool {
    let [is_leaf, left, right, feature, by_category, bitset] = places else { return false };
    let count = (bytes.len() / size) as u64;
    // A negative number reads as one beyond every count.
    let number = |record: &[u8], place: &Place| {
        let mut word = [0; 8];
        let field = record.get(place.start..place.start + place.len).unwrap_or_default();
        word[..field.len()].copy_from_slice(field);
        u64::from_le_bytes(word)
    };
    let sound = |(at, record): (usize, &[u8])| {
        if number(record, is_leaf) != 0 {
            return true;
        }
        let after = |child: u64| child > at as u64 && child < count;
        let split = number(record, feature);
        let splits_categories = number(record, by_category) != 0;
        let known = categorical.is_none_or(|kinds| {
            let kind = usize::try_from(split).ok().and_then(|split| kinds.get(split));
            kind.is_some_and(|kind| *kind != 0 || !splits_categories)
        });
        after(number(record, left))
            && after(number(record, right))
            && known
            && (!splits_categories || number(record, bitset) < bitsets)
    };
    count > 0 && bytes.chunks_exact(size).enumerate().all(sound)
}
