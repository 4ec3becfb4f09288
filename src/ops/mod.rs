//! Whole-file operations by path: convert, archive, restore, verify, inspect.
#![forbid(unsafe_code)]
