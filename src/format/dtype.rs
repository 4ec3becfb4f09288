//! Element types of arrays, as NumPy names them.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

/// The type of one array element: a plain type or a record of named fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// One value.
    Plain(Plain),
    /// Named fields at fixed offsets (a NumPy structured dtype).
    Record(Arc<Record>),
}

/// A plain element type. `itemsize` is in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plain {
    /// What the bits mean.
    pub kind: Kind,
    /// Bytes of one element. For [`Kind::Str`] four times the number of characters.
    pub itemsize: u32,
    /// `true` for NumPy's `>` types: the bytes of each value are stored most significant first.
    pub big_endian: bool,
}

/// What the bits of a plain element mean; the letters are NumPy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `?`
    Bool,
    /// `i`
    Int,
    /// `u`
    Uint,
    /// `f`: IEEE 754 of 2, 4 or 8 bytes.
    Float,
    /// `c`: two floats of half the item size.
    Complex,
    /// `S`: bytes padded with NUL.
    Bytes,
    /// `U`: UCS-4 characters padded with NUL.
    Str,
    /// `V`: bytes without meaning.
    Void,
    /// `M`: counts of a unit since 1970.
    DateTime(TimeUnit),
    /// `m`: counts of a unit.
    TimeDelta(TimeUnit),
}

/// The unit of `datetime64` and `timedelta64`: `count` times `base`, as in `M8[25s]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeUnit {
    /// NumPy's order: Y M W D h m s ms us ns ps fs as, then generic.
    pub base: u8,
    /// How many base units one tick is.
    pub count: u32,
}

/// A record dtype: its fields in declaration order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Fields in declaration order. They may leave holes, but do not overlap.
    pub fields: Vec<Field>,
    /// Bytes from one record to the next.
    pub itemsize: u32,
    /// NumPy's `align=True`.
    pub aligned: bool,
}

/// One field of a record dtype.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Unique within the record.
    pub name: String,
    /// Type of one element. Records do not nest.
    pub dtype: Plain,
    /// Shape of a sub-array field; empty for one value.
    pub shape: Vec<u32>,
    /// Bytes from the start of the record.
    pub offset: u32,
}

impl Plain {
    /// A little-endian type of `itemsize` bytes.
    pub const fn new(kind: Kind, itemsize: u32) -> Self {
        Plain { kind, itemsize, big_endian: false }
    }
}

impl Dtype {
    /// Bytes from one element to the next.
    pub fn itemsize(&self) -> u32 {
        match self {
            Dtype::Plain(plain) => plain.itemsize,
            Dtype::Record(record) => record.itemsize,
        }
    }
}

macro_rules! plain_dtypes {
    ($($name:ident = $kind:ident $size:literal),* $(,)?) => {
        impl Dtype {
            $(#[doc = concat!("NumPy `", stringify!($name), "`, little-endian.")]
            pub const $name: Dtype = Dtype::Plain(Plain::new(Kind::$kind, $size));)*
        }
    };
}

plain_dtypes! {
    BOOL = Bool 1, I8 = Int 1, I16 = Int 2, I32 = Int 4, I64 = Int 8, U8 = Uint 1, U16 = Uint 2, U32 = Uint 4,
    U64 = Uint 8, F16 = Float 2, F32 = Float 4, F64 = Float 8, C64 = Complex 8, C128 = Complex 16,
}

/// A Rust type that array bytes can be viewed as.
pub trait Element: bytemuck::Pod {
    /// The dtype whose bytes are this type.
    fn dtype() -> Dtype;
}

macro_rules! elements {
    ($($rust:ty => $name:ident),* $(,)?) => {
        $(impl Element for $rust {
            fn dtype() -> Dtype {
                Dtype::$name
            }
        })*
    };
}

elements! { i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16, u32 => U32, u64 => U64, f32 => F32, f64 => F64 }

impl fmt::Display for Dtype {
    /// NumPy's spelling: `<f8`, `|b1`, `<U5`, `<M8[ns]`, or the list of fields of a record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
