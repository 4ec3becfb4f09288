//! Bytes as a pickle, a joblib file or an `.npy` array; nothing may panic.
//!
//! Start from real models: `mkdir -p corpus/pickle_reader && cargo +nightly fuzz run pickle_reader corpus/pickle_reader
//! ../tests/convert/seeds ../tests/hostile/pickle -- -max_len=65536`, in this folder.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/pickle_reader.rs"]
mod pickle_reader;

fuzz_target!(|data: &[u8]| pickle_reader::read_all(data));
