//! The bytes of one file, shared and read-only.
#![allow(unsafe_code)]
