//! With AVX-512, the keys of a row are found by one instruction for 32 columns, and crowns are asked for 16 rows in one register, and
//! blocks of thresholds compared at once. All else is as with AVX2.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{
    __m256i, __m512d, __m512i, _CMP_LT_OQ, _mm512_add_epi32, _mm512_add_epi64, _mm512_and_si512,
    _mm512_andnot_si512, _mm512_castsi512_si256, _mm512_cmp_pd_mask, _mm512_cmp_ps_mask,
    _mm512_cvtepu32_epi64, _mm512_extracti64x4_epi64, _mm512_permutex2var_epi8, _mm512_permutexvar_epi32,
    _mm512_popcnt_epi32, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_set1_pd, _mm512_set1_ps,
    _mm512_slli_epi64, _mm512_zextsi256_si512,
};

use crate::engine::kernels::avx2::{Avx2, compiled_for};
use crate::engine::kernels::compact::RowKeys;
use crate::engine::kernels::few;
use crate::engine::kernels::lanes::{self, Bytes, Eights, GroupNodes, Machine, Real, Row, Tile};
use crate::model::plan::compact::Crown;
use crate::model::plan::lanes::BLOCK;

/// A processor with AVX-512 F, BW, DQ, VL, VBMI and VPOPCNTDQ, and what [`Avx2`] has. Exists only where there is one.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Avx512(Avx2);

impl Avx512 {
    /// This processor, if it has them.
    pub(in crate::engine) fn here() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vpopcntdq");
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
        let below = avx512!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(bytemuck::cast(*block), _mm512_set1_ps(value)));
        below.count_ones() as usize
    }

    #[inline(always)]
    fn below_f64(self, block: &[f64; BLOCK], value: f64) -> usize {
        let [low, high]: [__m512d; 2] = bytemuck::cast(*block);
        let value = avx512!(_mm512_set1_pd(value));
        let low = avx512!(_mm512_cmp_pd_mask::<_CMP_LT_OQ>(low, value));
        let high = avx512!(_mm512_cmp_pd_mask::<_CMP_LT_OQ>(high, value));
        u16::from_le_bytes([low, high]).count_ones() as usize
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

impl Avx512 {
    /// As [`Avx2::below_crown`], with all 16 rows in one register. No column of the crown may be beyond `keys`, which `validate` has seen to.
    #[inline]
    pub(in crate::engine) fn below_crown(
        self,
        crown: &Crown,
        root: u64,
        keys: &[RowKeys],
        out: &mut [u64; 16],
    ) {
        // SAFETY: an `Avx512` exists, so the processor has what is enabled.
        unsafe { ends_of_crown::<0>(crown, &crown[2], root, keys, out) }
    }

    /// For each row, `base` and `1 << SHIFT` times what `places` has for the end of the crown that it comes to. Columns as above.
    #[inline]
    pub(in crate::engine) fn ends_of_crown<const SHIFT: u32>(
        self,
        crown: &Crown,
        places: &[u32; 16],
        base: u64,
        keys: &[RowKeys],
        out: &mut [u64; 16],
    ) {
        // SAFETY: as above.
        unsafe { ends_of_crown::<SHIFT>(crown, places, base, keys, out) }
    }
}

/// For each split of a crown, the places below it that are left to a row that goes right, a bit each: all but those under its left child.
static LEFT_TO_RIGHT: [i32; 15] = [
    !0x00ff, !0x000f, !0x0f00, !0x0003, !0x0030, !0x0300, !0x3000, !0x0001, !0x0004, !0x0010, !0x0040,
    !0x0100, !0x0400, !0x1000, !0x4000,
];

/// Every split rules out ends, whether a row comes to it or not; the first that is left is the row's. (Lucchese et al.,
/// "QuickScorer", 2015.)
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn ends_of_crown<const SHIFT: u32>(
    [thresholds, features, _]: &Crown,
    places: &[u32; 16],
    base: u64,
    keys: &[RowKeys],
    out: &mut [u64; 16],
) {
    let all = _mm512_set1_epi32(-1);
    // Three, as one would wait for itself.
    let (mut a, mut b, mut c) = (all, all, all);
    /// What compilers make of this takes features apart in vectors, or is a loop.
    macro_rules! ask {
        ($($left:ident $split:literal)*) => { $(
            // SAFETY: there are 15 splits, and `keys` has an entry of 64 bytes for each of their features.
            unsafe {
                asm!(
                    concat!("mov {feature:e}, dword ptr [{features} + 4*", $split, "]"),
                    "shl {feature}, 6",
                    "vmovdqu32 {key}, zmmword ptr [{keys} + {feature}]",
                    concat!("vpcmpud {above}, {key}, dword ptr [{thresholds} + 4*", $split, "]{{1to16}}, 6"),
                    concat!("vpandd {left}{{{above}}}, {left}, dword ptr [{right} + 4*", $split, "]{{1to16}}"),
                    features = in(reg) features.as_ptr(),
                    keys = in(reg) keys.as_ptr(),
                    thresholds = in(reg) thresholds.as_ptr(),
                    right = in(reg) LEFT_TO_RIGHT.as_ptr(),
                    feature = out(reg) _,
                    key = out(zmm_reg) _,
                    above = out(kreg) _,
                    left = inout(zmm_reg) $left,
                    options(pure, readonly, nostack)
                );
            }
        )* };
    }
    ask!(a 0 b 1 c 2 a 3 b 4 c 5 a 6 b 7 c 8 a 9 b 10 c 11 a 12 b 13 c 14);
    let left = _mm512_and_si512(_mm512_and_si512(a, b), c);
    // As many as there are zeros below the lowest one.
    let first = _mm512_popcnt_epi32(_mm512_andnot_si512(left, _mm512_add_epi32(left, all)));
    let places = _mm512_permutexvar_epi32(first, bytemuck::cast(*places));
    let base = _mm512_set1_epi64(base.cast_signed());
    let low = _mm512_slli_epi64::<SHIFT>(_mm512_cvtepu32_epi64(_mm512_castsi512_si256(places)));
    let high = _mm512_slli_epi64::<SHIFT>(_mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64::<1>(places)));
    *out = bytemuck::cast([_mm512_add_epi64(base, low), _mm512_add_epi64(base, high)]);
}
