//! Blocks as zstd frames.
#![forbid(unsafe_code)]

use std::io;

use zstd::zstd_safe::compress_bound;

/// Compresses blocks, each by itself, in memory that it keeps.
pub(crate) struct Encoder {
    compressor: io::Result<zstd::bulk::Compressor<'static>>,
    frame: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(level: i32) -> Self {
        Encoder { compressor: zstd::bulk::Compressor::new(level), frame: Vec::new() }
    }

    /// Compresses one block; `None` if that does not make it smaller.
    pub(crate) fn encode(&mut self, block: &[u8]) -> io::Result<Option<&[u8]>> {
        let compressor = self.compressor.as_mut().map_err(|error| io::Error::from(error.kind()))?;
        self.frame.clear();
        self.frame.reserve(compress_bound(block.len()));
        compressor.compress_to_buffer(block, &mut self.frame)?;
        Ok(Some(&self.frame[..]).filter(|frame| frame.len() < block.len()))
    }
}
