//! Files on disk: published whole or not at all.
#![forbid(unsafe_code)]

pub(crate) mod fs;
