//! Bytes as a model file: opened, verified, decoded, read and checked; nothing may panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/file_reader.rs"]
mod file_reader;

fuzz_target!(|data: &[u8]| file_reader::read_all(data));
