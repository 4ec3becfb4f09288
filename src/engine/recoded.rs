//! Columns in another order, and categories as numbers, before trees see them.
#![forbid(unsafe_code)]

use ndarray::{Array2, ArrayView2};

use crate::engine::input::{Input, Method};
use crate::engine::output::Output;
use crate::engine::rows::{Accepts, Number};
use crate::engine::{PredictError, Run};
use crate::model::plan::{PlanError, Recoded};

/// What is put where.
struct Recoding<'a> {
    columns: &'a [u32],
    starts: &'a [u32],
    categories: &'a [f64],
}

impl Run<'_> {
    /// Any method of the trees, of rows as users have them.
    pub(super) fn recoded(
        self,
        recoded: &Recoded,
        method: Method,
        x: Input<'_>,
    ) -> Result<Output, PredictError> {
        let recoding = Recoding {
            columns: self.values("columns", recoded.columns)?,
            starts: self.values("starts", recoded.starts)?,
            categories: self.values("categories", recoded.categories)?,
        };
        let n_features = recoding.columns.len() as u32;
        Accepts { estimator: &recoded.estimator, n_features, nan: true, infinity: true, as_f32: false }
            .check(&x, self.options)?;
        let found = self.options.check_finite.then(|| recoding.infinite(&x)).flatten();
        if let Some((row, column)) = found {
            let estimator = recoded.estimator.clone();
            return Err(PredictError::NotFinite { estimator, row, column, value: "infinity" });
        }
        let rows = match x {
            Input::F32(x) => recoding.rows(&x),
            Input::F64(x) => recoding.rows(&x),
        };
        let Some(trees) = self.ops.get(recoded.trees as usize) else { return Err(PlanError::Empty.into()) };
        self.model(trees, method, (&rows).into())
    }
}

impl Recoding<'_> {
    /// An infinity where a category should be, which scikit-learn refuses.
    fn infinite(&self, x: &Input<'_>) -> Option<(usize, usize)> {
        let encoded = &self.columns[..self.starts.len().saturating_sub(1)];
        encoded.iter().find_map(|&column| {
            let column = column as usize;
            let row = match x {
                Input::F32(x) => x.column(column).iter().position(|value| value.is_infinite()),
                Input::F64(x) => x.column(column).iter().position(|value| value.is_infinite()),
            };
            row.map(|row| (row, column))
        })
    }

    fn rows<T: Number>(&self, x: &ArrayView2<'_, T>) -> Array2<f64> {
        let mut rows = Array2::zeros(x.dim());
        for (to, mut out) in rows.columns_mut().into_iter().enumerate() {
            let values = x.column(self.columns[to] as usize);
            let own = self.starts.get(to).zip(self.starts.get(to + 1));
            let own = own.map(|(&start, &end)| &self.categories[start as usize..end as usize]);
            for (out, value) in out.iter_mut().zip(values) {
                *out = own.map_or(value.f64(), |own| position(own, value.f64()));
            }
        }
        rows
    }
}

/// Where `value` is among ascending categories, or NaN.
fn position(categories: &[f64], value: f64) -> f64 {
    let at = categories.partition_point(|category| *category < value);
    if categories.get(at) == Some(&value) { at as f64 } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_become_positions_and_others_are_missing() {
        let known = [-1.0, 0.0, 2.5, f64::INFINITY];
        for (value, expected) in [(-1.0, 0.0), (-0.0, 1.0), (2.5, 2.0), (f64::INFINITY, 3.0)] {
            assert_eq!(expected, position(&known, value), "{value}");
        }
        for value in [-2.0, 2.4999, 3.0, f64::NAN, f64::NEG_INFINITY] {
            assert!(position(&known, value).is_nan(), "{value}");
        }
        assert!(position(&[], 0.0).is_nan());
    }

    #[test]
    fn columns_are_put_in_their_order() {
        let x = ndarray::array![[1.0f32, 7.0, 5.0], [2.0, 9.0, 3.0]];
        let recoding = Recoding { columns: &[1, 2, 0], starts: &[0, 2], categories: &[7.0, 8.0] };
        let rows = recoding.rows(&x.view());
        assert_eq!(ndarray::array![0.0, 5.0, 1.0], rows.row(0));
        assert!(rows[[1, 0]].is_nan());
        assert_eq!([3.0, 2.0], [rows[[1, 1]], rows[[1, 2]]]);
    }
}
