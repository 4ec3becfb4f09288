//! Stores what `load()` will need to rebuild the object exactly, in few arrays and few bytes.
//!
//! - Arrays alike in many similar objects (the trees of a forest) are stored end to end in one array, so that
//!   opening a file does not take longer the more trees there are.
//! - The nodes of trees (records beside `values`), and records with padding, become one array per field, each of the
//!   narrowest integers that hold every value. Bytes between fields are dropped: they are whatever was in memory.
//!   Other records stay as they are, so that they can be mapped.
//! - `values` of a classification tree are counts divided by the weight of the node; the counts are stored if
//!   dividing them gives every bit back.
//! - Big dicts of `str` to int, the vocabularies of text models, become arrays that are looked up where they are.
//!
//! Nothing holds a big array in memory: some rows of each decide, then the arrays are streamed. Only if a later row does not
//! fit the types that were chosen, all are looked at, and streamed anew.
#![forbid(unsafe_code)]

mod chunks;
mod columns;
mod layout;
mod quotients;
pub(crate) mod restore;
mod rewrite;
mod scan;
mod store;
mod terms;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::HashMap;
use std::io;

use crate::format::ArrayId;
use crate::model::array::{ArraySink, ArraySource};
use crate::model::graph::Graph;
use crate::model::pack::layout::Layout;
use crate::model::plan::Plan;

pub(crate) use self::walk::{Walk, walk};

/// Arrays could not be brought from the source to the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The source.
    #[error("cannot read array `{}`", array.escape_debug())]
    Read {
        /// Where it is in the object.
        array: String,
        /// What the system says.
        source: io::Error,
    },
    /// The source, which was another one a moment ago.
    #[error(
        "array `{}` has changed while it was written; see that nothing fits or edits the model meanwhile",
        array.escape_debug()
    )]
    Changed {
        /// Where it is in the object.
        array: String,
    },
    /// The file being written.
    #[error("cannot write array `{}`", array.escape_debug())]
    Write {
        /// Its name.
        array: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Stores the arrays of `graph` in `sink`; gives the graph back with its arrays as they are there.
///
/// `walk` is that over `graph`. `stored` are arrays of the source that `sink` already has. Nodes that the root does not lead to are dropped,
/// equal constants become one node, and nodes are numbered as a walk from the root meets them; the members of `plan`
/// follow.
///
/// # Errors
///
/// [`PackError`] if arrays cannot be read or written.
pub(crate) fn pack(
    graph: Graph,
    walk: &Walk,
    arrays: &dyn ArraySource,
    stored: &HashMap<ArrayId, ArrayId>,
    plan: &mut Plan,
    sink: &mut dyn ArraySink,
) -> Result<Graph, PackError> {
    let (mut layout, mut names) = Layout::new(walk, arrays, stored);
    scan::guess(&mut layout, arrays)?;
    let ids = store::store(&mut layout, &mut names, arrays, sink)?;
    let terms = terms::store(walk, &mut names, arrays, sink)?;
    plan.renumber(|node| walk.number.get(node as usize).copied().unwrap_or_default());
    Ok(rewrite::rewrite(graph, walk, &layout, &ids, terms))
}
