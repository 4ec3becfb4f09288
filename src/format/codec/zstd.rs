//! Blocks as zstd frames.
#![forbid(unsafe_code)]

use std::io;

use zstd::zstd_safe::{CParameter, ParamSwitch, compress_bound};

/// Of [`Encoder::fast`]: the table of places where matches may begin has 2 to this many entries, which a core's first cache holds.
const FAST_HASH_LOG: u32 = 13;
/// Of [`Encoder::fast`]: bytes from one place where a match is looked for to the next.
const FAST_STEP: u32 = 16;

/// Compresses blocks, each by itself, in memory that it keeps.
pub(crate) struct Encoder {
    compressor: io::Result<zstd::bulk::Compressor<'static>>,
    frame: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(level: i32) -> Self {
        Encoder { compressor: zstd::bulk::Compressor::new(level), frame: Vec::new() }
    }

    /// Looks for fewer matches than level 1 does, but packs what does not match as closely.
    ///
    /// Filtered blocks are mostly bytes that match nothing: finding that out sooner is worth more than a few short matches, which
    /// also take longer to undo than the bytes themselves.
    pub(crate) fn fast() -> Self {
        let compressor = zstd::bulk::Compressor::new(1).and_then(|mut compressor| {
            compressor.set_parameter(CParameter::HashLog(FAST_HASH_LOG))?;
            compressor.set_parameter(CParameter::TargetLength(FAST_STEP))?;
            // Else zstd would store what does not match as it is.
            compressor.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
            Ok(compressor)
        });
        Encoder { compressor, frame: Vec::new() }
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
