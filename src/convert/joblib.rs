//! joblib's way of keeping arrays: a wrapper object in the pickle, and the array's bytes after it in the stream.
#![forbid(unsafe_code)]

use crate::convert::error::{Fault, Problem};
use crate::convert::pickle::python::{attr, object, shown};
use crate::convert::pickle::values::{Values, len_bytes};
use crate::convert::pickle::{holds_objects, itemsize, of_class};
use crate::convert::source::ForeignData;
use crate::convert::window::Window;
use crate::format::Order;
use crate::model::graph::{Blob, Make, Node, NodeId, Object};

const KEYS: [&str; 6] = ["subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"];

fn is_joblib(module: &str) -> bool {
    matches!(
        module,
        "joblib.numpy_pickle"
            | "joblib.numpy_pickle_compat"
            | "sklearn.externals.joblib.numpy_pickle"
            | "sklearn.externals.joblib.numpy_pickle_compat"
    )
}

/// Whether `object` is a `NumpyArrayWrapper` without state yet.
pub(crate) fn is_wrapper(values: &Values<'_>, object: &Object) -> Result<bool, Problem> {
    match values.name_at(object.callable) {
        Some((module, "NumpyArrayWrapper")) if is_joblib(module) => Ok(object.make == Make::New),
        _ => Ok(false),
    }
}

/// Refuses the wrappers of joblib 0.9 and older, whose arrays lie in other files.
pub(crate) fn refuse_companion(values: &Values<'_>, object: &Object, state: NodeId) -> Result<(), Problem> {
    match values.name_at(object.callable) {
        Some((module, "NDArrayWrapper" | "ZNDArrayWrapper")) if is_joblib(module) => {
            let file = attr(values, state, "filename").map_or_else(|| "?".to_owned(), |id| shown(values, id));
            Err(Problem::CompanionFile { file })
        }
        _ => Ok(()),
    }
}

/// The state of a `NumpyArrayWrapper`.
pub(crate) struct Wrapper {
    subclass: NodeId,
    shape: Vec<u64>,
    order: Order,
    dtype: NodeId,
    padded: bool,
    /// A whole pickle follows, not raw bytes.
    pub(crate) holds_objects: bool,
}

impl Wrapper {
    pub(crate) fn from_state(values: &Values<'_>, state: NodeId) -> Result<Self, Problem> {
        let Node::Dict(pairs) = values.node(state) else {
            return Err(bad(values, "its state", state, "a dict"));
        };
        let strange =
            pairs.iter().find(|(key, _)| !values.str_at(*key).is_some_and(|key| KEYS.contains(&key)));
        if let Some((key, _)) = strange {
            return Err(bad(values, "a key of its state", *key, "one that joblib 0.10 to 1.6 writes"));
        }
        let get = |key: &'static str| {
            attr(values, state, key).ok_or(Problem::Wrapper {
                what: key,
                found: "missing".to_owned(),
                expected: "a value",
            })
        };
        let (subclass, shape, order, dtype) = (get("subclass")?, get("shape")?, get("order")?, get("dtype")?);
        if values.name_at(subclass).is_none() {
            return Err(bad(values, "subclass", subclass, "the name of a class"));
        }
        let padded = match attr(values, state, "numpy_array_alignment_bytes").map(|id| (id, values.node(id)))
        {
            None | Some((_, Node::None)) => false,
            Some((_, Node::Int(1..=255))) => true,
            Some((id, _)) => return Err(bad(values, "numpy_array_alignment_bytes", id, "1 to 255 or None")),
        };
        Ok(Wrapper {
            subclass,
            shape: values
                .shape_at(shape)
                .ok_or_else(|| bad(values, "shape", shape, "a tuple of at most 64 lengths"))?,
            order: match values.str_at(order) {
                Some("C") => Order::C,
                Some("F") => Order::F,
                _ => return Err(bad(values, "order", order, "'C' or 'F'")),
            },
            dtype,
            padded,
            holds_objects: holds_objects(values, dtype)
                .ok_or_else(|| bad(values, "dtype", dtype, "a numpy.dtype"))?,
        })
    }

    /// Passes over padding and bytes, and says where the bytes are.
    pub(crate) fn read_raw(self, window: &mut Window<'_>, values: &mut Values<'_>) -> Result<Node, Fault> {
        if self.padded {
            let padding = window.byte()?;
            window.skip(padding.into())?;
        }
        let Node::Dtype(dtype) = values.node(self.dtype) else {
            return self.read_strange(window, values);
        };
        let dtype = dtype.clone();
        let Some(len) = len_bytes(&dtype, &self.shape) else {
            return self.read_strange(window, values);
        };
        let data = ForeignData::Source(window.skip(len)?);
        let node = values.array_node(dtype, self.shape.clone(), self.order, data)?;
        match node {
            Some(node) => of_class(values, self.subclass, node),
            None => Err(self.too_long().into()),
        }
    }

    fn too_long(&self) -> Problem {
        Problem::Wrapper { what: "shape", found: format!("{:?}", self.shape), expected: "at most 2^63 bytes" }
    }

    /// An array of a dtype that the graph has no array for, as NumPy itself would pickle it.
    fn read_strange(self, window: &mut Window<'_>, values: &mut Values<'_>) -> Result<Node, Fault> {
        let itemsize = itemsize(values, self.dtype).ok_or_else(|| self.too_long())?;
        let nonzero = self.shape.iter().filter(|len| **len > 0);
        let product = nonzero.copied().try_fold(itemsize, u64::checked_mul).ok_or_else(|| self.too_long())?;
        let len = if self.shape.contains(&0) { 0 } else { product };
        let range = window.skip(len)?;
        let blob = values.blob_in_source(range)?;
        let name =
            |module: &str, qualname: &str| Node::Name { module: module.into(), qualname: qualname.into() };
        let callable = values.add(name("numpy._core.multiarray", "_reconstruct"))?;
        let zero = values.add(Node::Int(0))?;
        let zero = values.add(Node::Tuple(vec![zero]))?;
        let kind = values.add(Node::Bytes(Blob::Inline(b"b".as_slice().into())))?;
        let args = values.add(Node::Tuple(vec![self.subclass, zero, kind]))?;
        let version = values.add(Node::Int(1))?;
        let dims: Result<Vec<_>, Problem> = self
            .shape
            .iter()
            .map(|len| values.add(Node::Int(i64::try_from(*len).map_err(|_| self.too_long())?)))
            .collect();
        let shape = values.add(Node::Tuple(dims?))?;
        let fortran = values.add(Node::Bool(self.order == Order::F))?;
        let bytes = values.add(Node::Bytes(blob))?;
        let state = values.add(Node::Tuple(vec![version, shape, self.dtype, fortran, bytes]))?;
        let mut node = object(Make::Call, callable, args);
        if let Node::Object(object) = &mut node {
            object.state = Some(state);
        }
        Ok(node)
    }
}

fn bad(values: &Values<'_>, what: &'static str, id: NodeId, expected: &'static str) -> Problem {
    Problem::Wrapper { what, found: shown(values, id), expected }
}
