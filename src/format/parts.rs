//! Graph, plan and metadata of an archive: the length of each, then one zstd frame, or its bytes as they are.
#![forbid(unsafe_code)]

use crate::format::codec::stream::Decoder;
use crate::format::codec::zstd::Encoder;
use crate::format::error::FormatError;
use crate::format::header::{Part, Prologue};
use crate::format::writer::Parts;
use crate::format::{MAX_METADATA, MAX_PLAN};

/// Bytes of the length.
const HEAD: usize = 8;
/// A part may be this many times larger than what is stored of it, ...
const MAX_RATIO: u64 = 256;
/// ... and any part this large.
const SMALL: u64 = 1 << 20;

/// Parts that were packed, as they are.
#[derive(Debug)]
pub(crate) struct Unpacked {
    graph: Vec<u8>,
    plan: Vec<u8>,
    metadata: Vec<u8>,
}

impl Unpacked {
    /// The parts of `file`, whose prologue has been checked; `None` if they are not packed.
    pub(crate) fn read(file: &[u8], prologue: &Prologue) -> Result<Option<Self>, FormatError> {
        if !prologue.has_packed_parts() {
            return Ok(None);
        }
        let mut decoder = Decoder::default();
        let mut unpack = |name, part, limit| unpack(file, name, part, limit, &mut decoder);
        Ok(Some(Unpacked {
            graph: unpack("graph", prologue.graph, u64::MAX)?,
            plan: unpack("plan", prologue.plan, MAX_PLAN)?,
            metadata: unpack("metadata", prologue.metadata, MAX_METADATA)?,
        }))
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts { graph: &self.graph, plan: &self.plan, metadata: &self.metadata }
    }
}

/// The most that a part may decode to of which `stored` bytes are in the file.
fn most(stored: usize, limit: u64) -> u64 {
    (stored as u64).saturating_mul(MAX_RATIO).max(SMALL).min(limit)
}

fn unpack(
    file: &[u8],
    name: &'static str,
    part: Part,
    limit: u64,
    decoder: &mut Decoder,
) -> Result<Vec<u8>, FormatError> {
    let bytes = part.of(file).unwrap_or_default();
    let wrong = |reason| FormatError::Part { part: name, start: part.start, reason };
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let (head, stored) = bytes.split_first_chunk::<HEAD>().ok_or_else(|| wrong("no length".to_owned()))?;
    let len = u64::from_le_bytes(*head);
    let most = most(stored.len(), limit);
    if len == stored.len() as u64 && len <= limit {
        return Ok(stored.to_vec());
    }
    if len > most {
        let reason = format!("{} bytes say that they are {len}, expected at most {most}", stored.len());
        return Err(wrong(reason));
    }
    // Not more than the limits above.
    let mut decoded = vec![0; len as usize];
    decoder.frame(stored, &mut decoded).map_err(wrong)?;
    Ok(decoded)
}

/// The packed form of a part.
pub(crate) fn pack(part: &[u8], level: i32) -> Vec<u8> {
    if part.is_empty() {
        return Vec::new();
    }
    let mut encoder = Encoder::new(level);
    let frame = encoder.encode(part).ok().flatten();
    let frame = frame.filter(|frame| part.len() as u64 <= most(frame.len(), u64::MAX));
    let head = (part.len() as u64).to_le_bytes();
    [&head, frame.unwrap_or(part)].concat()
}
