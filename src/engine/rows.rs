//! Reading and checking rows of the input.
#![forbid(unsafe_code)]

use ndarray::ArrayView2;

use crate::engine::PredictError;
use crate::engine::input::{Input, RunOptions};

/// An input element.
pub(super) trait Number: Copy + Send + Sync + 'static {
    /// NumPy's `astype(float32)`.
    fn f32(self) -> f32;
    /// NumPy's `astype(float64)`.
    fn f64(self) -> f64;
}

impl Number for f32 {
    #[inline(always)]
    fn f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn f64(self) -> f64 {
        f64::from(self)
    }
}

impl Number for f64 {
    #[inline(always)]
    fn f32(self) -> f32 {
        self as f32
    }

    #[inline(always)]
    fn f64(self) -> f64 {
        self
    }
}

/// What an estimator takes.
#[derive(Clone, Copy)]
pub(super) struct Accepts<'a> {
    pub estimator: &'a str,
    pub n_features: u32,
    pub nan: bool,
    pub infinity: bool,
    /// Values are cast to `float32` first.
    pub as_f32: bool,
}

impl Accepts<'_> {
    /// Refuses what scikit-learn's `validate_data` refuses.
    pub(super) fn check(&self, x: &Input<'_>, options: &RunOptions) -> Result<(), PredictError> {
        let (expected, found) = (self.n_features, x.n_columns());
        if found != expected as usize {
            return Err(PredictError::Columns { estimator: self.estimator.to_owned(), expected, found });
        }
        if x.n_rows() == 0 {
            return Err(PredictError::Empty { estimator: self.estimator.to_owned() });
        }
        match x {
            Input::F32(x) if options.check_finite => self.finite(x),
            Input::F64(x) if options.check_finite => self.finite(x),
            _ => Ok(()),
        }
    }

    fn finite<T: Number>(&self, x: &ArrayView2<'_, T>) -> Result<(), PredictError> {
        let all = |values: &[T]| match self.as_f32 {
            true => values.iter().fold(true, |all, value| all & value.f32().is_finite()),
            false => values.iter().fold(true, |all, value| all & value.f64().is_finite()),
        };
        let finite = match x.as_slice_memory_order() {
            Some(values) => all(values),
            None => x.rows().into_iter().all(|row| match row.as_slice() {
                Some(values) => all(values),
                None => row.iter().all(|value| all(&[*value])),
            }),
        };
        if finite {
            return Ok(());
        }
        let bad = x.indexed_iter().find(|&(_, &value)| !self.takes(value));
        bad.map_or(Ok(()), |((row, column), &value)| {
            let estimator = self.estimator.to_owned();
            Err(PredictError::NotFinite { estimator, row, column, value: describe(value.f64()) })
        })
    }

    #[inline(always)]
    fn takes<T: Number>(&self, value: T) -> bool {
        let finite = if self.as_f32 { value.f32().is_finite() } else { value.f64().is_finite() };
        let nan = value.f64().is_nan();
        // Values too large for `float32` become infinite.
        finite | (self.nan & nan) | (self.infinity & !nan)
    }
}

fn describe(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value.is_infinite() {
        "infinity"
    } else {
        "a value too large for float32"
    }
}

/// Calls `each` with the values of row `row`.
#[inline(always)]
pub(super) fn for_each<T: Number>(x: &ArrayView2<'_, T>, row: usize, mut each: impl FnMut(usize, T)) {
    let row = x.row(row);
    match row.as_slice() {
        Some(values) => values.iter().enumerate().for_each(|(column, &value)| each(column, value)),
        None => row.iter().enumerate().for_each(|(column, &value)| each(column, value)),
    }
}

/// `numpy.argmax`: the first of the largest, or the first NaN.
pub(super) fn argmax<T: Number>(values: &[T]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if value.f64().is_nan() {
            return index;
        }
        if value.f64() > values[best].f64() {
            best = index;
        }
    }
    best
}
