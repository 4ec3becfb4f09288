//! Whole-file operations by path: convert, dump, archive, restore, verify, sign, inspect.
#![forbid(unsafe_code)]

pub(crate) mod convert;
mod describe;
pub(crate) mod dump;
pub(crate) mod hot;
pub(crate) mod inspect;
mod model_file;
mod packing;
pub(crate) mod rewrite;
pub(crate) mod sign;
pub(crate) mod user;
pub(crate) mod verify;
pub(crate) mod versions;
