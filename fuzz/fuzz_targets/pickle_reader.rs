//! Bytes as a pickle, a joblib file or an `.npy` array; nothing may panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/pickle_reader.rs"]
mod pickle_reader;

fuzz_target!(|data: &[u8]| pickle_reader::read_all(data));
