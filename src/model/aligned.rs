//! Bytes in memory at an address that suits every array.
#![forbid(unsafe_code)]

use bytemuck::{Pod, Zeroable};

/// A copy of a file in memory whose arrays can be viewed: it starts at a multiple of 64, as a mapping does.
///
/// A `Vec<u8>` may start anywhere; views of its arrays are then refused.
#[derive(Clone, Debug, Default)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl AlignedBytes {
    /// Copies `bytes`.
    pub fn copy_from(bytes: &[u8]) -> Self {
        let mut lines = vec![Line::zeroed(); bytes.len().div_ceil(64)];
        bytemuck::cast_slice_mut(&mut lines)[..bytes.len()].copy_from_slice(bytes);
        AlignedBytes { lines, len: bytes.len() }
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}
