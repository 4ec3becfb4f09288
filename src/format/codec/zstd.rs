//! Blocks as zstd frames.
#![forbid(unsafe_code)]

use std::io;

/// Compresses one block; `None` if that does not make it smaller.
pub(crate) fn encode_block(block: &[u8], level: i32) -> io::Result<Option<Vec<u8>>> {
    let frame = zstd::bulk::compress(block, level)?;
    Ok((frame.len() < block.len()).then_some(frame))
}

/// Decompresses one block into `decoded`, which it must fill exactly.
pub(crate) fn decode_block(stored: &[u8], decoded: &mut [u8]) -> Result<(), String> {
    if stored.len() == decoded.len() {
        decoded.copy_from_slice(stored);
        return Ok(());
    }
    let expected = decoded.len();
    match zstd::bulk::decompress_to_buffer(stored, decoded) {
        Ok(len) if len == expected => Ok(()),
        Ok(len) => Err(format!("zstd gave {len} bytes, expected {expected}")),
        Err(error) => Err(format!("zstd: {error}")),
    }
}
