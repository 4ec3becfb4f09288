//! Rows of the input as keys, made once for all trees.
#![forbid(unsafe_code)]

use bytemuck::{Pod, Zeroable};
use ndarray::{ArrayView2, Axis, Slice};

use crate::engine::kernels::compact::{LANES, OneKey, RowKeys};
use crate::engine::kernels::subtrees::KeysOfRow;
use crate::engine::rows::{self, Number};
use crate::engine::trees::categories::Sets;
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

impl Compare<'_> {
    /// The value as the library has it.
    #[inline(always)]
    fn number<T: Number>(self, value: T) -> f64 {
        match self {
            Compare::Keys => f64::from(value.f32()),
            Compare::Ranks { .. } => value.f64(),
        }
    }
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

    /// The keys of one row, then zero; whether one is NaN's.
    pub(super) fn one_row<T: Number>(
        &self,
        x: &ArrayView2<'_, T>,
        row: usize,
        keys: &mut Vec<OneKey>,
    ) -> bool {
        keys.clear();
        let mut nan = false;
        let mut push = |key| {
            nan |= key == NAN_KEY;
            keys.push([key, 0]);
        };
        rows::for_each(x, row, |feature, value| push(self.key(feature, value)));
        if let Some(sets) = self.sets {
            for (set, &feature) in sets.features.iter().enumerate() {
                push(sets.key(set, self.compare.number(x[[row, feature as usize]])));
            }
        }
        keys.push([0; 2]);
        nan
    }

    /// Keys of some columns of up to [`LANES`] rows; whether one is NaN's.
    #[inline(always)]
    fn group<T: Number>(&self, values: &[T; LANES], feature: usize) -> RowKeys {
        let zero = self.zero_missing.get(feature).is_some_and(|&zero| zero != 0);
        let mut keys = match self.compare {
            Compare::Keys => values.map(|value| row_key(value.f32())),
            Compare::Ranks { thresholds, starts } => ranks(
                &thresholds[starts[feature] as usize..starts[feature + 1] as usize],
                &values.map(T::f64),
            ),
        };
        if zero {
            for (key, value) in keys.iter_mut().zip(values) {
                if value.f64().abs() <= ZERO {
                    *key = NAN_KEY;
                }
            }
        }
        keys
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

/// How many of `thresholds`, which ascend, are below each of `values`: a binary search for all lanes at once.
#[inline]
fn ranks(thresholds: &[f64], values: &[f64; LANES]) -> RowKeys {
    let mut at = [0u32; LANES];
    let mut len = thresholds.len();
    while len > 1 {
        let half = len / 2;
        for (at, value) in at.iter_mut().zip(values) {
            // At most `thresholds.len() - len` before, so that this is within.
            let below = thresholds[*at as usize + half - 1] < *value;
            *at += if below { half as u32 } else { 0 };
        }
        len -= half;
    }
    for (at, value) in at.iter_mut().zip(values) {
        let below = thresholds.get(*at as usize).is_some_and(|threshold| threshold < value);
        *at = if value.is_nan() { NAN_KEY } else { *at + u32::from(below) };
    }
    at
}

/// Keys of a column, in a line of the cache: vectors of them are then read in one piece.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line(RowKeys);

/// Keys of rows in groups of [`LANES`]: per group an entry for each column, then one of zeros for leaves.
#[derive(Default)]
pub(in crate::engine) struct Keys {
    keys: Vec<Line>,
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
        let mut keys = Keys::default();
        keys.encode(encoder, x, first_row, n_rows);
        keys
    }

    /// Keys in the memory of earlier ones.
    pub(in crate::engine) fn encode<T: Number>(
        &mut self,
        encoder: Encoder<'_>,
        x: &ArrayView2<'_, T>,
        first_row: usize,
        n_rows: usize,
    ) {
        self.stride = encoder.n_columns(x.ncols()) + 1;
        let n_groups = n_rows.div_ceil(LANES);
        self.keys.resize(n_groups * self.stride, Line([0; LANES]));
        self.nan.clear();
        let keys: &mut [RowKeys] = bytemuck::cast_slice_mut(&mut self.keys);
        for (group, keys) in keys.chunks_exact_mut(self.stride).enumerate() {
            let first = group * LANES;
            let end = n_rows.min(first + LANES);
            let rows = x.slice_axis(Axis(0), Slice::from(first_row + first..first_row + end));
            self.nan.push(encode_group(encoder, &rows, keys));
        }
    }

    /// The keys once more, row by row, for at most 32 columns; 16 rows for each group.
    pub(super) fn by_row(&self, rows: &mut Vec<KeysOfRow>) {
        rows.clear();
        rows.resize(self.groups().len() * LANES, KeysOfRow::zeroed());
        for ((columns, _), rows) in self.groups().zip(rows.as_chunks_mut::<LANES>().0) {
            for (column, keys) in columns.iter().enumerate().take(self.stride - 1) {
                for (row, key) in rows.iter_mut().zip(keys) {
                    row.0[column] = *key;
                }
            }
        }
    }

    /// Keys held.
    pub(super) fn len(&self) -> usize {
        self.keys.len() * LANES
    }

    /// The groups, and whether each has NaN.
    pub(in crate::engine) fn groups(&self) -> impl ExactSizeIterator<Item = (&[RowKeys], bool)> {
        let keys: &[RowKeys] = bytemuck::cast_slice(&self.keys);
        keys.chunks_exact(self.stride).zip(self.nan.iter().copied())
    }
}

/// The keys of up to [`LANES`] rows; whether one is NaN's. Lanes without a row get some key.
fn encode_group<T: Number>(encoder: Encoder<'_>, rows: &ArrayView2<'_, T>, keys: &mut [RowKeys]) -> bool {
    let (n_rows, n_features) = rows.dim();
    let mut nan = false;
    let mut store = |out: &mut RowKeys, keys: RowKeys| {
        nan |= keys.iter().fold(false, |nan, &key| nan | (key == NAN_KEY));
        *out = keys;
    };
    let (features, sets_out) = keys.split_at_mut(n_features);
    if let Some(mut own) = rows.row(0).to_slice().map(|first| [first; LANES]) {
        for (lane, own) in own.iter_mut().enumerate().take(n_rows) {
            // Rows of one array are as contiguous as the first of them.
            *own = rows.row(lane).to_slice().unwrap_or(own);
        }
        let own = own.map(|row| &row[..n_features]);
        for (feature, out) in features.iter_mut().enumerate() {
            store(out, encoder.group(&own.map(|row| row[feature]), feature));
        }
    } else {
        for (feature, out) in features.iter_mut().enumerate() {
            store(out, encoder.group(&column(rows, feature), feature));
        }
    }
    if let Some(sets) = encoder.sets {
        for (set, out) in sets_out.iter_mut().enumerate().take(sets.len()) {
            let values = column(rows, sets.features[set] as usize);
            store(out, values.map(|value| sets.key(set, encoder.compare.number(value))));
        }
    }
    if let Some(leaf) = sets_out.last_mut() {
        *leaf = [0; LANES];
    }
    nan
}

/// One column of up to [`LANES`] rows, the last value repeated.
#[inline(always)]
fn column<T: Number>(rows: &ArrayView2<'_, T>, feature: usize) -> [T; LANES] {
    let column = rows.column(feature);
    if let Some(all) = column.as_slice().and_then(|column| <&[T; LANES]>::try_from(column).ok()) {
        return *all;
    }
    std::array::from_fn(|lane| column[lane.min(column.len() - 1)])
}
