//! Checks small trees side by side.
//!
//! Their nodes need no check to be safe: whatever their bytes, a kernel reaches a lane or a leaf that exists. What is checked of them is that they
//! ask features that there are.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::dtype::Element;
use crate::model::plan::lanes::{BLOCK, FEATURES, NAN_LEFT, NODES, SPARE, THRESHOLDS, TREES, leaves_of};
use crate::model::plan::validate::Check;
use crate::model::plan::{Boosted, Float, Head, PlanError, TreeLayout, Trees};

impl Check<'_> {
    pub(super) fn lanes(&self, trees: &Trees) -> Result<(), PlanError> {
        let TreeLayout::Lanes { heap, thresholds, starts, chunks, groups, nodes, leaves, origin } =
            trees.layout
        else {
            return Ok(());
        };
        let Head::Boosted(Boosted { sum, .. }) = trees.head else {
            return Err(self.field("head", "boosted, for trees side by side", 0));
        };
        if trees.n_features as usize > FEATURES {
            return Err(self.field("n_features", &format!("up to {FEATURES}"), u64::from(trees.n_features)));
        }
        let n_groups = u64::from(trees.n_trees).div_ceil(TREES as u64);
        let groups = self.starts("groups", groups, n_groups)?;
        self.places(heap, groups)?;
        let n_places = u64::from(groups.last().copied().unwrap_or(0));
        let width = if heap.is_some() { 2 } else { 3 };
        let nodes = self.array::<u8>("nodes", nodes, &[n_places, width, TREES as u64])?;
        for columns in nodes.chunks_exact(TREES).step_by(width as usize) {
            let largest = columns.iter().fold(0, |largest, column| largest.max(column & !NAN_LEFT));
            if u32::from(largest) >= trees.n_features {
                let expected = format!("columns below {}", trees.n_features);
                return Err(self.field("nodes", &expected, u64::from(largest)));
            }
        }
        let n_leaves = leaves_of(groups, trees.n_trees as usize - 1).end as u64;
        self.array::<u32>("origin", origin, &[n_leaves])?;
        let with_spare = [n_leaves + SPARE as u64];
        match sum {
            Float::F32 => self.array::<f32>("leaves", leaves, &with_spare).map(|_| ())?,
            Float::F64 => self.array::<f64>("leaves", leaves, &with_spare).map(|_| ())?,
        }
        let n_chunks = self.info("chunks", chunks)?.shape.first().copied().unwrap_or(0).saturating_sub(1);
        let chunks = self.starts("chunks", chunks, n_chunks)?;
        self.equal("chunks", n_groups, u64::from(chunks.last().copied().unwrap_or(0)))?;
        let n_spans = n_chunks.saturating_mul(u64::from(trees.n_features));
        let starts = self.starts("starts", starts, n_spans)?;
        match trees.input {
            Float::F32 => self.blocks::<f32>(thresholds, starts, f32::INFINITY),
            Float::F64 => self.blocks::<f64>(thresholds, starts, f64::INFINITY),
        }
    }

    /// As many as a heap has, or at most as many as a byte of the kernel counts.
    fn places(&self, heap: Option<u32>, groups: &[u32]) -> Result<(), PlanError> {
        let (least, most) = match heap {
            None => (0, NODES),
            Some(depth @ 3..=6) => ((1 << depth) - 1, (1 << depth) - 1),
            Some(depth) => return Err(self.field("heap", "3 to 6", u64::from(depth))),
        };
        let mut places = groups.windows(2).map(|span| (span[1] - span[0]) as usize);
        match places.find(|places| !(least..=most).contains(places)) {
            None => Ok(()),
            Some(places) => Err(self.field("groups", &format!("{least} to {most} places"), places as u64)),
        }
    }

    /// Thresholds ascend, and are found by the blocks before them.
    fn blocks<F: Element + PartialOrd>(
        &self,
        id: ArrayId,
        starts: &[u32],
        infinity: F,
    ) -> Result<(), PlanError> {
        let n = starts.last().copied().unwrap_or(0);
        let blocks = self.array::<F>("thresholds", id, &[u64::from(n), BLOCK as u64])?.as_chunks::<BLOCK>().0;
        for span in starts.windows(2) {
            let of_feature = &blocks[span[0] as usize..span[1] as usize];
            let fine = match of_feature {
                [] => true,
                [all] => all.is_sorted(),
                [_, _] => false,
                [lasts, blocks @ ..] => {
                    let all = blocks.as_flattened();
                    let inner = lasts.iter().zip(&blocks[..blocks.len() - 1]);
                    all.len() <= THRESHOLDS + 1
                        && all.is_sorted()
                        && all.get(THRESHOLDS).is_none_or(|last| *last == infinity)
                        && inner.clone().all(|(last, block)| *last == block[BLOCK - 1])
                        && lasts[blocks.len() - 1..].iter().all(|last| *last == infinity)
                }
            };
            if !fine {
                let expected = "ascending for each feature, at most 255";
                return Err(self.field("thresholds", expected, u64::from(span[0])));
            }
        }
        Ok(())
    }
}
