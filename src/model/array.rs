//! Arrays as the model layer sees them: dtype + shape + bytes.
#![forbid(unsafe_code)]

use std::io;
use std::ops::Range;

use bytemuck::Pod;
use ndarray::{ArrayViewD, IxDyn, ShapeBuilder};

use crate::format::codec::Storage;
use crate::format::digest::Digest;
use crate::format::dtype::{Dtype, Element};
use crate::format::lanes::{NewArray, Pull, gather};
use crate::format::table::Segment;
use crate::format::writer::{Pieces, WriteError, Writer};
use crate::format::{ArrayId, ArrayInfo, Order, Role};

/// Arrays that a graph refers to, wherever their bytes are: in a foreign file, in memory or in a model file.
///
/// Implementations guarantee that every array's bytes exist: `len_bytes` is
/// the product of shape and item size, and reads within it fail only for I/O reasons.
pub trait ArraySource: Sync {
    /// Number of arrays; ids are `0..len`.
    fn array_count(&self) -> u32;
    /// What array `id` is. `id` comes from a validated graph, so it is in range.
    fn info(&self, id: ArrayId) -> ArrayInfo;
    /// Fills `buf` from the bytes of array `id`, starting at byte `offset` of the array.
    fn read_at(&self, id: ArrayId, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Bytes of array `id` where they lie in memory, if they do and may be read now.
    fn slice(&self, id: ArrayId, bytes: Range<u64>) -> Option<&[u8]> {
        let _ = (id, bytes);
        None
    }
}

/// Where arrays go when a file is written, in the order in which they shall lie.
pub(crate) trait ArraySink {
    /// Stores one array; `data` gives exactly the bytes that `info` calls for. Names are unique within a file.
    fn add(
        &mut self,
        name: &str,
        info: &ArrayInfo,
        role: Role,
        data: &mut dyn io::Read,
    ) -> io::Result<ArrayId>;

    /// Stores one array whose bytes are in memory: `piece` gives any of them, or `None` to give up.
    fn add_slices(
        &mut self,
        name: &str,
        info: &ArrayInfo,
        role: Role,
        piece: Pieces<'_, '_>,
    ) -> io::Result<ArrayId> {
        let len = info.len_bytes().ok_or(io::ErrorKind::InvalidInput)?;
        self.add(name, info, role, &mut piece(0..len).ok_or(io::ErrorKind::Interrupted)?)
    }

    /// Stores several arrays whose bytes come by turns, as if they were added one after the other. If `pull` fails, nothing is
    /// added, and arrays of these names may be added later.
    fn add_together(&mut self, arrays: &[NewArray<'_>], pull: &mut Pull<'_>) -> io::Result<Vec<ArrayId>> {
        let gathered = gather(arrays, pull)?;
        let mut add = |(array, bytes): (&NewArray<'_>, Vec<u8>)| {
            self.add(array.name, array.info, array.role, &mut bytes.as_slice())
        };
        arrays.iter().zip(gathered).map(&mut add).collect()
    }
}

impl<W: io::Write + io::Seek + Send> ArraySink for Writer<W> {
    fn add(
        &mut self,
        name: &str,
        info: &ArrayInfo,
        role: Role,
        data: &mut dyn io::Read,
    ) -> io::Result<ArrayId> {
        self.array(name, info, role, data).map_err(as_io)
    }

    fn add_slices(
        &mut self,
        name: &str,
        info: &ArrayInfo,
        role: Role,
        piece: Pieces<'_, '_>,
    ) -> io::Result<ArrayId> {
        self.array_in_memory(name, info, role, piece).map_err(as_io)
    }

    fn add_together(&mut self, arrays: &[NewArray<'_>], pull: &mut Pull<'_>) -> io::Result<Vec<ArrayId>> {
        self.together(arrays, pull).map_err(as_io)
    }
}

/// The error of an output as it is, any other inside one.
pub(crate) fn as_io(error: WriteError) -> io::Error {
    match error {
        WriteError::Output { source, .. } => source,
        error => io::Error::other(error),
    }
}

/// An array that cannot be found, or not be seen the way it was asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// No array has this name.
    #[error("no array is named `{}` among {count}; `onecopy inspect` lists them", name.escape_debug())]
    NoSuchName {
        /// What was asked for.
        name: String,
        /// Arrays there are.
        count: u32,
    },
    /// No array has this id.
    #[error("there is no array {id} among {count}")]
    NoSuchId {
        /// What was asked for.
        id: u32,
        /// Arrays there are.
        count: u32,
    },
    /// The file is cold.
    #[error("array `{}` is compressed and cannot be viewed; use `onecopy restore` first", name.escape_debug())]
    Compressed {
        /// The array.
        name: String,
    },
    /// The array holds another type.
    #[error("array `{}` holds `{found}`, asked for `{asked}`", name.escape_debug())]
    WrongType {
        /// The array.
        name: String,
        /// Its dtype.
        found: String,
        /// What was asked for.
        asked: String,
    },
    /// The array's items have another size than the type.
    #[error("array `{}` has items of {found} bytes (`{dtype}`), asked for {asked}", name.escape_debug())]
    WrongSize {
        /// The array.
        name: String,
        /// Its dtype.
        dtype: String,
        /// Bytes of its items.
        found: u32,
        /// Bytes of the type asked for.
        asked: usize,
    },
    /// The bytes lie at an address that the type does not allow.
    #[error(
        "array `{}` does not start at a multiple of {align} in memory; open the file, or copy its bytes with \
         `AlignedBytes`",
        name.escape_debug()
    )]
    Misaligned {
        /// The array.
        name: String,
        /// What the address must be a multiple of.
        align: usize,
    },
    /// The shape is beyond what this machine can address.
    #[error("array `{}` has shape {shape:?}, too large to view on this machine", name.escape_debug())]
    TooLarge {
        /// The array.
        name: String,
        /// Its shape.
        shape: Vec<u64>,
    },
}

/// One array of a model file. Copying it copies no array bytes.
#[derive(Clone, Copy, Debug)]
pub struct ArrayRef<'a> {
    id: ArrayId,
    name: &'a str,
    segment: &'a Segment,
    stored: &'a [u8],
}

impl<'a> ArrayRef<'a> {
    pub(crate) fn new(id: ArrayId, name: &'a str, segment: &'a Segment, stored: &'a [u8]) -> Self {
        ArrayRef { id, name, segment, stored }
    }

    /// Its id.
    pub fn id(&self) -> ArrayId {
        self.id
    }

    /// Its name, unique in the file.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Type, shape and order.
    pub fn info(&self) -> &'a ArrayInfo {
        &self.segment.info
    }

    /// Who touches it.
    pub fn role(&self) -> Role {
        self.segment.role
    }

    /// How it is stored.
    pub fn storage(&self) -> Storage {
        self.segment.storage
    }

    /// Offset of its first byte in the file.
    pub fn offset(&self) -> u64 {
        self.segment.offset
    }

    /// Bytes it takes in the file.
    pub fn stored_len(&self) -> u64 {
        self.segment.stored_len
    }

    /// Bytes it takes in memory.
    pub fn len_bytes(&self) -> u64 {
        self.segment.raw_len
    }

    /// BLAKE3 of its bytes, according to the index.
    pub fn digest(&self) -> Digest {
        self.segment.digest
    }

    /// Its bytes, borrowed from the file.
    ///
    /// # Errors
    ///
    /// [`ArrayError::Compressed`]
    pub fn bytes(&self) -> Result<&'a [u8], ArrayError> {
        match self.segment.storage {
            Storage::Raw => Ok(self.stored),
            _ => Err(ArrayError::Compressed { name: self.name.to_owned() }),
        }
    }

    /// Its values in the order of memory, borrowed from the file.
    ///
    /// # Errors
    ///
    /// [`ArrayError::WrongType`] unless the dtype is exactly `T`; [`ArrayError::Compressed`];
    /// [`ArrayError::Misaligned`] for bytes that are not a mapping.
    pub fn values<T: Element>(&self) -> Result<&'a [T], ArrayError> {
        let (found, asked) = (&self.info().dtype, T::dtype());
        if *found != asked {
            let (found, asked) = (found.to_string(), asked.to_string());
            return Err(ArrayError::WrongType { name: self.name.to_owned(), found, asked });
        }
        self.cast()
    }

    /// An `ndarray` view with the array's shape and order, borrowed from the file.
    ///
    /// # Errors
    ///
    /// As [`ArrayRef::values`].
    pub fn view<T: Element>(&self) -> Result<ArrayViewD<'a, T>, ArrayError> {
        let values = self.values::<T>()?;
        let info = self.info();
        let too_large = || ArrayError::TooLarge { name: self.name.to_owned(), shape: info.shape.clone() };
        let shape: Result<Vec<usize>, _> = info.shape.iter().map(|&n| usize::try_from(n)).collect();
        let shape = IxDyn(&shape.map_err(|_| too_large())?).set_f(info.order == Order::F);
        ArrayViewD::from_shape(shape, values).map_err(|_| too_large())
    }

    /// The items of a record array in the order of memory, as a type of the same size.
    ///
    /// # Errors
    ///
    /// [`ArrayError::WrongType`] for an array without fields; [`ArrayError::WrongSize`]; [`ArrayError::Compressed`];
    /// [`ArrayError::Misaligned`].
    pub fn records<T: Pod>(&self) -> Result<&'a [T], ArrayError> {
        let dtype = &self.info().dtype;
        let name = || self.name.to_owned();
        if !matches!(dtype, Dtype::Record(_)) {
            let asked = "a record".to_owned();
            return Err(ArrayError::WrongType { name: name(), found: dtype.to_string(), asked });
        }
        if dtype.itemsize() as usize != size_of::<T>() {
            let (found, asked) = (dtype.itemsize(), size_of::<T>());
            return Err(ArrayError::WrongSize { name: name(), dtype: dtype.to_string(), found, asked });
        }
        self.cast()
    }

    fn cast<T: Pod>(&self) -> Result<&'a [T], ArrayError> {
        let bytes = self.bytes()?;
        // An empty slice of bytes may lie anywhere; an empty slice of `T` has no bytes to misread.
        if bytes.is_empty() {
            return Ok(&[]);
        }
        bytemuck::try_cast_slice(bytes)
            .map_err(|_| ArrayError::Misaligned { name: self.name.to_owned(), align: align_of::<T>() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Arrays in memory, as a source and as a sink.
    #[derive(Debug, Default)]
    pub(crate) struct Memory {
        pub(crate) names: Vec<String>,
        pub(crate) roles: Vec<Role>,
        pub(crate) arrays: Vec<(ArrayInfo, Vec<u8>)>,
    }

    impl Memory {
        pub(crate) fn new(arrays: Vec<(ArrayInfo, Vec<u8>)>) -> Self {
            Memory { arrays, ..Memory::default() }
        }
    }

    impl ArraySource for Memory {
        fn array_count(&self) -> u32 {
            self.arrays.len() as u32
        }

        fn info(&self, id: ArrayId) -> ArrayInfo {
            self.arrays[id.0 as usize].0.clone()
        }

        fn read_at(&self, id: ArrayId, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            let bytes = &self.arrays[id.0 as usize].1;
            let start = offset as usize;
            buf.copy_from_slice(bytes.get(start..start + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }

    impl ArraySink for Memory {
        fn add(
            &mut self,
            name: &str,
            info: &ArrayInfo,
            role: Role,
            data: &mut dyn io::Read,
        ) -> io::Result<ArrayId> {
            let mut bytes = Vec::new();
            data.read_to_end(&mut bytes)?;
            let expected = info.shape.iter().product::<u64>() * u64::from(info.dtype.itemsize());
            assert_eq!(bytes.len() as u64, expected, "bytes of `{name}`");
            assert!(!self.names.iter().any(|used| used == name), "`{name}` twice");
            self.names.push(name.to_owned());
            self.roles.push(role);
            self.arrays.push((info.clone(), bytes));
            Ok(ArrayId(self.arrays.len() as u32 - 1))
        }
    }
}
