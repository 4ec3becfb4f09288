//! What a foreign file is, by its first bytes; and decompression to a temporary file, within a budget.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use crate::convert::error::ConvertError;
use crate::convert::lightgbm;
use crate::convert::limits::Limits;
use crate::convert::pickle::Opcode;
use crate::convert::source::ReadAt;
use crate::convert::xgboost;
use crate::format::{OnProgress, Progress};

/// More than any preset of `xz` asks for (`-9` takes 65 MiB).
const XZ_MEMORY: u64 = 128 << 20;
/// Length of `0x10000000000000000`, to which joblib 0.9 padded the length after `ZF`.
const OLD_LENGTH: usize = 19;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Pickle,
    Npy,
    Zlib,
    Gzip,
    Bz2,
    Xz,
    Lzma,
    Lz4,
    /// joblib 0.9 and older: `ZF`, a length, zlib.
    OldZlib,
    /// A text of LightGBM.
    LightGbm,
    /// A model file of XGBoost, in the format of that name.
    XgBoost(&'static str),
}

impl Container {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Container::Pickle => "pickle",
            Container::Npy => "npy",
            Container::Zlib => "zlib",
            Container::Gzip => "gzip",
            Container::Bz2 => "bz2",
            Container::Xz => "xz",
            Container::Lzma => "lzma",
            Container::Lz4 => "lz4",
            Container::OldZlib => "joblib 0.9 zlib",
            Container::LightGbm => "LightGBM text",
            Container::XgBoost(name) => name,
        }
    }

    /// Whether it is read as it is, without decompression.
    pub(crate) fn is_plain(self) -> bool {
        matches!(self, Container::Pickle | Container::Npy | Container::LightGbm | Container::XgBoost(_))
    }

    pub(crate) fn sniff(source: &dyn ReadAt) -> Result<Self, ConvertError> {
        let mut head = [0; 8];
        let count = source.len_bytes().min(8) as usize;
        let head = &mut head[..count];
        source.read_exact_at(0, head).map_err(|source| ConvertError::Read { offset: 0, source })?;
        let head = &*head;
        let read = |source| ConvertError::Read { offset: 0, source };
        if let Some(name) = xgboost::sniff(source).map_err(read)? {
            return Ok(Container::XgBoost(name));
        }
        match head {
            [] => Err(ConvertError::Empty),
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Ok(Container::Npy),
            [0x1f, 0x8b, ..] => Ok(Container::Gzip),
            [b'B', b'Z', b'h', ..] => Ok(Container::Bz2),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Ok(Container::Xz),
            [0x5d, 0, ..] => Ok(Container::Lzma),
            [4, 0x22, 0x4d, 0x18, ..] => Ok(Container::Lz4),
            _ if lightgbm::is_start(head) => Ok(Container::LightGbm),
            [b'Z', b'F', ..] => Ok(Container::OldZlib),
            [0x78, ..] => Ok(Container::Zlib),
            [b'P', b'K', 3, 4, ..] => {
                Err(ConvertError::UnknownContainer { found: hex(head), hint: hint(head) })
            }
            [byte, ..] if Opcode::from_byte(*byte).is_some() => Ok(Container::Pickle),
            _ => Err(ConvertError::UnknownContainer { found: hex(head), hint: hint(head) }),
        }
    }
}

fn hex(head: &[u8]) -> String {
    head.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn hint(head: &[u8]) -> &'static str {
    match head {
        [b'P', b'K', 3, 4, ..] => {
            " but a zip archive (.npz and .skops are zip archives); save with joblib.dump instead"
        }
        [0x89, b'H', b'D', b'F', ..] => " but an HDF5 file; save with joblib.dump instead",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => " but zstd data; decompress it first",
        [b'{' | b'[' | b'<', ..] => " but text; save with joblib.dump instead",
        _ => "; save with joblib.dump or pickle.dump",
    }
}

/// Decompresses `source` into a temporary file of at most `limits.decoded_bytes` bytes.
pub(crate) fn decompress(
    source: &dyn ReadAt,
    container: Container,
    limits: &Limits,
    spool: &mut dyn FnMut() -> io::Result<File>,
    progress: OnProgress<'_>,
) -> Result<File, ConvertError> {
    let file = spool().map_err(|source| ConvertError::Spool { source })?;
    let mut copy = Copy { container: container.name(), limit: limits.decoded_bytes, done: 0, file };
    let total = source.len_bytes();
    let mut input = BufReader::with_capacity(1 << 16, Stream { source, offset: 0, total, progress });
    match container {
        Container::Gzip => copy.run(flate2::bufread::MultiGzDecoder::new(&mut input))?,
        Container::Bz2 => copy.run(bzip2::bufread::MultiBzDecoder::new(&mut input))?,
        Container::Lz4 => {
            copy.run(lz4_flex::frame::FrameDecoder::new(&mut input))?;
            if !ends_lz4_frame(source).map_err(|error| copy.failed(error))? {
                return Err(copy.failed(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Container::Xz => copy.run(liblzma::bufread::XzDecoder::new_stream(
            &mut input,
            liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
                .map_err(|error| copy.failed(error.into()))?,
        ))?,
        Container::Lzma => copy.run(liblzma::bufread::XzDecoder::new_stream(
            &mut input,
            liblzma::stream::Stream::new_lzma_decoder(XZ_MEMORY)
                .map_err(|error| copy.failed(error.into()))?,
        ))?,
        Container::OldZlib => {
            let length = old_length(&mut input).map_err(|error| copy.failed(error))?;
            copy.run(flate2::bufread::ZlibDecoder::new(&mut input))?;
            if copy.done != length {
                return Err(copy.failed(io::Error::other(format!("its header promises {length} bytes"))));
            }
        }
        Container::Zlib
        | Container::Pickle
        | Container::Npy
        | Container::LightGbm
        | Container::XgBoost(_) => {
            copy.run(flate2::bufread::ZlibDecoder::new(&mut input))?;
        }
    }
    let count = input.buffer().len() as u64 + total.saturating_sub(input.get_ref().offset);
    match count {
        0 => Ok(copy.file),
        _ => Err(ConvertError::TrailingBytes { offset: total - count, count }),
    }
}

/// Whether the frame's end mark is there, which the decoder does not insist on.
fn ends_lz4_frame(source: &dyn ReadAt) -> io::Result<bool> {
    let mut flags = [0];
    source.read_exact_at(4, &mut flags)?;
    let has_checksum = flags[0] & 0b100 != 0;
    let mut mark = [0; 4];
    let from_end = if has_checksum { 8 } else { 4 };
    source.read_exact_at(source.len_bytes().saturating_sub(from_end), &mut mark)?;
    Ok(mark == [0; 4])
}

/// `0x` and hexadecimal digits, padded with spaces; one more space from Python 2.
fn old_length(input: &mut impl BufRead) -> io::Result<u64> {
    let mut head = [0; 2 + OLD_LENGTH];
    input.read_exact(&mut head)?;
    if input.fill_buf()?.first() == Some(&b' ') {
        input.consume(1);
    }
    let text = std::str::from_utf8(&head[2..]).ok().and_then(|text| text.trim_end().strip_prefix("0x"));
    let digits = text.map(|text| text.trim_end_matches('L'));
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| io::Error::other("its header holds no length"))
}

struct Copy {
    container: &'static str,
    limit: u64,
    done: u64,
    file: File,
}

impl Copy {
    fn failed(&self, source: io::Error) -> ConvertError {
        ConvertError::Decompress { container: self.container, decoded: self.done, source }
    }

    fn run(&mut self, mut decoder: impl Read) -> Result<(), ConvertError> {
        let mut buf = vec![0; 1 << 18];
        loop {
            let count = match decoder.read(&mut buf) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error)),
            };
            self.done += count as u64;
            if self.done > self.limit {
                return Err(ConvertError::Bomb { container: self.container, limit: self.limit });
            }
            self.file.write_all(&buf[..count]).map_err(|source| ConvertError::Spool { source })?;
        }
    }
}

/// A source read from its start.
struct Stream<'a> {
    source: &'a dyn ReadAt,
    offset: u64,
    total: u64,
    progress: OnProgress<'a>,
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = (self.total.saturating_sub(self.offset)).min(buf.len() as u64) as usize;
        self.source.read_exact_at(self.offset, &mut buf[..count])?;
        self.offset += count as u64;
        (self.progress)(Progress { what: "decompressing", done_bytes: self.offset, total_bytes: self.total });
        Ok(count)
    }
}
