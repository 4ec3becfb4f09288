//! Reading a graph as the estimator it describes: classes, attributes, scalars.
//!
//! Nothing here follows more than one reference at a time, so cycles in a graph are harmless, and every answer
//! to a question that the graph does not answer is `None`.
#![forbid(unsafe_code)]

use crate::format::dtype::{Dtype, Kind, Plain};
use crate::model::graph::{ArrayPart, Graph, Make, Node, NodeId, Object};

/// State dicts with more entries are not searched: no estimator has that many attributes.
const MAX_ATTRIBUTES: usize = 4096;

impl Graph {
    /// The node with this number; `None`'s node if a caller invented the number.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::None)
    }

    /// The object at `id`, if it is one.
    pub fn object(&self, id: NodeId) -> Option<&Object> {
        match self.node(id) {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Module and qualified name, if `id` is a name.
    pub fn name_at(&self, id: NodeId) -> Option<(&str, &str)> {
        match self.node(id) {
            Node::Name { module, qualname } => Some((module, qualname)),
            _ => None,
        }
    }

    /// Module and qualified name of what made the object at `id`, seen through `copyreg`.
    ///
    /// For an object made by a function this is the function's name.
    pub fn class_of(&self, id: NodeId) -> Option<(&str, &str)> {
        let object = self.object(id)?;
        let name = self.name_at(object.callable)?;
        let through_copyreg = object.make == Make::Call
            && matches!(name.0, "copyreg" | "copy_reg")
            && matches!(name.1, "_reconstructor" | "__newobj__" | "__newobj_ex__");
        if through_copyreg { self.name_at(*self.items(object.args)?.first()?) } else { Some(name) }
    }

    /// The attribute `name` of the object at `id`: from its state, which is a dict or a pair of a dict and a dict of slots.
    pub fn attr(&self, id: NodeId, name: &str) -> Option<NodeId> {
        let state = self.object(id)?.state?;
        match self.node(state) {
            Node::Tuple(parts) if parts.len() == 2 => {
                parts.iter().rev().find_map(|part| self.dict_item(*part, name))
            }
            _ => self.dict_item(state, name),
        }
    }

    /// The value of the string key `key` in the dict at `id`; the last one if it is there twice, as in Python.
    pub fn dict_item(&self, id: NodeId, key: &str) -> Option<NodeId> {
        let Node::Dict(pairs) = self.node(id) else { return None };
        if pairs.len() > MAX_ATTRIBUTES {
            return None;
        }
        pairs.iter().rev().find(|(k, _)| self.as_str(*k) == Some(key)).map(|(_, value)| *value)
    }

    /// The items of a list or tuple.
    pub fn items(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// Whether `id` is `None`.
    pub fn is_none(&self, id: NodeId) -> bool {
        matches!(self.node(id), Node::None)
    }

    /// A `str`, or a NumPy scalar that holds text only if it is a Python `str`.
    pub fn as_str(&self, id: NodeId) -> Option<&str> {
        match self.node(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// `True` or `False`, of Python or of NumPy.
    pub fn as_bool(&self, id: NodeId) -> Option<bool> {
        match self.node(id) {
            Node::Bool(value) => Some(*value),
            Node::Scalar { dtype: Dtype::Plain(Plain { kind: Kind::Bool, .. }), bytes } => {
                Some(*bytes.first()? != 0)
            }
            _ => None,
        }
    }

    /// An integer of Python or of NumPy that fits. A bool is not an integer here.
    pub fn as_int(&self, id: NodeId) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            Node::Scalar { dtype: Dtype::Plain(plain), bytes } => int_of(*plain, bytes),
            _ => None,
        }
    }

    /// A real number of Python or of NumPy: a float, or an integer that a float holds exactly.
    pub fn as_f64(&self, id: NodeId) -> Option<f64> {
        match self.node(id) {
            Node::Float(value) => Some(*value),
            Node::Scalar { dtype: Dtype::Plain(plain), bytes } if plain.kind == Kind::Float => {
                float_of(*plain, bytes)
            }
            _ => exact_f64(self.as_int(id)?),
        }
    }

    /// The stored array behind `id`; `numpy.memmap` is seen as the array that it is.
    pub fn array_part(&self, id: NodeId) -> Option<&ArrayPart> {
        match self.node(self.plain_array(id)?) {
            Node::Array(part) => Some(part),
            _ => None,
        }
    }

    /// The array node behind `id`, seen through subclasses of ndarray that add nothing to it.
    pub fn plain_array(&self, id: NodeId) -> Option<NodeId> {
        match self.node(id) {
            Node::Array(_) | Node::ObjectArray { .. } | Node::Records(_) | Node::Quotients(_) => Some(id),
            Node::ArrayOfClass { class, array } => {
                let (module, name) = self.name_at(*class)?;
                let adds_nothing =
                    module.split('.').next() == Some("numpy") && matches!(name, "memmap" | "ndarray");
                adds_nothing.then_some(*array)
            }
            _ => None,
        }
    }
}

/// `value` as a float, if no bit of it is lost.
pub(crate) fn exact_f64(value: i64) -> Option<f64> {
    (value.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS).then_some(value as f64)
}

/// One integer element of a NumPy dtype.
pub(crate) fn int_of(dtype: Plain, bytes: &[u8]) -> Option<i64> {
    let size = dtype.itemsize as usize;
    if bytes.len() != size || !(1..=8).contains(&size) || !matches!(dtype.kind, Kind::Int | Kind::Uint) {
        return None;
    }
    let mut word = little_endian(dtype, bytes);
    if dtype.kind == Kind::Uint {
        return i64::try_from(u64::from_le_bytes(word)).ok();
    }
    if word[size - 1] & 0x80 != 0 {
        word[size..].fill(0xff);
    }
    Some(i64::from_le_bytes(word))
}

/// One `f4` or `f8` element of a NumPy dtype.
pub(crate) fn float_of(dtype: Plain, bytes: &[u8]) -> Option<f64> {
    if bytes.len() != dtype.itemsize as usize || dtype.kind != Kind::Float {
        return None;
    }
    match bytes.len() {
        4 => {
            let word = little_endian(dtype, bytes);
            Some(f32::from_le_bytes([word[0], word[1], word[2], word[3]]).into())
        }
        8 => Some(f64::from_le_bytes(little_endian(dtype, bytes))),
        _ => None,
    }
}

/// Up to eight bytes, least significant first, then zeros.
fn little_endian(dtype: Plain, bytes: &[u8]) -> [u8; 8] {
    let mut word = [0; 8];
    for (index, byte) in bytes.iter().take(8).enumerate() {
        let at = if dtype.big_endian { bytes.len().min(8) - 1 - index } else { index };
        word[at] = *byte;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> NodeId {
        NodeId(number)
    }

    fn name(module: &str, qualname: &str) -> Node {
        Node::Name { module: module.into(), qualname: qualname.into() }
    }

    fn object(make: Make, callable: u32, args: u32, state: u32) -> Node {
        Node::Object(Box::new(Object {
            make,
            callable: id(callable),
            args: id(args),
            kwargs: None,
            items: vec![],
            pairs: vec![],
            state: Some(id(state)),
        }))
    }

    #[test]
    fn the_class_is_seen_through_copyreg() {
        let graph = Graph {
            nodes: vec![
                name("copyreg", "_reconstructor"),
                name("shop", "Clip"),
                Node::Tuple(vec![id(1)]),
                Node::Dict(vec![]),
                object(Make::Call, 0, 2, 3),
                object(Make::New, 1, 2, 3),
            ],
            root: id(4),
        };
        assert_eq!(graph.class_of(id(4)), Some(("shop", "Clip")));
        assert_eq!(graph.class_of(id(5)), Some(("shop", "Clip")));
        assert_eq!(graph.class_of(id(3)), None);
    }

    #[test]
    fn attributes_are_found_in_dicts_and_in_slots_and_the_last_one_counts() {
        let graph = Graph {
            nodes: vec![
                name("m", "C"),
                Node::Tuple(vec![]),
                Node::Str("a".into()),
                Node::Int(1),
                Node::Int(2),
                Node::Dict(vec![(id(2), id(3)), (id(2), id(4))]),
                Node::None,
                Node::Tuple(vec![id(6), id(5)]),
                object(Make::New, 0, 1, 5),
                object(Make::New, 0, 1, 7),
            ],
            root: id(8),
        };
        for object in [8, 9] {
            assert_eq!(graph.attr(id(object), "a").and_then(|value| graph.as_int(value)), Some(2));
            assert_eq!(graph.attr(id(object), "b"), None);
        }
    }

    #[test]
    fn numpy_scalars_read_as_numbers_of_either_byte_order() {
        let scalar = |kind, big_endian, bytes: &[u8]| Node::Scalar {
            dtype: Dtype::Plain(Plain { kind, itemsize: bytes.len() as u32, big_endian }),
            bytes: bytes.into(),
        };
        let graph = Graph {
            nodes: vec![
                scalar(Kind::Int, false, &[0xfe, 0xff]),
                scalar(Kind::Int, true, &[0xff, 0xfe]),
                scalar(Kind::Uint, true, &[1, 0, 0, 0]),
                scalar(Kind::Float, true, &0.5f64.to_bits().swap_bytes().to_le_bytes()),
                scalar(Kind::Float, false, &0.1f32.to_le_bytes()),
                scalar(Kind::Uint, false, &u64::MAX.to_le_bytes()),
                scalar(Kind::Bool, false, &[1]),
            ],
            root: id(0),
        };
        assert_eq!(graph.as_int(id(0)), Some(-2));
        assert_eq!(graph.as_int(id(1)), Some(-2));
        assert_eq!(graph.as_int(id(2)), Some(1 << 24));
        assert_eq!(graph.as_f64(id(2)), Some(16_777_216.0));
        assert_eq!(graph.as_f64(id(3)), Some(0.5));
        assert_eq!(graph.as_f64(id(4)), Some(f64::from(0.1f32)));
        assert_eq!(graph.as_int(id(5)), None);
        assert_eq!(graph.as_bool(id(6)), Some(true));
        assert_eq!(graph.as_int(id(6)), None);
        assert_eq!(graph.node(id(99)), &Node::None);
    }
}
