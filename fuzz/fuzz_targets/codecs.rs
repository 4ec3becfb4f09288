//! Bytes as blocks of an archive, decoded; and as arrays, archived and restored. Nothing may panic or be lost.
//!
//! Files are synced: with `TMPDIR` in memory it runs twenty times as fast.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/codecs.rs"]
mod codecs;

fuzz_target!(|data: &[u8]| codecs::run(data));
