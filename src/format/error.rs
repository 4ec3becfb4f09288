//! Why bytes are not a model file.
#![forbid(unsafe_code)]

use crate::format::dtype::DtypeError;

/// Why bytes are not a model file. Offsets count from the start of the file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes are something else.
    #[error("not a onecopy file: it starts with {found}, expected the bytes 89 4f 4e 43 0d 0a 1a 0a; {hint}")]
    NotAModel {
        /// The first bytes in hexadecimal.
        found: String,
        /// What it may be instead.
        hint: &'static str,
    },

    /// The file ends within the prologue.
    #[error(
        "the file has {len} bytes and its prologue alone takes 128; it was cut short: copy or convert it again"
    )]
    ShortPrologue {
        /// Bytes there are.
        len: u64,
    },

    /// Another major version.
    #[error("file has format version {found}.{minor}, this build reads version {supported}; upgrade onecopy")]
    Version {
        /// Major version of the file.
        found: u16,
        /// Minor version of the file.
        minor: u16,
        /// The major version this build reads.
        supported: u16,
    },

    /// Written with features that this build lacks.
    #[error(
        "file has format version {major}.{minor} with {word} features {unknown:#x} that this build does not \
         know; upgrade onecopy to one that reads format {major}.{minor}"
    )]
    UnknownFeatures {
        /// Which word of flags.
        word: &'static str,
        /// The bits not known.
        unknown: u32,
        /// Major version of the file.
        major: u16,
        /// Minor version of the file.
        minor: u16,
    },

    /// The file is not as long as it was when it was written.
    #[error(
        "the file has {found} bytes but was written with {expected}; it was cut short or appended to: copy or \
         convert it again"
    )]
    Length {
        /// Length according to the prologue.
        expected: u64,
        /// Length of the file.
        found: u64,
    },

    /// A number of the prologue is out of its range.
    #[error("prologue: {field} at byte {at} is {found}, expected {expected}")]
    Prologue {
        /// Which number.
        field: &'static str,
        /// Where it stands.
        at: u64,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: u64,
    },

    /// A part reaches past the last byte.
    #[error("the {part} covers bytes {start}..{end} but the file has {len}")]
    PartPastEnd {
        /// Which part.
        part: &'static str,
        /// Its first byte.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// Bytes there are.
        len: u64,
    },

    /// Bytes after the last part.
    #[error("the metadata end at byte {end} but the file has {len}: nothing may follow them")]
    TrailingBytes {
        /// Where the metadata end.
        end: u64,
        /// Bytes there are.
        len: u64,
    },

    /// The checksum of a part does not match.
    #[error(
        "the {part} (bytes {start}..{end}) is damaged: CRC32 is {found:08x}, expected {expected:08x}; copy or \
         convert the file again"
    )]
    Checksum {
        /// Which part.
        part: &'static str,
        /// Its first byte.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// According to the file.
        expected: u32,
        /// Of its bytes.
        found: u32,
    },

    /// A byte between two parts is not zero.
    #[error("byte {at} belongs to no part and must be 0, found {found:#04x}")]
    Padding {
        /// Which byte.
        at: u64,
        /// What it is.
        found: u8,
    },

    /// The pools of the index do not fill it exactly.
    #[error("the index has {found} bytes but its counts call for {}", size(*expected))]
    IndexLength {
        /// According to the counts; `None` if they overflow.
        expected: Option<u64>,
        /// Length of the index.
        found: u64,
    },

    /// A reserved byte of the index is in use.
    #[error("{place} has a reserved byte that is not 0; it was written by a newer onecopy: upgrade")]
    Reserved {
        /// Which entry.
        place: String,
    },

    /// An entry takes another place in a pool than the one after its predecessor.
    #[error("array {array}: its {pool} start at {found} of the pool, expected {expected}")]
    PoolPosition {
        /// Position in the table.
        array: u32,
        /// Which pool.
        pool: &'static str,
        /// Where the entry before ended.
        expected: u64,
        /// Where this one starts.
        found: u64,
    },

    /// An entry takes more of a pool than there is, or the entries take less.
    #[error("the entries use {used} {pool}, the index has {len}")]
    PoolLength {
        /// Which pool.
        pool: &'static str,
        /// What the entries add up to.
        used: u64,
        /// What there is.
        len: u64,
    },

    /// A name is not text, or of a forbidden length.
    #[error("array {array}: {what} is not UTF-8 of {limits} bytes")]
    Name {
        /// Position in the table.
        array: u32,
        /// Whose name.
        what: &'static str,
        /// Allowed lengths.
        limits: &'static str,
    },

    /// The list that sorts the names is wrong, or two arrays have one name.
    #[error("name {position} in sorted order, `{name}`, does not follow `{previous}`: names must be unique")]
    NameOrder {
        /// Position in the sorted list.
        position: u32,
        /// The name before, escaped.
        previous: String,
        /// The name there, escaped.
        name: String,
    },

    /// The sorted list of names refers to an array that is not there.
    #[error("position {position} of the sorted names refers to array {array} of {count}")]
    NameIndex {
        /// Position in the sorted list.
        position: u32,
        /// What it refers to.
        array: u32,
        /// Arrays there are.
        count: u32,
    },

    /// A code of an entry that this format does not define.
    #[error("array `{array}`: {field} is {found}, expected {expected}")]
    Code {
        /// Name of the array, escaped.
        array: String,
        /// Which field.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: u64,
    },

    /// The element type is not one.
    #[error("array `{array}`: invalid dtype")]
    Dtype {
        /// Name of the array, escaped.
        array: String,
        /// Why.
        source: DtypeError,
    },

    /// Shape and item size do not give the length.
    #[error(
        "array `{array}`: shape {shape:?} of items of {itemsize} bytes takes {} bytes, the table says {found}",
        size(*expected)
    )]
    ShapeLength {
        /// Name of the array, escaped.
        array: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Bytes of one element.
        itemsize: u32,
        /// Their product; `None` if that overflows.
        expected: Option<u64>,
        /// Decoded length in the table.
        found: u64,
    },

    /// A segment starts where it may not.
    #[error("segment `{array}` starts at byte {start}, which is not a multiple of {align}")]
    SegmentAlignment {
        /// Name of the array, escaped.
        array: String,
        /// Its first byte.
        start: u64,
        /// What it must be a multiple of.
        align: u64,
    },

    /// A segment starts before the one before it has ended.
    #[error("segment `{array}` starts at byte {start} but bytes up to {free} are taken")]
    SegmentOverlap {
        /// Name of the array, escaped.
        array: String,
        /// Its first byte.
        start: u64,
        /// Where the part before ends.
        free: u64,
    },

    /// A segment reaches into the index.
    #[error(
        "segment `{array}` covers bytes {start}..{} but arrays end at byte {limit}, where the index starts", size(*end)
    )]
    SegmentPastEnd {
        /// Name of the array, escaped.
        array: String,
        /// Its first byte.
        start: u64,
        /// The byte after its last; `None` if that overflows.
        end: Option<u64>,
        /// Where the index starts.
        limit: u64,
    },

    /// The blocks of an array are too many or too few.
    #[error("array `{array}` of {raw_len} bytes has {found} blocks, expected {expected}")]
    BlockCount {
        /// Name of the array, escaped.
        array: String,
        /// Decoded bytes.
        raw_len: u64,
        /// One per MiB.
        expected: u64,
        /// In the table.
        found: u64,
    },

    /// A block is stored in more bytes than it decodes to, or in none.
    #[error("array `{array}`: block {block} is stored in {found} bytes, expected {expected}")]
    BlockLength {
        /// Name of the array, escaped.
        array: String,
        /// Which block.
        block: u64,
        /// What it may be.
        expected: String,
        /// In the table.
        found: u32,
    },

    /// A block that is stored as it is has two checksums.
    #[error("array `{array}`: block {block} is stored as it is, but has two different checksums")]
    BlockChecksums {
        /// Name of the array, escaped.
        array: String,
        /// Which block.
        block: u64,
    },

    /// The blocks of an array do not add up to its stored length.
    #[error("array `{array}`: its blocks are stored in {expected} bytes, the table says {found}")]
    StoredLength {
        /// Name of the array, escaped.
        array: String,
        /// Sum over the blocks.
        expected: u64,
        /// In the table.
        found: u64,
    },

    /// The plan or the metadata cannot be read.
    #[error("the {part} at byte {start} cannot be read: {reason}")]
    Part {
        /// Which part.
        part: &'static str,
        /// Its first byte.
        start: u64,
        /// What its reader says.
        reason: String,
    },
}

/// A number of bytes, or more than a file can have.
fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "more than 2^63".to_owned(), |n| n.to_string())
}

impl FormatError {
    /// Names what a file without our magic may be.
    pub(crate) fn not_a_model(file: &[u8]) -> Self {
        let start = &file[..file.len().min(8)];
        let found = if start.is_empty() {
            "nothing (it is empty)".to_owned()
        } else {
            start.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        };
        FormatError::NotAModel { found, hint: hint(start) }
    }
}

fn hint(start: &[u8]) -> &'static str {
    let convert = "use `onecopy convert` first";
    match start {
        [0x80, 0..=5, ..] => "this looks like a pickle or joblib file: use `onecopy convert` first",
        [0x89, b'O', b'N', b'C', ..] => "line ends were changed by a text-mode copy: copy it again as binary",
        [0x1f, 0x8b, ..] | [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] | [b'B', b'Z', b'h', ..] => {
            "this looks like a compressed file: if it is joblib's, use `onecopy convert` first"
        }
        [0xfd, b'7', b'z', b'X', b'Z', ..] | [0x5d, 0, 0, ..] | [0x04, 0x22, 0x4d, 0x18, ..] => {
            "this looks like a compressed file: if it is joblib's, use `onecopy convert` first"
        }
        [b'P', b'K', 3, 4, ..] => "this looks like a zip file, such as skops or npz",
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => "this looks like an npy file",
        [] => "convert a model again",
        _ if start.iter().all(|&byte| byte == 0) => "it holds zeros: writing it was not finished",
        _ => convert,
    }
}
