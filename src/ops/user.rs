//! Files of one's own arrays.
#![forbid(unsafe_code)]

use std::io::Read;
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use ndarray::{ArrayRef, Dimension};

use crate::format::codec::Codec;
use crate::format::digest::Digest;
use crate::format::dtype::{Dtype, Element};
use crate::format::writer::{Parts, WriteError, Writer};
use crate::format::{ArrayId, ArrayInfo, Order, Role};
use crate::store::fs::{Pending, StepError};

/// Writes a file of arrays that appears at its path when it is finished, whole. Dropping it leaves nothing.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("weights.onecopy");
/// let weights = ndarray::array![[1.0, 2.0], [3.0, 4.0]];
/// let mut file = onecopy::FileWriter::create(&path)?;
/// file.metadata(&serde_json::json!({ "trained": "2026-11-21" }));
/// file.array("weights", &weights)?;
/// file.finish()?;
///
/// let model = onecopy::Model::open(&path)?;
/// assert_eq!(model.array("weights")?.view::<f64>()?, weights.into_dyn());
/// # Ok(())
/// # }
/// ```
pub struct FileWriter {
    writer: Writer<Pending>,
    path: PathBuf,
    metadata: Vec<u8>,
}

/// A file of arrays that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileWriteError {
    /// The file cannot be created or published.
    #[error(transparent)]
    Publish(#[from] StepError),
    /// The bytes cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: WriteError,
    },
    /// Items and dtype differ in size.
    #[error("array `{}` was given items of {found} bytes for `{dtype}`", array.escape_debug())]
    ItemSize {
        /// The array.
        array: String,
        /// The dtype it shall have.
        dtype: String,
        /// Bytes of the items given.
        found: usize,
    },
}

impl FileWriter {
    /// Starts a file that shall appear at `path`.
    ///
    /// # Errors
    ///
    /// [`FileWriteError::Publish`] if nothing can be written there.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, FileWriteError> {
        let path = path.as_ref().to_owned();
        let pending = Pending::create(&path)?;
        match Writer::new(pending, Codec::Raw) {
            Ok(writer) => Ok(FileWriter { writer, path, metadata: Vec::new() }),
            Err(source) => Err(FileWriteError::Write { path, source }),
        }
    }

    /// What to say about the file; `inspect` shows it.
    pub fn metadata(&mut self, metadata: &serde_json::Value) {
        self.metadata = metadata.to_string().into_bytes();
    }

    /// Stores an array of any shape. Column-major arrays stay so; others are stored row-major.
    ///
    /// # Errors
    ///
    /// [`FileWriteError::Write`]
    pub fn array<T: Element, D: Dimension>(
        &mut self,
        name: &str,
        array: &ArrayRef<T, D>,
    ) -> Result<ArrayId, FileWriteError> {
        let shape = array.shape().iter().map(|&n| n as u64).collect();
        let mut info = ArrayInfo { dtype: T::dtype(), shape, order: Order::C };
        if let Some(values) = array.as_slice() {
            return self.bytes(name, &info, bytemuck::cast_slice(values));
        }
        if let Some(values) = array.t().as_slice() {
            info.order = Order::F;
            return self.bytes(name, &info, bytemuck::cast_slice(values));
        }
        self.read(name, &info, &mut Items { items: array.iter(), item: None, at: 0 })
    }

    /// Stores an array of records as NumPy's structured arrays hold them. The bytes of `T` become those of `dtype`.
    ///
    /// # Errors
    ///
    /// [`FileWriteError::ItemSize`], [`FileWriteError::Write`]
    pub fn records<T: Pod>(
        &mut self,
        name: &str,
        dtype: &Dtype,
        records: &[T],
    ) -> Result<ArrayId, FileWriteError> {
        if dtype.itemsize() as usize != size_of::<T>() {
            let (array, dtype, found) = (name.to_owned(), dtype.to_string(), size_of::<T>());
            return Err(FileWriteError::ItemSize { array, dtype, found });
        }
        let info = ArrayInfo::new(dtype.clone(), [records.len() as u64]);
        self.bytes(name, &info, bytemuck::cast_slice(records))
    }

    /// Stores an array whose bytes come from `data`, which need not fit in memory.
    ///
    /// # Errors
    ///
    /// [`FileWriteError::Write`]
    pub fn read(
        &mut self,
        name: &str,
        info: &ArrayInfo,
        data: &mut dyn Read,
    ) -> Result<ArrayId, FileWriteError> {
        let written = self.writer.array(name, info, Role::Predict, data);
        written.map_err(|source| FileWriteError::Write { path: self.path.clone(), source })
    }

    fn bytes(&mut self, name: &str, info: &ArrayInfo, mut bytes: &[u8]) -> Result<ArrayId, FileWriteError> {
        self.read(name, info, &mut bytes)
    }

    /// Makes the file appear at its path, on disk.
    ///
    /// # Errors
    ///
    /// [`FileWriteError`]; the path holds what it held before.
    pub fn finish(self) -> Result<Digest, FileWriteError> {
        let parts = Parts { metadata: &self.metadata, ..Parts::default() };
        let path = self.path;
        let finished = self.writer.finish(&parts);
        let (pending, digest) = finished.map_err(|source| FileWriteError::Write { path, source })?;
        pending.commit()?;
        Ok(digest)
    }
}

/// The bytes of items one after the other.
struct Items<'a, T, I> {
    items: I,
    item: Option<&'a T>,
    at: usize,
}

impl<'a, T: Pod, I: Iterator<Item = &'a T>> Read for Items<'a, T, I> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            if self.item.is_none() {
                (self.item, self.at) = (self.items.next(), 0);
            }
            let Some(item) = self.item else { break };
            let left = &bytemuck::bytes_of(item)[self.at..];
            let n = left.len().min(buf.len() - filled);
            buf[filled..filled + n].copy_from_slice(&left[..n]);
            (filled, self.at) = (filled + n, self.at + n);
            if n == left.len() {
                self.item = None;
            }
        }
        Ok(filled)
    }
}
