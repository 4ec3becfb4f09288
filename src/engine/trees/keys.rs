//! Rows of the input as keys, made once for all trees.
#![forbid(unsafe_code)]

use ndarray::ArrayView2;

use crate::engine::rows::{self, Number};
use crate::engine::trees::categories::Sets;
use crate::engine::trees::walk::LANES;
use crate::model::plan::compact::{NAN_KEY, row_key};

/// LightGBM's zero.
const ZERO: f64 = 1e-35_f32 as f64;

/// What values become before nodes compare them.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Encoder<'a> {
    pub(super) compare: Compare<'a>,
    /// Per feature: whether zero is missing. Empty: nowhere.
    pub(super) zero_missing: &'a [u8],
    /// Columns behind the features.
    pub(super) sets: Option<Sets<'a>>,
}

/// How numbers become keys.
#[derive(Clone, Copy)]
pub(super) enum Compare<'a> {
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

impl Encoder<'static> {
    /// Features alone, in the order of `float32`.
    pub(in crate::engine) const KEYS: Self =
        Encoder { compare: Compare::Keys, zero_missing: &[], sets: None };
}

impl Encoder<'_> {
    /// Columns of an input of `n_features`.
    pub(super) fn n_columns(&self, n_features: usize) -> usize {
        n_features + self.sets.map_or(0, Sets::len)
    }

    /// Calls `each` with every column of a row and its key.
    #[inline(always)]
    fn row<T: Number>(&self, x: &ArrayView2<'_, T>, row: usize, mut each: impl FnMut(usize, u32)) {
        rows::for_each(x, row, |feature, value| each(feature, self.key(feature, value)));
        let Some(sets) = self.sets else { return };
        for (set, &feature) in sets.features.iter().enumerate() {
            let value = x[[row, feature as usize]];
            let value = match self.compare {
                Compare::Keys => f64::from(value.f32()),
                Compare::Ranks { .. } => value.f64(),
            };
            each(x.ncols() + set, sets.key(set, value));
        }
    }

    #[inline(always)]
    fn key<T: Number>(&self, feature: usize, value: T) -> u32 {
        if self.zero_missing.get(feature).is_some_and(|&zero| zero != 0) && value.f64().abs() <= ZERO {
            return NAN_KEY;
        }
        match self.compare {
            Compare::Keys => row_key(value.f32()),
            Compare::Ranks { thresholds, starts } => {
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
        let (groups, stride) = (n_rows.div_ceil(LANES), encoder.n_columns(x.ncols()) + 1);
        let mut keys = vec![[0; LANES]; groups * stride];
        let mut nan = vec![false; groups];
        for (group, (keys, nan)) in keys.chunks_exact_mut(stride).zip(&mut nan).enumerate() {
            let first = group * LANES;
            for row in first..n_rows.min(first + LANES) {
                let lane = row - first;
                encoder.row(x, first_row + row, |column, key| {
                    keys[column][lane] = key;
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
    encoder.row(x, row, |_, key| {
        keys.push(key);
        nan |= key == NAN_KEY;
    });
    keys.push(0);
    nan
}
