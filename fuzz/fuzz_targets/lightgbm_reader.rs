//! Bytes as a text of LightGBM; what converts must predict, and nothing may panic.
//!
//! Start from real models: `mkdir -p corpus/lightgbm_reader && cargo +nightly fuzz run lightgbm_reader corpus/lightgbm_reader
//! regressions/lightgbm_reader -- -max_len=16384`, in this folder.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/lightgbm_reader.rs"]
mod lightgbm_reader;

fuzz_target!(|data: &[u8]| lightgbm_reader::convert_and_predict(data));
