//! 32 bytes at a time with AVX2.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256, __m256d, __m256i, _CMP_LT_OQ, _mm_cvtsi64_si128, _mm256_add_epi8, _mm256_add_epi64,
    _mm256_add_pd, _mm256_add_ps, _mm256_and_si256, _mm256_andnot_si256, _mm256_blendv_epi8,
    _mm256_castsi256_si128, _mm256_cmp_pd, _mm256_cmp_ps, _mm256_cmpeq_epi32, _mm256_cmpgt_epi8,
    _mm256_cvtepi8_epi32, _mm256_cvtepu32_epi64, _mm256_extracti128_si256, _mm256_max_epu32,
    _mm256_movemask_pd, _mm256_movemask_ps, _mm256_or_si256, _mm256_permute2f128_pd,
    _mm256_permute4x64_epi64, _mm256_permutevar8x32_epi32, _mm256_permutevar8x32_ps, _mm256_set1_epi8,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_pd, _mm256_set1_ps, _mm256_shuffle_epi8,
    _mm256_shuffle_ps, _mm256_slli_epi16, _mm256_unpackhi_epi32, _mm256_unpacklo_epi32, _mm256_xor_si256,
};

use crate::engine::kernels::compact::RowKeys;
use crate::engine::kernels::few;
use crate::engine::kernels::lanes::{self, Bytes, Eights, GroupNodes, Machine, Real, Row, Tile};
use crate::model::plan::compact::Crown;
use crate::model::plan::lanes::BLOCK;

/// A processor with AVX2, BMI1, BMI2 and POPCNT. Exists only where there is one.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Avx2(());

impl Avx2 {
    /// This processor, if it has them.
    pub(in crate::engine) fn here() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt");
        found.then_some(Avx2(()))
    }
}

/// Calls an intrinsic.
macro_rules! avx2 {
    ($call:expr) => {
        // SAFETY: an `Avx2` exists, so the processor has what is enabled; values go in and come out, no memory is touched.
        unsafe { $call }
    };
}

impl Machine for Avx2 {
    type Lanes = __m256i;

    #[inline(always)]
    fn load(self, bytes: &Bytes) -> __m256i {
        bytemuck::cast(*bytes)
    }

    #[inline(always)]
    fn store(self, lanes: __m256i, bytes: &mut Bytes) {
        *bytes = bytemuck::cast(lanes);
    }

    #[inline(always)]
    fn splat(self, byte: i8) -> __m256i {
        avx2!(_mm256_set1_epi8(byte))
    }

    #[inline(always)]
    fn less(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_cmpgt_epi8(b, a))
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_add_epi8(a, b))
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_xor_si256(a, b))
    }

    #[inline(always)]
    fn without(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_andnot_si256(a, b))
    }

    #[inline(always)]
    fn choose(self, mask: __m256i, yes: __m256i, no: __m256i) -> __m256i {
        avx2!(_mm256_blendv_epi8(no, yes, mask))
    }

    #[inline(always)]
    fn look_up<const T: usize>(self, row: &Row, upper: bool, columns: __m256i) -> __m256i {
        let low = avx2!(_mm256_and_si256(columns, self.splat(127)));
        let tables = if upper { &row[8..] } else { &row[..8] };
        if T == 1 {
            return self.of_16(&tables[0], low);
        }
        let bit_4 = avx2!(_mm256_slli_epi16::<3>(columns));
        let of_32 = self.of_32(&tables[..2], low, bit_4);
        if T == 2 {
            return of_32;
        }
        let bit_5 = avx2!(_mm256_slli_epi16::<2>(columns));
        let of_64 = self.choose(bit_5, self.of_32(&tables[2..4], low, bit_4), of_32);
        if T == 4 {
            return of_64;
        }
        let bit_6 = avx2!(_mm256_slli_epi16::<1>(columns));
        let upper =
            self.choose(bit_5, self.of_32(&tables[6..8], low, bit_4), self.of_32(&tables[4..6], low, bit_4));
        self.choose(bit_6, upper, of_64)
    }

    #[inline(always)]
    fn below_f32(self, block: &[f32; BLOCK], value: f32) -> usize {
        let [low, high]: [__m256; 2] = bytemuck::cast(*block);
        let value = avx2!(_mm256_set1_ps(value));
        let low = avx2!(_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(low, value)));
        let high = avx2!(_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(high, value)));
        (low | high << 8).count_ones() as usize
    }

    #[inline(always)]
    fn below_f64(self, block: &[f64; BLOCK], value: f64) -> usize {
        let parts: [__m256d; 4] = bytemuck::cast(*block);
        let value = avx2!(_mm256_set1_pd(value));
        let below =
            |at: usize| avx2!(_mm256_movemask_pd(_mm256_cmp_pd::<_CMP_LT_OQ>(parts[at], value))) << (4 * at);
        ((below(0) | below(1)) | (below(2) | below(3))).count_ones() as usize
    }

    /// Eight leaf values fill a register, which is looked up in for eight rows at once.
    #[inline(always)]
    fn add_f32(self, leaves: &Eights<'_, f32>, found: &[[Bytes; 2]; 8], sums: &mut [f32]) {
        let (eights, rest) = sums.as_chunks_mut::<8>();
        let first = 8 * eights.len();
        for (eight, sums) in eights.iter_mut().enumerate() {
            let mut sum: __m256 = bytemuck::cast(*sums);
            for (leaves, found) in leaves.iter().zip(found) {
                let value = avx2!(_mm256_permutevar8x32_ps(bytemuck::cast(**leaves), words(found, eight)));
                sum = avx2!(_mm256_add_ps(sum, value));
            }
            *sums = bytemuck::cast(sum);
        }
        lanes::add_eights(leaves, found, first, rest);
    }

    /// As in `f32`, for the lower and the upper halves of values.
    #[inline(always)]
    fn add_f64(self, leaves: &Eights<'_, f64>, found: &[[Bytes; 2]; 8], sums: &mut [f64]) {
        let (eights, rest) = sums.as_chunks_mut::<8>();
        let first = 8 * eights.len();
        let mut halves = [[self.splat(0); 2]; 8];
        for ([lower, upper], leaves) in halves.iter_mut().zip(leaves) {
            let [low, high]: [__m256; 2] = bytemuck::cast(**leaves);
            // The halves of values 0 1 4 5 2 3 6 7.
            *lower = bytemuck::cast(avx2!(_mm256_shuffle_ps::<0x88>(low, high)));
            *upper = bytemuck::cast(avx2!(_mm256_shuffle_ps::<0xdd>(low, high)));
            *lower = avx2!(_mm256_permute4x64_epi64::<0xd8>(*lower));
            *upper = avx2!(_mm256_permute4x64_epi64::<0xd8>(*upper));
        }
        for (eight, sums) in eights.iter_mut().enumerate() {
            let [low, high]: [__m256d; 2] = bytemuck::cast(*sums);
            // Rows 0 1 4 5 and 2 3 6 7, as halves are put together.
            let mut outer = avx2!(_mm256_permute2f128_pd::<0x20>(low, high));
            let mut inner = avx2!(_mm256_permute2f128_pd::<0x31>(low, high));
            for ([lower, upper], found) in halves.iter().zip(found) {
                let rows = words(found, eight);
                let low = avx2!(_mm256_permutevar8x32_epi32(*lower, rows));
                let high = avx2!(_mm256_permutevar8x32_epi32(*upper, rows));
                let value: __m256d = bytemuck::cast(avx2!(_mm256_unpacklo_epi32(low, high)));
                outer = avx2!(_mm256_add_pd(outer, value));
                let value: __m256d = bytemuck::cast(avx2!(_mm256_unpackhi_epi32(low, high)));
                inner = avx2!(_mm256_add_pd(inner, value));
            }
            let low = avx2!(_mm256_permute2f128_pd::<0x20>(outer, inner));
            let high = avx2!(_mm256_permute2f128_pd::<0x31>(outer, inner));
            *sums = bytemuck::cast([low, high]);
        }
        lanes::add_eights(leaves, found, first, rest);
    }
}

/// The leaves of eight rows, as words of 32 bits.
#[inline(always)]
fn words(found: &[Bytes; 2], eight: usize) -> __m256i {
    let bytes: &[[[i8; 8]; 4]; 2] = bytemuck::cast_ref(found);
    avx2!(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(bytemuck::cast(bytes.as_flattened()[eight % 8]))))
}

/// Ways into the kernels of `lanes`, each compiled as a whole for a machine of these features.
macro_rules! compiled_for {
    ($machine:ident, $features:literal) => {
        impl $machine {
            #[inline]
            pub(in crate::engine) fn keys<F: Real>(
                self,
                blocks: &[[F; BLOCK]],
                values: &[F],
                right: &mut [i8],
                left: &mut [i8],
            ) {
                #[target_feature(enable = $features)]
                fn compiled<F: Real>(
                    m: $machine,
                    blocks: &[[F; BLOCK]],
                    values: &[F],
                    right: &mut [i8],
                    left: &mut [i8],
                ) {
                    lanes::keys(m, blocks, values, right, left);
                }
                // SAFETY: a machine exists only where the processor has what is enabled.
                unsafe { compiled(self, blocks, values, right, left) }
            }

            #[inline]
            pub(in crate::engine) fn trees_of_tile<const H: usize>(
                self,
                nodes: GroupNodes<'_>,
                first: usize,
                tile: &Tile,
                leaves: &mut [[Bytes; 2]],
            ) {
                #[target_feature(enable = $features)]
                fn compiled<const H: usize>(
                    m: $machine,
                    nodes: GroupNodes<'_>,
                    first: usize,
                    tile: &Tile,
                    leaves: &mut [[Bytes; 2]],
                ) {
                    lanes::trees_of_tile::<$machine, H>(m, nodes, first, tile, leaves);
                }
                // SAFETY: as above.
                unsafe { compiled::<H>(self, nodes, first, tile, leaves) }
            }

            #[inline]
            pub(in crate::engine) fn keys_of_rows<F: Real, const N: usize>(
                self,
                blocks: &[[F; BLOCK]],
                starts: &[u32],
                values: &[[F; N]],
                first: usize,
                rows: &mut [Row],
            ) -> bool {
                #[target_feature(enable = $features)]
                fn compiled<F: Real, const N: usize>(
                    m: $machine,
                    blocks: &[[F; BLOCK]],
                    starts: &[u32],
                    values: &[[F; N]],
                    first: usize,
                    rows: &mut [Row],
                ) -> bool {
                    few::keys_of_rows(m, blocks, starts, values, first, rows)
                }
                // SAFETY: as above.
                unsafe { compiled(self, blocks, starts, values, first, rows) }
            }

            #[inline]
            pub(in crate::engine) fn add_eights<F: Real>(
                self,
                leaves: &Eights<'_, F>,
                found: &[[Bytes; 2]; 8],
                sums: &mut [F],
            ) {
                #[target_feature(enable = $features)]
                fn compiled<F: Real>(
                    m: $machine,
                    leaves: &Eights<'_, F>,
                    found: &[[Bytes; 2]; 8],
                    sums: &mut [F],
                ) {
                    F::add(m, leaves, found, sums);
                }
                // SAFETY: as above.
                unsafe { compiled(self, leaves, found, sums) }
            }

            #[inline]
            pub(in crate::engine) fn trees_of_rows<const T: usize, const NAN: bool>(
                self,
                nodes: GroupNodes<'_>,
                rows: &[Row],
                leaves: &mut [Bytes],
            ) {
                #[target_feature(enable = $features)]
                fn compiled<const T: usize, const NAN: bool>(
                    m: $machine,
                    nodes: GroupNodes<'_>,
                    rows: &[Row],
                    leaves: &mut [Bytes],
                ) {
                    few::trees_of_rows::<$machine, T, NAN>(m, nodes, rows, leaves);
                }
                // SAFETY: as above.
                unsafe { compiled::<T, NAN>(self, nodes, rows, leaves) }
            }
        }
    };
}
pub(super) use compiled_for;

compiled_for!(Avx2, "avx2,bmi1,bmi2,popcnt");

impl Avx2 {
    /// The nodes that up to 16 rows come to below the crown of the tree with this root.
    ///
    /// # Panics
    ///
    /// If the crown reads columns that `keys` do not have.
    #[inline]
    pub(in crate::engine) fn below_crown(
        self,
        crown: &Crown,
        root: u64,
        keys: &[RowKeys],
        out: &mut [u64; 16],
    ) {
        // SAFETY: an `Avx2` exists, so the processor has what is enabled.
        unsafe { below_crown(self, crown, root, keys, out) }
    }
}

#[target_feature(enable = "avx2,bmi1,bmi2")]
fn below_crown(m: Avx2, crown: &Crown, root: u64, keys: &[RowKeys], out: &mut [u64; 16]) {
    m.below(crown, root, keys, out);
}

/// A word of 32 bits for each of 16 rows.
type Words = [__m256i; 2];

/// `bit` in the words that are not all ones.
#[inline(always)]
fn right(left: __m256i, bit: i32) -> __m256i {
    avx2!(_mm256_andnot_si256(left, _mm256_set1_epi32(bit)))
}

/// All splits of a crown are asked; the answers of the upper levels choose among those of the lower ones.
impl Avx2 {
    #[inline(always)]
    fn below(self, crown: &Crown, root: u64, keys: &[RowKeys], out: &mut [u64; 16]) {
        let first = self.left(crown, 0, keys);
        let second = self.pair(first, crown, 1, keys);
        let (one, other) = (self.pair(second, crown, 3, keys), self.pair(second, crown, 5, keys));
        let third = self.either(first, one, other);
        let (one, other) = (self.pair(third, crown, 7, keys), self.pair(third, crown, 9, keys));
        let left_half = self.either(second, one, other);
        let (one, other) = (self.pair(third, crown, 11, keys), self.pair(third, crown, 13, keys));
        let fourth = self.either(first, left_half, self.either(second, one, other));
        let [table, other_table]: Words = bytemuck::cast(crown[2]);
        let root = avx2!(_mm256_set1_epi64x(root.cast_signed()));
        let mut found = [root; 4];
        for half in 0..2 {
            let upper = avx2!(_mm256_or_si256(right(second[half], 4), right(third[half], 2)));
            let slot = avx2!(_mm256_or_si256(upper, right(fourth[half], 1)));
            let one = avx2!(_mm256_permutevar8x32_epi32(table, slot));
            let other = avx2!(_mm256_permutevar8x32_epi32(other_table, slot));
            let below = self.choose(first[half], one, other);
            let (low, high) = avx2!((_mm256_castsi256_si128(below), _mm256_extracti128_si256::<1>(below)));
            found[2 * half] = avx2!(_mm256_add_epi64(root, _mm256_cvtepu32_epi64(low)));
            found[2 * half + 1] = avx2!(_mm256_add_epi64(root, _mm256_cvtepu32_epi64(high)));
        }
        *out = bytemuck::cast(found);
    }

    /// The answer of split `at`, or of the one after it.
    #[inline(always)]
    fn pair(self, left: Words, crown: &Crown, at: usize, keys: &[RowKeys]) -> Words {
        self.either(left, self.left(crown, at, keys), self.left(crown, at + 1, keys))
    }

    /// All bits where the key is not above the threshold.
    #[inline(always)]
    fn left(self, [thresholds, features, _]: &Crown, split: usize, keys: &[RowKeys]) -> Words {
        let threshold = avx2!(_mm256_set1_epi32(thresholds[split].cast_signed()));
        let mut keys: Words = bytemuck::cast(keys[features[split] as usize]);
        for keys in &mut keys {
            *keys = avx2!(_mm256_cmpeq_epi32(_mm256_max_epu32(*keys, threshold), threshold));
        }
        keys
    }

    #[inline(always)]
    fn either(self, left: Words, yes: Words, no: Words) -> Words {
        [self.choose(left[0], yes[0], no[0]), self.choose(left[1], yes[1], no[1])]
    }
}

/// A shuffle finds a byte among 16 by the lower half of the column; upper bits choose between shuffles.
impl Avx2 {
    #[inline(always)]
    fn of_16(self, table: &[i8; 16], low: __m256i) -> __m256i {
        avx2!(_mm256_shuffle_epi8(bytemuck::cast([*table; 2]), low))
    }

    #[inline(always)]
    fn of_32(self, tables: &[[i8; 16]], low: __m256i, bit_4: __m256i) -> __m256i {
        self.choose(bit_4, self.of_16(&tables[1], low), self.of_16(&tables[0], low))
    }
}
