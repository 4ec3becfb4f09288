//! Runs a plan; borrows its arrays, copies nothing.
#![forbid(unsafe_code)]
