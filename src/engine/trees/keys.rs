//! Rows of the input as keys, made once for all trees.
#![forbid(unsafe_code)]

use ndarray::ArrayView2;

use crate::engine::rows::{self, Number};
use crate::engine::trees::walk::LANES;
use crate::model::plan::compact::{NAN_KEY, row_key};

/// What values become before nodes compare them.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Encoder<'a> {
    /// Integers in the order of `float32`.
    Keys,
    /// Positions among the thresholds of the feature.
    Ranks {
        /// Ascending for each feature.
        thresholds: &'a [f64],
        /// Where those of each feature begin.
        starts: &'a [u32],
    },
}

impl Encoder<'_> {
    #[inline(always)]
    fn key<T: Number>(self, feature: usize, value: T) -> u32 {
        match self {
            Encoder::Keys => row_key(value.f32()),
            Encoder::Ranks { thresholds, starts } => {
                let value = value.f64();
                if value.is_nan() {
                    return NAN_KEY;
                }
                let own = &thresholds[starts[feature] as usize..starts[feature + 1] as usize];
                own.partition_point(|threshold| *threshold < value) as u32
            }
        }
    }
}

/// Keys of rows in groups of [`LANES`]: per group one lane array for each feature, then one of zeros for leaves.
pub(in crate::engine) struct Keys {
    keys: Vec<[u32; LANES]>,
    /// Per group: whether some key is NaN's.
    nan: Vec<bool>,
    stride: usize,
}

impl Keys {
    pub(in crate::engine) fn new<T: Number>(
        encoder: Encoder<'_>,
        x: &ArrayView2<'_, T>,
        first_row: usize,
        n_rows: usize,
    ) -> Self {
        let (groups, stride) = (n_rows.div_ceil(LANES), x.ncols() + 1);
        let mut keys = vec![[0; LANES]; groups * stride];
        let mut nan = vec![false; groups];
        for (group, (keys, nan)) in keys.chunks_exact_mut(stride).zip(&mut nan).enumerate() {
            let first = group * LANES;
            for row in first..n_rows.min(first + LANES) {
                let lane = row - first;
                rows::for_each(x, first_row + row, |feature, value| {
                    let key = encoder.key(feature, value);
                    keys[feature][lane] = key;
                    *nan |= key == NAN_KEY;
                });
            }
        }
        Keys { keys, nan, stride }
    }

    /// The groups, and whether each has NaN.
    pub(in crate::engine) fn groups(&self) -> impl Iterator<Item = (&[[u32; LANES]], bool)> {
        self.keys.chunks_exact(self.stride).zip(self.nan.iter().copied())
    }
}

/// Keys of one row, with the zero for leaves, and whether there is a NaN.
pub(super) fn one_row<T: Number>(
    encoder: Encoder<'_>,
    x: &ArrayView2<'_, T>,
    row: usize,
    keys: &mut Vec<u32>,
) -> bool {
    let mut nan = false;
    keys.clear();
    rows::for_each(x, row, |feature, value| {
        let key = encoder.key(feature, value);
        keys.push(key);
        nan |= key == NAN_KEY;
    });
    keys.push(0);
    nan
}
