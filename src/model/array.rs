//! Arrays as the model layer sees them: dtype + shape + bytes.
#![forbid(unsafe_code)]

use std::io;

use crate::format::{ArrayId, ArrayInfo, Role};

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
}

/// Where arrays go when a file is written, in the order in which they shall lie.
pub trait ArraySink {
    /// Stores one array; `data` gives exactly the bytes that `info` calls for. Names are unique within a file.
    fn add(
        &mut self,
        name: &str,
        info: &ArrayInfo,
        role: Role,
        data: &mut dyn io::Read,
    ) -> io::Result<ArrayId>;
}
