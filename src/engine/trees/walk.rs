//! Walking from roots to leaves.
//!
//! The plain version, for one row and one tree:
//!
//! ```text
//! at = root
//! while node[at] is a split:
//!     at += distance[at] + (key[feature[at]] > threshold[at])
//! ```
//!
//! A walk waits for memory at every step, so several go on together: [`LANES`] rows of one tree, or as many trees
//! of one row. A leaf leads to itself, so that no lane needs to ask whether it has arrived; all are asked
//! together after every [`STRIDE`] steps. Validation has shown that distances stay within the tree and lead
//! forward, so the walk ends; indexing is checked all the same, as this is safe code.
#![forbid(unsafe_code)]

use crate::model::plan::compact::{NAN_KEY, Node, Packing};

pub(in crate::engine) use crate::engine::kernels::compact::LANES;
/// Steps between two looks at whether all lanes have arrived.
const STRIDE: usize = 4;

/// The nodes of all trees.
#[derive(Clone, Copy)]
pub(super) struct Nodes<'a, N> {
    pub nodes: &'a [N],
    pub packing: Packing,
    /// A bit per node: NaN goes left. Empty if NaN always goes right.
    pub missing: &'a [u64],
}

impl<N: Node> Nodes<'_, N> {
    /// Moves every lane from `at` to its leaf. `key(feature, lane)` is what the lane compares with; `passed(lane, split)` is
    /// told of every split on its way.
    ///
    /// `NAN`: some key may be [`NAN_KEY`], and there are nodes where it goes left.
    #[inline(always)]
    pub(super) fn walk<const L: usize, const NAN: bool>(
        &self,
        at: &mut [usize; L],
        key: impl Fn(usize, usize) -> u32,
        mut passed: impl FnMut(usize, usize),
    ) {
        let mut step = |at: &mut usize, lane: usize| {
            let split = *at;
            let distance = self.step::<NAN>(at, lane, &key);
            if distance != 0 {
                passed(lane, split);
            }
            distance
        };
        loop {
            for _ in 1..STRIDE {
                for (lane, at) in at.iter_mut().enumerate() {
                    step(at, lane);
                }
            }
            let mut moved = 0;
            for (lane, at) in at.iter_mut().enumerate() {
                moved |= step(at, lane);
            }
            if moved == 0 {
                return;
            }
        }
    }

    /// One step of one lane; the distance to the left child of where it was.
    #[inline(always)]
    fn step<const NAN: bool>(
        &self,
        at: &mut usize,
        lane: usize,
        key: &impl Fn(usize, usize) -> u32,
    ) -> usize {
        let node = self.nodes[*at];
        let key = key(node.feature(self.packing), lane);
        let distance = node.distance(self.packing);
        let mut right = key > node.low();
        if NAN {
            right &= key != NAN_KEY || self.missing[*at / 64] >> (*at % 64) & 1 == 0;
        }
        *at += distance + usize::from(right);
        distance
    }
}
