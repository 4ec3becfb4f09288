//! What the bytes mean: arrays, the graph of the saved object, the plan of the engine.
#![forbid(unsafe_code)]

pub(crate) mod array;
pub(crate) mod graph;
pub(crate) mod lower;
pub(crate) mod plan;
