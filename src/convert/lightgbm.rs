//! LightGBM's text files: the object that `lightgbm.Booster(model_str=...)` makes of one, with its text as it is.
#![forbid(unsafe_code)]

use crate::convert::error::{ConvertError, TextProblem};
use crate::convert::limits::Budget;
use crate::convert::source::{Foreign, ReadAt};
use crate::model::graph::{Graph, Make, Node, NodeId, Object};

/// Whether a file that starts so is one: no pickle does.
pub(crate) fn is_start(head: &[u8]) -> bool {
    head.starts_with(b"tree\nver") || head.starts_with(b"tree\r\nve")
}

/// `lightgbm.basic.Booster(None, None, None, text)`: no parameters, no data, no file, but a text.
///
/// # Errors
///
/// [`ConvertError`] if it cannot be read, is no UTF-8 or is longer than the budget.
pub(crate) fn read(
    source: Box<dyn ReadAt>,
    container: &str,
    mut budget: Budget,
) -> Result<Foreign, ConvertError> {
    let len = source.len_bytes();
    let wrong = |problem| ConvertError::LightGbm { problem };
    budget.hold(len).map_err(|problem| wrong(TextProblem::Limit { problem }))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    source.read_exact_at(0, &mut bytes).map_err(|source| ConvertError::Read { offset: 0, source })?;
    let text = String::from_utf8(bytes)
        .map_err(|error| wrong(TextProblem::NotUtf8 { at: error.utf8_error().valid_up_to() }))?;
    let booster = Object {
        make: Make::Call,
        callable: NodeId(1),
        args: NodeId(2),
        kwargs: None,
        items: Vec::new(),
        pairs: Vec::new(),
        state: None,
    };
    let nodes = vec![
        Node::Object(Box::new(booster)),
        Node::Name { module: "lightgbm.basic".into(), qualname: "Booster".into() },
        Node::Tuple(vec![NodeId(3), NodeId(3), NodeId(3), NodeId(4)]),
        Node::None,
        Node::Str(text.into()),
    ];
    let graph = Graph { nodes, root: NodeId(0) };
    Ok(Foreign { graph, arrays: Vec::new(), source, container: container.to_owned() })
}
