//! Whole-file operations by path: convert, archive, restore, verify, inspect.
#![forbid(unsafe_code)]

pub(crate) mod convert;
mod describe;
pub(crate) mod inspect;
pub(crate) mod rewrite;
pub(crate) mod user;
pub(crate) mod verify;
