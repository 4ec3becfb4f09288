//! The keys of a row found by one instruction for 32 columns, with AVX-512 VBMI. All else is as with AVX2.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, __m512i, _mm512_castsi512_si256, _mm512_permutex2var_epi8, _mm512_zextsi256_si512,
};

use crate::engine::kernels::avx2::{Avx2, compiled_for};
use crate::engine::kernels::few;
use crate::engine::kernels::lanes::{self, Bytes, Eights, GroupNodes, Machine, Real, Row, Tile};
use crate::model::plan::lanes::BLOCK;

/// A processor with AVX-512 F, BW, VL and VBMI, and what [`Avx2`] has. Exists only where there is one.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Avx512(Avx2);

impl Avx512 {
    /// This processor, if it has them.
    pub(in crate::engine) fn here() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi");
        Avx2::here().filter(|_| found).map(Avx512)
    }
}

/// Calls an intrinsic.
macro_rules! avx512 {
    ($call:expr) => {
        // SAFETY: an `Avx512` exists, so the processor has what is enabled; values go in and come out, no memory is touched.
        unsafe { $call }
    };
}

impl Machine for Avx512 {
    type Lanes = __m256i;

    #[inline(always)]
    fn load(self, bytes: &Bytes) -> __m256i {
        self.0.load(bytes)
    }

    #[inline(always)]
    fn store(self, lanes: __m256i, bytes: &mut Bytes) {
        self.0.store(lanes, bytes);
    }

    #[inline(always)]
    fn splat(self, byte: i8) -> __m256i {
        self.0.splat(byte)
    }

    #[inline(always)]
    fn less(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.less(a, b)
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.add(a, b)
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.xor(a, b)
    }

    #[inline(always)]
    fn without(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.without(a, b)
    }

    #[inline(always)]
    fn choose(self, mask: __m256i, yes: __m256i, no: __m256i) -> __m256i {
        self.0.choose(mask, yes, no)
    }

    /// The instruction looks at seven bits of each column: six for a byte of a table, one for which of two tables.
    #[inline(always)]
    fn look_up<const T: usize>(self, row: &Row, upper: bool, columns: __m256i) -> __m256i {
        let first = if upper { 8 } else { 0 };
        let low = table(row, first);
        let high = if T <= 4 { low } else { table(row, first + 4) };
        let columns = avx512!(_mm512_zextsi256_si512(columns));
        let found = avx512!(_mm512_permutex2var_epi8(low, columns, high));
        avx512!(_mm512_castsi512_si256(found))
    }

    #[inline(always)]
    fn below_f32(self, block: &[f32; BLOCK], value: f32) -> usize {
        self.0.below_f32(block, value)
    }

    #[inline(always)]
    fn below_f64(self, block: &[f64; BLOCK], value: f64) -> usize {
        self.0.below_f64(block, value)
    }

    #[inline(always)]
    fn add_f32(self, leaves: &Eights<'_, f32>, found: &[[Bytes; 2]; 8], sums: &mut [f32]) {
        self.0.add_f32(leaves, found, sums);
    }

    #[inline(always)]
    fn add_f64(self, leaves: &Eights<'_, f64>, found: &[[Bytes; 2]; 8], sums: &mut [f64]) {
        self.0.add_f64(leaves, found, sums);
    }
}

/// The keys of 64 columns.
#[inline(always)]
fn table(row: &Row, first: usize) -> __m512i {
    bytemuck::cast([row[first], row[first + 1], row[first + 2], row[first + 3]])
}

compiled_for!(Avx512, "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512vl,avx512vbmi");
