//! Why a graph is refused.
#![forbid(unsafe_code)]

use crate::format::dtype::DtypeError;

/// Why bytes are not a graph, or a graph does not fit its arrays. Offsets count from the start of the graph.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The bytes end too early.
    #[error("the graph ends at byte {offset} in the middle of {what}; copy or convert the file again")]
    Truncated {
        /// Where the bytes end.
        offset: usize,
        /// What was being read.
        what: &'static str,
    },
    /// Bytes after the last node.
    #[error(
        "the last node of the graph ends at byte {offset}, but the graph has {len} bytes; convert the file again"
    )]
    Trailing {
        /// Where the last node ends.
        offset: usize,
        /// Bytes of the graph.
        len: usize,
    },
    /// A first byte that no node has.
    #[error("byte {offset} of the graph is {found}, which starts no node; a newer onecopy may read it")]
    Tag {
        /// Where.
        offset: usize,
        /// The byte.
        found: u8,
    },
    /// A number or text that cannot be.
    #[error(
        "{what} before byte {offset} of the graph is {found}, expected {expected}; convert the file again"
    )]
    Value {
        /// Just after it.
        offset: usize,
        /// What was read.
        what: &'static str,
        /// As read.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A reference to a node that is not there.
    #[error(
        "{what} of node {node} refers {back} nodes back, but the graph has {nodes} nodes; convert the file again"
    )]
    Reference {
        /// Who refers.
        node: u32,
        /// In which role.
        what: &'static str,
        /// How far back; negative is forward.
        back: i64,
        /// Number of nodes.
        nodes: u32,
    },
    /// A node that contradicts itself, its neighbours or its arrays.
    #[error("{what} of node {node} is {found}, expected {expected}; convert the file again")]
    Node {
        /// Which.
        node: u32,
        /// Which part of it.
        what: &'static str,
        /// As it is.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A dtype that NumPy does not have.
    #[error("node {node} has an impossible dtype; convert the file again")]
    Dtype {
        /// Which.
        node: u32,
        /// What is wrong with it.
        source: DtypeError,
    },
}
