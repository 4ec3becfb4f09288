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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Arrays in memory, as a source and as a sink.
    #[derive(Default)]
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
