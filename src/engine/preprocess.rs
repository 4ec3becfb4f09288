//! Scalers, in NumPy's order of operations and in the type of the input.
#![forbid(unsafe_code)]

use ndarray::{Array2, ArrayView2};

use crate::engine::input::Input;
use crate::engine::output::{Output, OutputArray};
use crate::engine::rows::{Accepts, Number};
use crate::engine::{PredictError, Run};
use crate::model::plan::{Op, PlanError};

/// What a transforming step gave.
pub(super) enum Matrix {
    F32(Array2<f32>),
    F64(Array2<f64>),
}

impl Matrix {
    pub(super) fn input(&self) -> Input<'_> {
        match self {
            Matrix::F32(x) => x.into(),
            Matrix::F64(x) => x.into(),
        }
    }

    pub(super) fn into_output(self) -> Output {
        let shape = |x: (usize, usize)| [x.0, x.1];
        Output::one(match self {
            Matrix::F32(x) => OutputArray::f32(&shape(x.dim()), x.into_raw_vec_and_offset().0),
            Matrix::F64(x) => OutputArray::f64(&shape(x.dim()), x.into_raw_vec_and_offset().0),
        })
    }
}

/// One column's arithmetic, as NumPy does it on an array of this type.
trait Scale: Number {
    /// `X -= mean.astype(X.dtype)`
    fn minus(self, mean: f64) -> Self;
    /// `X /= scale.astype(X.dtype)`
    fn over(self, scale: f64) -> Self;
    /// `X *= scale; X += min`, each computed in `float64` and rounded to the type of `X`.
    fn times_plus(self, scale: f64, min: f64) -> Self;
    /// `numpy.clip`
    fn clip(self, bounds: [f64; 2]) -> Self;
}

macro_rules! scale {
    ($float:ident) => {
        impl Scale for $float {
            fn minus(self, mean: f64) -> Self {
                self - mean as $float
            }

            fn over(self, scale: f64) -> Self {
                self / scale as $float
            }

            fn times_plus(self, scale: f64, min: f64) -> Self {
                let product = (self.f64() * scale) as $float;
                (product.f64() + min) as $float
            }

            fn clip(self, [low, high]: [f64; 2]) -> Self {
                let (low, high) = (low as $float, high as $float);
                if self.is_nan() {
                    return self;
                }
                let raised = if self > low { self } else { low };
                if raised < high { raised } else { high }
            }
        }
    };
}

scale!(f32);
scale!(f64);

impl Run<'_> {
    /// Runs a transforming operation.
    pub(super) fn transform(self, op: &Op, x: Input<'_>) -> Result<Matrix, PredictError> {
        let estimator = op.estimator();
        match *op {
            Op::StandardScaler { n_features, mean, scale } => {
                Accepts { estimator, n_features, nan: true, infinity: false, as_f32: false }
                    .check(&x, self.options)?;
                let mean = mean.map(|id| self.values("mean", id)).transpose()?;
                let scale = scale.map(|id| self.values("scale", id)).transpose()?;
                Ok(match x {
                    Input::F32(x) => Matrix::F32(standard(&x, mean, scale)),
                    Input::F64(x) => Matrix::F64(standard(&x, mean, scale)),
                })
            }
            Op::MinMaxScaler { n_features, scale, min, clip } => {
                Accepts { estimator, n_features, nan: true, infinity: false, as_f32: false }
                    .check(&x, self.options)?;
                let (scale, min) = (self.values("scale", scale)?, self.values("min", min)?);
                Ok(match x {
                    Input::F32(x) => Matrix::F32(min_max(&x, scale, min, clip)),
                    Input::F64(x) => Matrix::F64(min_max(&x, scale, min, clip)),
                })
            }
            _ => {
                Err(PlanError::Step { op: self.ops.len() - 1, step: 0, problem: "does not transform" }.into())
            }
        }
    }
}

fn standard<T: Scale>(x: &ArrayView2<'_, T>, mean: Option<&[f64]>, scale: Option<&[f64]>) -> Array2<T> {
    by_column(x, |column, mut value| {
        if let Some(mean) = mean {
            value = value.minus(mean[column]);
        }
        if let Some(scale) = scale {
            value = value.over(scale[column]);
        }
        value
    })
}

fn min_max<T: Scale>(x: &ArrayView2<'_, T>, scale: &[f64], min: &[f64], clip: Option<[f64; 2]>) -> Array2<T> {
    by_column(x, |column, value| {
        let scaled = value.times_plus(scale[column], min[column]);
        clip.map_or(scaled, |bounds| scaled.clip(bounds))
    })
}

fn by_column<T: Scale>(x: &ArrayView2<'_, T>, f: impl Fn(usize, T) -> T) -> Array2<T> {
    let (rows, columns) = x.dim();
    let mut out = Vec::with_capacity(rows * columns);
    for row in x.rows() {
        match row.as_slice() {
            Some(values) => out.extend(values.iter().enumerate().map(|(column, &value)| f(column, value))),
            None => out.extend(row.iter().enumerate().map(|(column, &value)| f(column, value))),
        }
    }
    Array2::from_shape_vec((rows, columns), out).expect("one value was made for each value of the input")
}
