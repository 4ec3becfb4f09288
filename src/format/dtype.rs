//! Element types of arrays, as NumPy names them.
#![forbid(unsafe_code)]

use std::collections::HashSet;
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

/// Letters of [`TimeUnit::base`], then the unit without a name.
pub(crate) const TIME_UNITS: [&str; 14] =
    ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic"];

/// Why a dtype is not one that a file can hold.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DtypeError {
    /// No such width.
    #[error("a `{kind}` item cannot have {itemsize} bytes")]
    ItemSize {
        /// NumPy's letter.
        kind: char,
        /// Bytes of one item.
        itemsize: u32,
    },
    /// A letter that is not a kind of element; `O`, Python objects, for example.
    #[error("there is no dtype of kind `{}`", .0.escape_debug())]
    Kind(char),
    /// `>` where items have no byte order.
    #[error("a `{kind}` item of {itemsize} bytes has no byte order")]
    ByteOrder {
        /// NumPy's letter.
        kind: char,
        /// Bytes of one item.
        itemsize: u32,
    },
    /// A unit of time that NumPy does not have.
    #[error("there is no time unit {base} times {count}")]
    Unit {
        /// See [`TimeUnit`].
        base: u8,
        /// See [`TimeUnit`].
        count: u32,
    },
    /// Two fields of one name, or one with no or a very long name.
    #[error("field name `{}` is empty, longer than 4096 bytes or not unique", .0.escape_debug())]
    FieldName(String),
    /// A field shares bytes with the one before it, or reaches past the record.
    #[error("field `{}` covers bytes {start}..{end} of a record of {itemsize}, free are {free_from}..{free_to}", name.escape_debug())]
    FieldPlace {
        /// The field.
        name: String,
        /// Its first byte in the record.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// Where the field before it ends.
        free_from: u64,
        /// Where the next field starts, or the record ends.
        free_to: u64,
        /// Bytes of the record.
        itemsize: u32,
    },
    /// More than 64 dimensions or 2^32 bytes.
    #[error("the shape of field `{}` is too large", .0.escape_debug())]
    FieldShape(String),
    /// Text that is not NumPy's spelling of a dtype.
    #[error("`{}` is not a dtype: {expected} expected at character {at}", text.escape_debug())]
    Syntax {
        /// What was read.
        text: String,
        /// Where reading stopped.
        at: usize,
        /// What could follow there.
        expected: &'static str,
    },
}

impl Kind {
    /// NumPy's letter in `<f8`; `b` for booleans.
    pub(crate) fn letter(self) -> u8 {
        match self {
            Kind::Bool => b'b',
            Kind::Int => b'i',
            Kind::Uint => b'u',
            Kind::Float => b'f',
            Kind::Complex => b'c',
            Kind::Bytes => b'S',
            Kind::Str => b'U',
            Kind::Void => b'V',
            Kind::DateTime(_) => b'M',
            Kind::TimeDelta(_) => b'm',
        }
    }

    /// The kind of a letter; `unit` is looked at for times only.
    pub(crate) fn from_letter(letter: u8, unit: TimeUnit) -> Option<Self> {
        Some(match letter {
            b'b' => Kind::Bool,
            b'i' => Kind::Int,
            b'u' => Kind::Uint,
            b'f' => Kind::Float,
            b'c' => Kind::Complex,
            b'S' => Kind::Bytes,
            b'U' => Kind::Str,
            b'V' => Kind::Void,
            b'M' => Kind::DateTime(unit),
            b'm' => Kind::TimeDelta(unit),
            _ => return None,
        })
    }

    /// The unit of times; zeros for other kinds.
    pub(crate) fn unit(self) -> TimeUnit {
        match self {
            Kind::DateTime(unit) | Kind::TimeDelta(unit) => unit,
            _ => TimeUnit { base: 0, count: 0 },
        }
    }
}

impl Plain {
    /// Whether this is a dtype that NumPy has and a file can hold.
    ///
    /// # Errors
    ///
    /// [`DtypeError`] says what is wrong.
    pub fn validate(&self) -> Result<(), DtypeError> {
        let kind = char::from(self.kind.letter());
        let itemsize = self.itemsize;
        let fits = match self.kind {
            Kind::Bool => itemsize == 1,
            Kind::Int | Kind::Uint => matches!(itemsize, 1 | 2 | 4 | 8),
            Kind::Float => matches!(itemsize, 2 | 4 | 8),
            Kind::Complex => matches!(itemsize, 8 | 16),
            Kind::Bytes | Kind::Void => true,
            Kind::Str => itemsize.is_multiple_of(4),
            Kind::DateTime(_) | Kind::TimeDelta(_) => itemsize == 8,
        };
        if !fits {
            return Err(DtypeError::ItemSize { kind, itemsize });
        }
        if self.big_endian && !self.has_byte_order() {
            return Err(DtypeError::ByteOrder { kind, itemsize });
        }
        match self.kind {
            Kind::DateTime(unit) | Kind::TimeDelta(unit) => unit.validate(),
            _ => Ok(()),
        }
    }

    /// Whether `<` and `>` differ for this type.
    pub(crate) fn has_byte_order(&self) -> bool {
        match self.kind {
            Kind::Bool | Kind::Bytes | Kind::Void => false,
            Kind::Str => true,
            _ => self.itemsize > 1,
        }
    }

    /// What addresses of an item should be a multiple of; 1 for items without numbers.
    pub fn alignment(&self) -> u32 {
        match self.kind {
            Kind::Bytes | Kind::Void => 1,
            Kind::Str => 4,
            Kind::Complex => self.itemsize / 2,
            _ => self.itemsize,
        }
    }
}

impl TimeUnit {
    fn validate(self) -> Result<(), DtypeError> {
        let generic = TIME_UNITS.len() - 1;
        let base = usize::from(self.base);
        if base > generic
            || self.count == 0
            || self.count > i32::MAX as u32
            || (base == generic && self.count != 1)
        {
            return Err(DtypeError::Unit { base: self.base, count: self.count });
        }
        Ok(())
    }
}

impl Field {
    /// Bytes of the field with all elements of its sub-array; `None` beyond 2^32.
    pub fn len_bytes(&self) -> Option<u32> {
        self.shape.iter().try_fold(self.dtype.itemsize, |size, &n| size.checked_mul(n))
    }
}

impl Record {
    /// Whether names are unique and fields lie in the record without overlap.
    ///
    /// # Errors
    ///
    /// [`DtypeError`] says what is wrong.
    pub fn validate(&self) -> Result<(), DtypeError> {
        let mut names = HashSet::with_capacity(self.fields.len());
        let mut places = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            field.dtype.validate()?;
            let fits = (1..=super::MAX_NAME).contains(&field.name.len());
            if !fits || !names.insert(field.name.as_str()) {
                return Err(DtypeError::FieldName(field.name.clone()));
            }
            let too_large = || DtypeError::FieldShape(field.name.clone());
            if field.shape.len() > super::MAX_NDIM {
                return Err(too_large());
            }
            let len = u64::from(field.len_bytes().ok_or_else(too_large)?);
            places.push((u64::from(field.offset), len, field.name.as_str()));
        }
        places.sort_unstable();
        let mut free_from = 0;
        for (i, &(start, len, name)) in places.iter().enumerate() {
            let end = start + len;
            let free_to = places.get(i + 1).map_or(u64::from(self.itemsize), |next| next.0);
            if start < free_from || end > u64::from(self.itemsize) {
                let (name, itemsize) = (name.to_owned(), self.itemsize);
                return Err(DtypeError::FieldPlace { name, start, end, free_from, free_to, itemsize });
            }
            free_from = end;
        }
        Ok(())
    }
}

impl Dtype {
    /// Whether this is a dtype that NumPy has and a file can hold.
    ///
    /// # Errors
    ///
    /// [`DtypeError`] says what is wrong.
    pub fn validate(&self) -> Result<(), DtypeError> {
        match self {
            Dtype::Plain(plain) => plain.validate(),
            Dtype::Record(record) => record.validate(),
        }
    }

    /// What addresses of an item should be a multiple of; 1 for items without numbers and packed records.
    pub fn alignment(&self) -> u32 {
        match self {
            Dtype::Plain(plain) => plain.alignment().max(1),
            Dtype::Record(record) if record.aligned => {
                record.fields.iter().map(|field| field.dtype.alignment()).max().unwrap_or(1)
            }
            Dtype::Record(_) => 1,
        }
    }
}
