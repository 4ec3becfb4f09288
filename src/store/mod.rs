//! Files on disk: published whole or not at all.
#![forbid(unsafe_code)]

pub(crate) mod ahead;
pub(crate) mod cache;
pub(crate) mod fs;
pub(crate) mod units;
