//! Why foreign bytes cannot be converted.
#![forbid(unsafe_code)]

use std::io;

/// Why a foreign file cannot be converted. Offsets count from the start of the file, or of its decompressed bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The source could not be read.
    #[error("cannot read the source at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },

    /// The space for decompressed bytes could not be made or written.
    #[error("cannot store decompressed bytes in a temporary file; is the disk full?")]
    Spool {
        /// Why.
        source: io::Error,
    },

    /// An opcode of a pickle asks for what is not possible or not allowed.
    #[error("pickle opcode {opcode} at byte {offset}: {problem}")]
    Pickle {
        /// Where the opcode is.
        offset: u64,
        /// Its name in Python's `pickletools`.
        opcode: &'static str,
        /// What is wrong.
        problem: Problem,
    },

    /// A byte where an opcode is expected is none.
    #[error("byte {offset} is {byte:#04x}, which is no pickle opcode; the file is damaged or no pickle")]
    UnknownOpcode {
        /// Where.
        offset: u64,
        /// The byte.
        byte: u8,
    },

    /// The pickle as a whole is wrong.
    #[error("the pickle was read to its end, but {problem}")]
    Finish {
        /// What is wrong.
        problem: Problem,
    },

    /// Bytes follow the end of the object.
    #[error("the object ends at byte {offset}, but {count} more bytes follow; save one object per file")]
    TrailingBytes {
        /// First byte after the object.
        offset: u64,
        /// How many bytes follow.
        count: u64,
    },

    /// Buffers that no opcode asks for.
    #[error("the pickle uses {used} buffers, but {given} were given; it was made with others")]
    UnusedBuffers {
        /// How many it asks for.
        used: usize,
        /// How many there are.
        given: usize,
    },

    /// Nothing in the file.
    #[error("the file is empty; expected a pickle, a joblib file or an .npy array")]
    Empty,

    /// The first bytes belong to no known container.
    #[error("the file starts with {found}, which is no pickle, joblib or .npy file{hint}")]
    UnknownContainer {
        /// The first bytes in hexadecimal.
        found: String,
        /// What it may be, and what to do.
        hint: &'static str,
    },

    /// Compressed bytes are damaged or cut short.
    #[error(
        "the {container} data is damaged or cut short after {decoded} decompressed bytes; copy or save it again"
    )]
    Decompress {
        /// Which compressor.
        container: &'static str,
        /// How much came out before.
        decoded: u64,
        /// What the decompressor says.
        source: io::Error,
    },

    /// Decompression gives more than is allowed.
    #[error(
        "the {container} data decompresses to more than {limit} bytes (`Limits::decoded_bytes`); raise the limit if you trust the file"
    )]
    Bomb {
        /// Which compressor.
        container: &'static str,
        /// The limit.
        limit: u64,
    },

    /// Compressed data within compressed data.
    #[error("the {outer} data holds {inner} data; decompress it once first")]
    NestedCompression {
        /// The outer container.
        outer: &'static str,
        /// The inner container.
        inner: &'static str,
    },

    /// A model file of LightGBM that cannot be a text.
    #[error("the LightGBM text cannot be read: {problem}")]
    LightGbm {
        /// What is wrong.
        problem: TextProblem,
    },

    /// An `.npy` file with a header that is not as NumPy writes it.
    #[error("the .npy header is wrong at byte {offset}: {problem}")]
    Npy {
        /// Where.
        offset: u64,
        /// What is wrong.
        problem: NpyProblem,
    },
}

/// What is wrong with a pickle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file ends too early.
    #[error("needs {need} bytes but only {have} follow; the file was cut short: save it again")]
    Ends {
        /// Bytes asked for.
        need: u64,
        /// Bytes left.
        have: u64,
    },
    /// A line of a text opcode does not end.
    #[error("its line has no end; the file was cut short or is no pickle: save it again")]
    NoLineEnd,
    /// A limit is reached.
    #[error(
        "needs {asked}, more than the limit `Limits::{name}` of {limit}; raise the limit if you trust the file"
    )]
    Limit {
        /// The field of [`crate::convert::Limits`].
        name: &'static str,
        /// Its value.
        limit: u64,
        /// What was asked for.
        asked: u64,
    },
    /// A pop from an empty stack, or through a mark.
    #[error("the stack is empty here; the file is damaged or no pickle")]
    StackUnderflow,
    /// No mark to go back to.
    #[error("no MARK opened before; the file is damaged or no pickle")]
    NoMark,
    /// Values that nobody uses.
    #[error("{count} values are left over below the object; the pickle is damaged or joined from several")]
    StackLeft {
        /// How many.
        count: usize,
    },
    /// A reference to what was never remembered.
    #[error("memo entry {index} was never set; the file is damaged or no pickle")]
    NoMemo {
        /// Its number.
        index: u64,
    },
    /// An operand of another type than the opcode works on.
    #[error("expected {expected}, found {found}")]
    Operand {
        /// What it works on.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// An opcode that needs what is outside the file.
    #[error("{why}; this is refused")]
    Refused {
        /// What it needs.
        why: &'static str,
    },
    /// More buffers asked for than there are.
    #[error("asks for one buffer more than the {given} that were given; the pickle was made with others")]
    NoBuffer {
        /// How many there are.
        given: usize,
    },
    /// Values that stand in no order that `copyreg` defines.
    #[error("{what} after {after} on one object is refused: objects take items, then pairs, then one state")]
    ObjectOrder {
        /// What comes too late.
        what: &'static str,
        /// What came before.
        after: &'static str,
    },
    /// A call is made and its result thrown away.
    #[error("would drop the result of `{callable}`; a call made only for its effect cannot be kept")]
    DroppedCall {
        /// What is called.
        callable: String,
    },
    /// A version from the future, or none.
    #[error("protocol {found} is not known; expected 0 to 5")]
    Protocol {
        /// The version found.
        found: u8,
    },
    /// A PROTO that is not the first opcode.
    #[error("PROTO is only allowed as the first opcode")]
    LateProto,
    /// A frame within a frame or past the end.
    #[error("a frame of {len} bytes {why}")]
    Frame {
        /// Its length.
        len: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A negative length or count.
    #[error("length {found} is negative")]
    NegativeLength {
        /// The length.
        found: i64,
    },
    /// Text that is not what the opcode takes.
    #[error("`{found}` is not {expected}")]
    Text {
        /// What is there, shortened.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A decimal int with too many digits.
    #[error("an int of {digits} decimal digits; the limit is 4300, as in Python")]
    LongInt {
        /// How many digits.
        digits: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("its text is not UTF-8 at byte {at} of the text")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// A `str` that UTF-8 cannot express.
    #[error(
        "its text holds a lone surrogate at byte {at} of the text, which is no character; replace it in Python and save again"
    )]
    Surrogate {
        /// Where.
        at: usize,
    },
    /// A key that Python cannot hash.
    #[error("a {found} is used as {role}, but is not hashable")]
    Unhashable {
        /// Its type.
        found: &'static str,
        /// Where it is used.
        role: &'static str,
    },
    /// Arrays in files of their own.
    #[error(
        "the array lies in another file, `{file}` (joblib 0.9 or older); other files are never followed: load it with an old joblib and save it with joblib 0.10 or newer"
    )]
    CompanionFile {
        /// The file's name as it is in the pickle.
        file: String,
    },
    /// A joblib array wrapper that is not as joblib writes it.
    #[error("joblib array: {what} is {found}, expected {expected}")]
    Wrapper {
        /// Which part.
        what: &'static str,
        /// What is there.
        found: String,
        /// What is expected.
        expected: &'static str,
    },
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextProblem {
    /// It is too long.
    #[error(transparent)]
    Limit {
        /// The limit.
        problem: Problem,
    },
    /// Bytes that are not UTF-8.
    #[error("it is not UTF-8 at byte {at}; save it again")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
}

/// What is wrong with an `.npy` header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NpyProblem {
    /// The file ends within the header or the data.
    #[error("needs {need} bytes but only {have} follow; the file was cut short: save it again")]
    Ends {
        /// Bytes asked for.
        need: u64,
        /// Bytes there.
        have: u64,
    },
    /// More bytes than the array has.
    #[error("{count} bytes follow the array; expected none")]
    Trailing {
        /// How many.
        count: u64,
    },
    /// Another version than 1.0, 2.0 or 3.0.
    #[error("version {major}.{minor} is not known; expected 1.0, 2.0 or 3.0")]
    Version {
        /// Major number.
        major: u8,
        /// Minor number.
        minor: u8,
    },
    /// A header of more than 64 KiB.
    #[error("a header of {len} bytes; at most 65536 are read")]
    TooLong {
        /// Its length.
        len: u64,
    },
    /// Not the one dictionary that NumPy writes.
    #[error("expected {expected}, found `{found}`")]
    Syntax {
        /// What should be there.
        expected: &'static str,
        /// What is there, shortened.
        found: String,
    },
    /// A key twice, missing or unknown.
    #[error("key `{key}` is {what}; expected `descr`, `fortran_order` and `shape` once each")]
    Key {
        /// The key.
        key: String,
        /// `missing`, `unknown` or `there twice`.
        what: &'static str,
    },
    /// A type that is not numeric.
    #[error("dtype {found} cannot be read; save numbers, strings or records of them")]
    Dtype {
        /// The type as it is written.
        found: String,
    },
    /// More bytes than can exist.
    #[error("the shape asks for more than 2^63 bytes or more than 64 dimensions")]
    Shape,
}

/// An error inside an opcode, before its place is known.
#[derive(Debug)]
pub(crate) enum Fault {
    Read(io::Error),
    Spool(io::Error),
    Problem(Problem),
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Fault::Problem(problem)
    }
}
