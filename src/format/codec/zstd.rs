//! Blocks as zstd frames.
#![forbid(unsafe_code)]

use std::io;

/// Compresses blocks, each by itself.
pub(crate) struct Encoder(io::Result<zstd::bulk::Compressor<'static>>);

impl Encoder {
    pub(crate) fn new(level: i32) -> Self {
        Encoder(zstd::bulk::Compressor::new(level))
    }

    /// Compresses one block; `None` if that does not make it smaller.
    pub(crate) fn encode(&mut self, block: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let compressor = self.0.as_mut().map_err(|error| io::Error::from(error.kind()))?;
        let frame = compressor.compress(block)?;
        Ok((frame.len() < block.len()).then_some(frame))
    }
}
