//! Inner loops that the compiler does not make as fast as the processor allows. Each has a twin in safe code
//! that gives the same bits and takes over where the processor lacks the instructions.
// Not `forbid`, which would also bind the kernels; the crate denies unsafe code.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
pub(super) mod compact;
mod few;
pub(super) mod lanes;
pub(super) mod subtrees;
#[cfg(test)]
mod tests;

use self::lanes::{Bytes, Eights, GroupNodes, Portable, ROWS, Real, Row, Tile};
use crate::model::plan::lanes::BLOCK;

/// A way to run kernels on this processor.
#[derive(Clone, Copy)]
pub(super) enum Kernels {
    /// On any processor.
    Portable,
    /// With AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    /// With AVX-512 VBMI.
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
}

impl Kernels {
    /// The fastest here.
    pub(super) fn here() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx512) = avx512::Avx512::here() {
            return Kernels::Avx512(avx512);
        } else if let Some(avx2) = avx2::Avx2::here() {
            return Kernels::Avx2(avx2);
        }
        Kernels::Portable
    }

    /// All that run here.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Kernels::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(avx2::Avx2::here().map(Kernels::Avx2));
            all.extend(avx512::Avx512::here().map(Kernels::Avx512));
        }
        all
    }

    /// See [`lanes::keys`].
    pub(super) fn keys<F: Real>(
        self,
        blocks: &[[F; BLOCK]],
        values: &[F],
        right: &mut [i8],
        left: &mut [i8],
    ) {
        match self {
            Kernels::Portable => lanes::keys(Portable, blocks, values, right, left),
            #[cfg(target_arch = "x86_64")]
            Kernels::Avx2(avx2) => avx2.keys(blocks, values, right, left),
            #[cfg(target_arch = "x86_64")]
            Kernels::Avx512(avx512) => avx512.keys(blocks, values, right, left),
        }
    }

    /// See [`lanes::trees_of_tile`]; `rows` is how many of the tile are asked for.
    pub(super) fn trees_of_tile(
        self,
        nodes: GroupNodes<'_>,
        first: usize,
        tile: &Tile,
        rows: usize,
        leaves: &mut [[Bytes; 2]],
    ) {
        match (self, rows <= ROWS / 2) {
            (Kernels::Portable, true) => lanes::trees_of_tile::<_, 1>(Portable, nodes, first, tile, leaves),
            (Kernels::Portable, false) => lanes::trees_of_tile::<_, 2>(Portable, nodes, first, tile, leaves),
            #[cfg(target_arch = "x86_64")]
            (Kernels::Avx2(avx2), true) => avx2.trees_of_tile::<1>(nodes, first, tile, leaves),
            #[cfg(target_arch = "x86_64")]
            (Kernels::Avx2(avx2), false) => avx2.trees_of_tile::<2>(nodes, first, tile, leaves),
            #[cfg(target_arch = "x86_64")]
            (Kernels::Avx512(avx512), true) => avx512.trees_of_tile::<1>(nodes, first, tile, leaves),
            #[cfg(target_arch = "x86_64")]
            (Kernels::Avx512(avx512), false) => avx512.trees_of_tile::<2>(nodes, first, tile, leaves),
        }
    }

    /// See [`few::keys_of_rows`].
    pub(super) fn keys_of_rows<F: Real, const N: usize>(
        self,
        blocks: &[[F; BLOCK]],
        starts: &[u32],
        values: &[[F; N]],
        first: usize,
        rows: &mut [Row],
    ) -> bool {
        match self {
            Kernels::Portable => few::keys_of_rows(Portable, blocks, starts, values, first, rows),
            #[cfg(target_arch = "x86_64")]
            Kernels::Avx2(avx2) => avx2.keys_of_rows(blocks, starts, values, first, rows),
            #[cfg(target_arch = "x86_64")]
            Kernels::Avx512(avx512) => avx512.keys_of_rows(blocks, starts, values, first, rows),
        }
    }

    /// See [`lanes::add_eights`], for rows from the first of a tile on.
    pub(super) fn add_eights<F: Real>(self, leaves: &Eights<'_, F>, found: &[[Bytes; 2]; 8], sums: &mut [F]) {
        match self {
            Kernels::Portable => F::add(Portable, leaves, found, sums),
            #[cfg(target_arch = "x86_64")]
            Kernels::Avx2(avx2) => avx2.add_eights(leaves, found, sums),
            #[cfg(target_arch = "x86_64")]
            Kernels::Avx512(avx512) => avx512.add_eights(leaves, found, sums),
        }
    }

    /// See [`few::trees_of_rows`]; `columns` is how many there are, `nan` whether some are NaN.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub(super) fn trees_of_rows(
        self,
        nodes: GroupNodes<'_>,
        rows: &[Row],
        columns: usize,
        nan: bool,
        leaves: &mut [Bytes],
    ) {
        match (self, nan) {
            (Kernels::Portable, false) => few::trees_of_rows::<_, 8, false>(Portable, nodes, rows, leaves),
            (Kernels::Portable, true) => few::trees_of_rows::<_, 8, true>(Portable, nodes, rows, leaves),
            #[cfg(target_arch = "x86_64")]
            (Kernels::Avx2(avx2), false) => match columns {
                0..=16 => avx2.trees_of_rows::<1, false>(nodes, rows, leaves),
                17..=32 => avx2.trees_of_rows::<2, false>(nodes, rows, leaves),
                33..=64 => avx2.trees_of_rows::<4, false>(nodes, rows, leaves),
                _ => avx2.trees_of_rows::<8, false>(nodes, rows, leaves),
            },
            #[cfg(target_arch = "x86_64")]
            (Kernels::Avx2(avx2), true) => avx2.trees_of_rows::<8, true>(nodes, rows, leaves),
            #[cfg(target_arch = "x86_64")]
            (Kernels::Avx512(avx512), false) if columns <= 64 => {
                avx512.trees_of_rows::<4, false>(nodes, rows, leaves);
            }
            #[cfg(target_arch = "x86_64")]
            (Kernels::Avx512(avx512), false) => avx512.trees_of_rows::<8, false>(nodes, rows, leaves),
            #[cfg(target_arch = "x86_64")]
            (Kernels::Avx512(avx512), true) => avx512.trees_of_rows::<8, true>(nodes, rows, leaves),
        }
    }
}
