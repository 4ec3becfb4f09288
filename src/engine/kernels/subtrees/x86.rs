//! The walks. The head of `src/engine/kernels/subtrees.rs` shows why none reads outside.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_cmpgt_epu32_mask, _mm512_permutex2var_epi32,
};

use crate::engine::kernels::compact::{LANES, RowKeys};
use crate::engine::kernels::subtrees::{KeysOfRow, LeavesOfTree, TREES, Walks};
use crate::model::plan::compact::Crown;
use crate::model::plan::subtrees::{DISTANCE_BYTES, ENDS, LEAF, SPLITS, Subtree};

/// Rows whose keys are in registers.
const ROWS: usize = LANES / 2;
/// Subtrees take `1 << LINE` bytes.
const LINE: u32 = size_of::<Subtree>().ilog2();

/// The end that answers lead to: bit `i` says that split `i` leads right. The highest bit is of no split.
static END_OF_ANSWERS: [u8; 256] = {
    let mut ends = [0; 256];
    let mut answers = 0;
    while answers < 256 {
        let mut at = 0;
        while at < SPLITS {
            at = 2 * at + 1 + (answers >> at & 1);
        }
        ends[answers] = (at - SPLITS) as u8;
        answers += 1;
    }
    ends
};

/// The keys of a row in two registers.
type Registers = [__m512i; 2];

fn registers(row: &KeysOfRow) -> Registers {
    bytemuck::cast(row.0)
}

/// What the word of the end says that a row comes to in the subtree at the address `$at`.
macro_rules! ask {
    ($at:expr, $row:expr) => {{
        let word: u64;
        // SAFETY: there is a subtree at `$at`, and `END_OF_ANSWERS` has 256 entries below eight.
        unsafe {
            asm!(
                "vmovdqu32 ymm0, ymmword ptr [{at} + 32]",
                "vpermi2d zmm0, {low}, {high}",
                "vpcmpud k1, ymm0, ymmword ptr [{at}], 6",
                "kmovb {word:e}, k1",
                "movzx {word:e}, byte ptr [{ends} + {word}]",
                "mov {word:e}, dword ptr [{at} + 4*{word} + 32]",
                at = in(reg) $at,
                ends = in(reg) END_OF_ANSWERS.as_ptr(),
                low = in(zmm_reg) $row[0],
                high = in(zmm_reg) $row[1],
                word = out(reg) word,
                out("zmm0") _,
                out("k1") _,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        word
    }};
}

/// The subtree after the one at `$at`, asked for ahead if `$fetch`.
macro_rules! next {
    ($at:expr, $row:expr, $fetch:expr) => {{
        let next = $at + (ask!($at, $row) & u64::from(DISTANCE_BYTES));
        fetch::<{ $fetch }>(next);
        next
    }};
}

/// The leaf id that a row comes to in its last subtree.
macro_rules! leaf {
    ($at:expr, $row:expr) => {
        (ask!($at, $row) >> LEAF) as u32
    };
}

/// Does something for every row. No loop, so that the keys stay in registers.
macro_rules! each {
    ($row:ident => $do:expr) => {
        each!($row $do; 0 1 2 3 4 5 6 7);
    };
    ($row:ident $do:expr; $($number:literal)*) => {
        $( { const $row: usize = $number; $do; } )*
    };
}

/// Calls a function for the number of hops.
macro_rules! with_hops {
    ($walks:ident, $function:ident, $fetch:expr, ($($argument:expr),*)) => {
        match $walks.hops {
            1 => $function::<1, { $fetch }>($($argument),*),
            2 => $function::<2, { $fetch }>($($argument),*),
            _ => $function::<3, { $fetch }>($($argument),*),
        }
    };
}

impl Walks<'_> {
    /// Up to 16 rows, of which `n_rows` are asked for, through as many trees from `first` on as `leaves` is for. `columns` and
    /// `rows` have the same keys. What is looked at is asked for ahead if `FETCH`.
    #[inline]
    pub(in crate::engine) fn rows<const FETCH: bool>(
        &self,
        first: usize,
        columns: &[RowKeys],
        rows: &[KeysOfRow; LANES],
        n_rows: usize,
        leaves: &mut [LeavesOfTree],
    ) {
        assert!(columns.len() == self.n_columns + 1, "a key for every column, and one more");
        let mut places = [[0; LANES]; TREES];
        let places = &mut places[..leaves.len()];
        let trees = self.crowns[first..].iter().zip(&self.below[first..]);
        assert!(trees.len() >= leaves.len(), "there are such trees");
        for ((crown, below), places) in trees.zip(&mut *places) {
            self.machine.ends_of_crown::<LINE>(crown, below, self.address(), columns, places);
            places.iter().for_each(|&place| fetch::<FETCH>(place));
        }
        let halves = rows.as_chunks::<ROWS>().0.iter().zip([0, ROWS]);
        for (rows, at) in halves.filter(|(_, at)| *at < n_rows) {
            // SAFETY: a machine exists, so the processor has what is enabled. Crowns lead to subtrees.
            unsafe { with_hops!(self, half, FETCH, (rows, at, places, leaves)) }
        }
    }

    /// One row through all trees.
    #[inline]
    pub(in crate::engine) fn row(&self, row: &KeysOfRow, leaves: &mut [u32]) {
        assert!(leaves.len() == self.crowns.len().min(self.below.len()), "a leaf for every tree");
        let row = registers(row);
        let crowns = self.crowns.chunks(LANES).zip(self.below.chunks(LANES));
        for ((crowns, below), leaves) in crowns.zip(leaves.chunks_mut(LANES)) {
            let mut places = [0; LANES];
            let places = &mut places[..leaves.len()];
            for ((crown, below), place) in crowns.iter().zip(below).zip(&mut *places) {
                // SAFETY: as above.
                let end = unsafe { end_of_row(crown, row) };
                *place = self.address() + (u64::from(below[end]) << LINE);
                fetch::<true>(*place);
            }
            // SAFETY: as above.
            unsafe { with_hops!(self, some_trees, true, (row, places, leaves)) }
        }
    }

    /// Where the subtrees begin.
    fn address(&self) -> u64 {
        self.subtrees.as_ptr().expose_provenance() as u64
    }
}

/// Asks for the line at an address ahead of its use.
#[inline(always)]
fn fetch<const FETCH: bool>(address: u64) {
    if FETCH {
        // SAFETY: a prefetch reads nothing that the program sees, and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address as usize)) }
    }
}

/// The end of a crown that one row comes to.
#[inline]
#[target_feature(enable = "avx512f")]
fn end_of_row([thresholds, features, _]: &Crown, [low, high]: Registers) -> usize {
    let keys = _mm512_permutex2var_epi32(low, bytemuck::cast(*features), high);
    let right = _mm512_cmpgt_epu32_mask(keys, bytemuck::cast(*thresholds));
    let three_levels = usize::from(END_OF_ANSWERS[usize::from(right) & 0x7f]) % ENDS;
    2 * three_levels + usize::from(right >> SPLITS >> three_levels & 1)
}

/// From `places`, the addresses of subtrees, to leaves, for the rows from `at` on.
///
/// All trees are asked for their first subtrees before any is asked for the next: what waits for an answer would fill the
/// processor's queues, and keep what could go on out of them.
///
/// # Safety
///
/// There are subtrees at those addresses, and wherever they lead.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn half<const HOPS: usize, const FETCH: bool>(
    rows: &[KeysOfRow; ROWS],
    at: usize,
    places: &mut [[u64; LANES]],
    leaves: &mut [LeavesOfTree],
) {
    let rows = rows.each_ref().map(registers);
    for _ in 1..HOPS {
        for places in &mut *places {
            let places = &mut places[at..at + ROWS];
            each!(ROW => places[ROW] = next!(places[ROW], rows[ROW], FETCH));
        }
    }
    for (places, leaves) in places.iter().zip(leaves) {
        let (places, leaves) = (&places[at..at + ROWS], &mut leaves[at..at + ROWS]);
        each!(ROW => leaves[ROW] = leaf!(places[ROW], rows[ROW]));
    }
}

/// From `places`, the addresses of subtrees of as many trees, to the leaves that one row comes to.
///
/// # Safety
///
/// As for [`half`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn some_trees<const HOPS: usize, const FETCH: bool>(
    row: Registers,
    places: &mut [u64],
    leaves: &mut [u32],
) {
    for _ in 1..HOPS {
        for place in &mut *places {
            *place = next!(*place, row, FETCH);
        }
    }
    for (place, leaf) in places.iter().zip(leaves) {
        *leaf = leaf!(*place, row);
    }
}
