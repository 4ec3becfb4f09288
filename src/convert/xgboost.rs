//! XGBoost's model files: the object that `xgboost.Booster(model_file=...)` makes of one, with its bytes as they are.
#![forbid(unsafe_code)]

use std::io;

use crate::convert::source::{Foreign, ForeignArray, ForeignData, ReadAt};
use crate::format::dtype::Dtype;
use crate::format::{ArrayId, ArrayInfo, Order};
use crate::model::graph::{Blob, Graph, Make, Node, NodeId, Object};

/// Bytes that are looked at: spaces and line ends of indented JSON, and the first key.
const HEAD: u64 = 64;
/// What a model file starts with, whatever wrote its keys in which order.
const KEYS: [&[u8]; 2] = [b"learner", b"version"];

/// The name of the format, if `source` looks like a model file: an object whose first key is `learner` or `version`.
pub(crate) fn sniff(source: &dyn ReadAt) -> io::Result<Option<&'static str>> {
    let mut head = vec![0; source.len_bytes().min(HEAD) as usize];
    source.read_exact_at(0, &mut head)?;
    let [b'{', rest @ ..] = head.as_slice() else { return Ok(None) };
    if let Some(text) = rest.trim_ascii_start().strip_prefix(b"\"") {
        let known =
            KEYS.iter().any(|key| text.strip_prefix(*key).is_some_and(|rest| rest.first() == Some(&b'"')));
        return Ok(known.then_some("XGBoost JSON"));
    }
    let known = KEYS
        .iter()
        .any(|key| rest.strip_prefix(b"L\0\0\0\0\0\0\0\x07").is_some_and(|rest| rest.starts_with(key)));
    Ok(known.then_some("XGBoost UBJSON"))
}

/// `xgboost.core.Booster(None, None, bytearray(...))`.
pub(crate) fn read(source: Box<dyn ReadAt>, container: &str) -> Foreign {
    let len = source.len_bytes();
    let booster = Object {
        make: Make::Call,
        callable: NodeId(0),
        args: NodeId(3),
        kwargs: None,
        items: Vec::new(),
        pairs: Vec::new(),
        state: None,
    };
    let nodes = vec![
        Node::Name { module: "xgboost.core".into(), qualname: "Booster".into() },
        Node::None,
        Node::ByteArray(Blob::Array(ArrayId(0))),
        Node::Tuple(vec![NodeId(1), NodeId(1), NodeId(2)]),
        Node::Object(Box::new(booster)),
    ];
    let info = ArrayInfo { dtype: Dtype::U8, shape: vec![len], order: Order::C };
    let arrays = vec![ForeignArray { info, data: ForeignData::Source(0..len) }];
    Foreign { graph: Graph { nodes, root: NodeId(4) }, arrays, source, container: container.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_file_is_known_by_its_first_key() {
        for (bytes, expected) in [
            (&b"{\"learner\":{}}"[..], Some("XGBoost JSON")),
            (b"{\n  \"version\": [3, 2, 0]", Some("XGBoost JSON")),
            (b"{L\0\0\0\0\0\0\0\x07learner{", Some("XGBoost UBJSON")),
            (b"{\"learners\":1}", None),
            (b"{}", None),
            (b"{", None),
            (b"[\"learner\"]", None),
        ] {
            assert_eq!(expected, sniff(&bytes.to_vec()).unwrap(), "{bytes:?}");
        }
    }
}
