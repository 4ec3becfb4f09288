//! How Python itself pickles sets, bytes and plain objects in old protocols.
#![forbid(unsafe_code)]

use crate::convert::error::Fault;
use crate::convert::pickle::values::{Raw, Values};
use crate::model::graph::{Blob, Make, Node, NodeId, Object};

/// What calling `module.qualname(*args)` gives, for the functions with which Python pickles plain data.
pub(crate) fn call(
    values: &mut Values<'_>,
    (module, qualname): (&str, &str),
    args: &[NodeId],
) -> Result<Option<Node>, Fault> {
    match (module, qualname) {
        ("_codecs", "encode") => encode(values, args),
        ("builtins" | "__builtin__", "bytearray") => Ok(byte_array(values, args)),
        ("builtins" | "__builtin__", "bytes") if args.is_empty() => {
            Ok(Some(Node::Bytes(Blob::Inline(Box::default()))))
        }
        ("builtins" | "__builtin__", "set") => Ok(list_items(values, args).map(Node::Set)),
        ("builtins" | "__builtin__", "frozenset") => Ok(list_items(values, args).map(Node::FrozenSet)),
        ("copyreg" | "copy_reg", "_reconstructor") => reconstructor(values, args),
        ("copyreg" | "copy_reg", "__newobj__") => new_object(values, args),
        _ => Ok(None),
    }
}

/// `encode(text, 'latin1')`: `bytes` in protocols 0 to 2.
fn encode(values: &mut Values<'_>, args: &[NodeId]) -> Result<Option<Node>, Fault> {
    let &[text, codec] = args else { return Ok(None) };
    if !matches!(values.str_at(codec), Some("latin1" | "latin-1")) {
        return Ok(None);
    }
    Ok(values.latin1(text)?.map(Node::Bytes))
}

/// `bytearray()`, `bytearray(bytes)` or `bytearray(text, 'latin-1')`.
fn byte_array(values: &Values<'_>, args: &[NodeId]) -> Option<Node> {
    match *args {
        [] => Some(Node::ByteArray(Blob::Inline(Box::default()))),
        [bytes] => match values.node(bytes) {
            Node::Bytes(blob) => Some(Node::ByteArray(blob.clone())),
            _ => None,
        },
        [text, codec] if matches!(values.str_at(codec), Some("latin1" | "latin-1")) => {
            let bytes = values.str_at(text)?.chars().map(|c| u8::try_from(u32::from(c)).ok());
            bytes.collect::<Option<_>>().map(|bytes| Node::ByteArray(Blob::Inline(bytes)))
        }
        _ => None,
    }
}

fn list_items(values: &Values<'_>, args: &[NodeId]) -> Option<Vec<NodeId>> {
    match *args {
        [list] => match values.node(list) {
            Node::List(items) => Some(items.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// `_reconstructor(cls, object, None)` is `object.__new__(cls)`: how protocols 0 and 1 make objects.
fn reconstructor(values: &mut Values<'_>, args: &[NodeId]) -> Result<Option<Node>, Fault> {
    let &[class, base, state] = args else { return Ok(None) };
    let plain = matches!(values.name_at(base), Some(("builtins" | "__builtin__", "object")));
    if !plain || *values.node(state) != Node::None || values.name_at(class).is_none() {
        return Ok(None);
    }
    let args = values.add(Node::Tuple(Vec::new()))?;
    Ok(Some(object(Make::New, class, args)))
}

/// `__newobj__(cls, *args)`
fn new_object(values: &mut Values<'_>, args: &[NodeId]) -> Result<Option<Node>, Fault> {
    let Some((class, args)) = args.split_first() else { return Ok(None) };
    if values.name_at(*class).is_none() {
        return Ok(None);
    }
    let args = values.add(Node::Tuple(args.to_vec()))?;
    Ok(Some(object(Make::New, *class, args)))
}

pub(crate) fn object(make: Make, callable: NodeId, args: NodeId) -> Node {
    let object =
        Object { make, callable, args, kwargs: None, items: Vec::new(), pairs: Vec::new(), state: None };
    Node::Object(Box::new(object))
}

/// The value of `key` in a dict of few keys.
pub(crate) fn attr(values: &Values<'_>, dict: NodeId, key: &str) -> Option<NodeId> {
    match values.node(dict) {
        Node::Dict(pairs) => {
            pairs.iter().rev().find(|(name, _)| values.str_at(*name) == Some(key)).map(|(_, value)| *value)
        }
        _ => None,
    }
}

/// Short bytes of a `bytes` or text value, for messages.
pub(crate) fn shown(values: &Values<'_>, id: NodeId) -> String {
    match values.node(id) {
        Node::Str(text) => text.chars().take(80).collect(),
        Node::Bytes(blob) => match values.raw(blob) {
            Some(Raw::Here(bytes)) => bytes.get(..80).unwrap_or(bytes).escape_ascii().to_string(),
            _ => "bytes".to_owned(),
        },
        Node::Int(value) => value.to_string(),
        node => node.type_name().to_owned(),
    }
}
