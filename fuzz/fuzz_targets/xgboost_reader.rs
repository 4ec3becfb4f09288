//! Bytes as what XGBoost saves, JSON or UBJSON; nothing may panic, and what is covered predicts.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/xgboost_reader.rs"]
mod xgboost_reader;

fuzz_target!(|data: &[u8]| xgboost_reader::read_all(data));
