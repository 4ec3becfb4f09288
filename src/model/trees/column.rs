//! One field of the nodes of a tree, in the narrow type in which it is stored.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::Order;
use crate::format::dtype::{Dtype, Element, Kind, Plain};
use crate::model::array::ArraySource;
use crate::model::graph::ArrayPart;
use crate::model::graph::read::{byte_range, read_plain};
use crate::model::graph::view::{float_of, int_of};
use crate::model::trees::{ArrayBytes, TreeError};

/// Where the elements of a column are.
#[derive(Debug)]
pub struct Column(ColumnData);

/// Stored as they are used, or copied because they were stored otherwise.
#[derive(Debug)]
pub enum ColumnData {
    /// In a stored array: little-endian, `first` elements after its start.
    Stored {
        /// The array.
        array: ArrayId,
        /// Its type.
        dtype: Plain,
        /// The first element.
        first: u64,
        /// Number of elements.
        len: u64,
    },
    /// Integers that were stored in another byte order or between other fields.
    Ints(Box<[i64]>),
    /// Floats that were.
    Floats(Box<[f64]>),
}

/// Integers of any width, borrowed.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "named as their types")]
pub enum Ints<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
}

/// Floats, or unsigned integers that stand for them, borrowed.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "named as their types")]
pub enum Floats<'a> {
    F64(&'a [f64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
}

impl Ints<'_> {
    /// Element `index`.
    #[inline(always)]
    pub fn at(&self, index: usize) -> i64 {
        match self {
            Ints::I8(values) => values[index].into(),
            Ints::I16(values) => values[index].into(),
            Ints::I32(values) => values[index].into(),
            Ints::I64(values) => values[index],
            Ints::U8(values) => values[index].into(),
            Ints::U16(values) => values[index].into(),
            Ints::U32(values) => values[index].into(),
        }
    }

    /// All elements.
    pub fn to_vec(&self) -> Vec<i64> {
        (0..self.len()).map(|index| self.at(index)).collect()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Ints::I8(values) => values.len(),
            Ints::I16(values) => values.len(),
            Ints::I32(values) => values.len(),
            Ints::I64(values) => values.len(),
            Ints::U8(values) => values.len(),
            Ints::U16(values) => values.len(),
            Ints::U32(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Floats<'_> {
    /// Element `index`.
    #[inline(always)]
    pub fn at(&self, index: usize) -> f64 {
        match self {
            Floats::F64(values) => values[index],
            Floats::U8(values) => values[index].into(),
            Floats::U16(values) => values[index].into(),
            Floats::U32(values) => values[index].into(),
        }
    }

    /// All elements.
    pub fn to_vec(&self) -> Vec<f64> {
        (0..self.len()).map(|index| self.at(index)).collect()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Floats::F64(values) => values.len(),
            Floats::U8(values) => values.len(),
            Floats::U16(values) => values.len(),
            Floats::U32(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Column {
    /// Where the elements are.
    pub fn data(&self) -> &ColumnData {
        &self.0
    }

    /// The rows of a stored array, all their elements.
    pub(super) fn of_part(part: &ArrayPart, arrays: &dyn ArraySource) -> Result<Self, TreeError> {
        let info = arrays.info(part.array);
        let range = byte_range(part, &info.dtype);
        let (Dtype::Plain(dtype), Some((start, bytes))) = (&info.dtype, range) else {
            return Err(TreeError::Bytes { problem: "records within records" });
        };
        let (size, one_run) = (u64::from(dtype.itemsize), info.order == Order::C || part.shape.len() < 2);
        if one_run && size > 0 && is_direct(*dtype) {
            let (first, len) = (start / size, bytes / size);
            return Ok(Column(ColumnData::Stored { array: part.array, dtype: *dtype, first, len }));
        }
        let read = read_plain(part, arrays, u64::MAX).map_err(|source| TreeError::Read { source })?;
        let read = read.ok_or(TreeError::Bytes { problem: "records within records" })?;
        Self::of_elements(read.dtype, read.elements())
    }

    /// A copy of elements of any byte order.
    pub(super) fn of_elements<'e>(
        dtype: Plain,
        elements: impl Iterator<Item = &'e [u8]>,
    ) -> Result<Self, TreeError> {
        let problem = "of a type that no tree has";
        let data = match dtype.kind {
            Kind::Int | Kind::Uint => {
                elements.map(|element| int_of(dtype, element)).collect::<Option<_>>().map(ColumnData::Ints)
            }
            Kind::Bool => elements
                .map(|element| element.first().map(|byte| i64::from(*byte)))
                .collect::<Option<_>>()
                .map(ColumnData::Ints),
            Kind::Float if dtype.itemsize == 8 => elements
                .map(|element| float_of(dtype, element))
                .collect::<Option<_>>()
                .map(ColumnData::Floats),
            _ => None,
        };
        data.map(Column).ok_or(TreeError::Bytes { problem })
    }

    /// Whether the elements can stand for values of this kind.
    pub(super) fn is(&self, kind: Kind) -> bool {
        match (&self.0, kind) {
            (ColumnData::Stored { dtype, .. }, Kind::Int) => dtype.kind != Kind::Float,
            (ColumnData::Stored { dtype, .. }, _) => {
                dtype.kind == Kind::Float || (dtype.kind == Kind::Uint && dtype.itemsize <= 4)
            }
            (ColumnData::Ints(_), kind) => kind == Kind::Int,
            (ColumnData::Floats(_), kind) => kind == Kind::Float,
        }
    }

    /// The elements as integers.
    ///
    /// # Errors
    ///
    /// [`TreeError::Bytes`] if they are compressed, misaligned or floats.
    pub fn ints<'a>(&'a self, arrays: &'a dyn ArrayBytes) -> Result<Ints<'a>, TreeError> {
        match &self.0 {
            ColumnData::Ints(values) => Ok(Ints::I64(values)),
            ColumnData::Floats(_) => Err(TreeError::Bytes { problem: "of another type" }),
            ColumnData::Stored { dtype, .. } => match (dtype.kind, dtype.itemsize) {
                (Kind::Int, 1) => self.stored(arrays).map(Ints::I8),
                (Kind::Int, 2) => self.stored(arrays).map(Ints::I16),
                (Kind::Int, 4) => self.stored(arrays).map(Ints::I32),
                (Kind::Int, 8) => self.stored(arrays).map(Ints::I64),
                (Kind::Uint, 1) => self.stored(arrays).map(Ints::U8),
                (Kind::Uint, 2) => self.stored(arrays).map(Ints::U16),
                (Kind::Uint, 4) => self.stored(arrays).map(Ints::U32),
                _ => Err(TreeError::Bytes { problem: "of another type" }),
            },
        }
    }

    /// The elements as floats.
    ///
    /// # Errors
    ///
    /// [`TreeError::Bytes`] if they are compressed, misaligned or signed integers.
    pub fn floats<'a>(&'a self, arrays: &'a dyn ArrayBytes) -> Result<Floats<'a>, TreeError> {
        match &self.0 {
            ColumnData::Floats(values) => Ok(Floats::F64(values)),
            ColumnData::Ints(_) => Err(TreeError::Bytes { problem: "of another type" }),
            ColumnData::Stored { dtype, .. } => match (dtype.kind, dtype.itemsize) {
                (Kind::Float, 8) => self.stored(arrays).map(Floats::F64),
                (Kind::Uint, 1) => self.stored(arrays).map(Floats::U8),
                (Kind::Uint, 2) => self.stored(arrays).map(Floats::U16),
                (Kind::Uint, 4) => self.stored(arrays).map(Floats::U32),
                _ => Err(TreeError::Bytes { problem: "of another type" }),
            },
        }
    }

    /// The stored elements, exactly as many as the column has.
    fn stored<'a, T: Element>(&self, arrays: &'a dyn ArrayBytes) -> Result<&'a [T], TreeError> {
        let ColumnData::Stored { array, first, len, .. } = self.0 else {
            return Err(TreeError::Bytes { problem: "of another type" });
        };
        let (info, bytes) = arrays.array_bytes(array).ok_or(TreeError::Bytes { problem: "compressed" })?;
        if info.dtype != T::dtype() {
            return Err(TreeError::Bytes { problem: "of another type" });
        }
        if bytes.is_empty() && len == 0 {
            return Ok(&[]);
        }
        let values: &[T] =
            bytemuck::try_cast_slice(bytes).map_err(|_| TreeError::Bytes { problem: "misaligned" })?;
        let start = usize::try_from(first).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(usize::try_from(len).ok()?)?));
        range.and_then(|range| values.get(range)).ok_or(TreeError::Bytes { problem: "shorter than it" })
    }
}

/// Types that are used as they are stored.
fn is_direct(dtype: Plain) -> bool {
    !dtype.big_endian
        && match dtype.kind {
            Kind::Int => matches!(dtype.itemsize, 1 | 2 | 4 | 8),
            Kind::Uint => matches!(dtype.itemsize, 1 | 2 | 4),
            Kind::Float => dtype.itemsize == 8,
            _ => false,
        }
}
