//! Foreign bytes to a graph. Executes nothing.
#![forbid(unsafe_code)]

pub(crate) mod source;
