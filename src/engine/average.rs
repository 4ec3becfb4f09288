//! Averages of what members answer, in the order in which NumPy adds.
#![forbid(unsafe_code)]

use std::ops::{Add, AddAssign, Div, Mul};

use crate::engine::output::OutputArray;
use crate::engine::{PredictError, Run};
use crate::model::numerics::pairwise_sum;
use crate::model::plan::PlanError;

/// The answers of members in the type that NumPy finds for all of them, each `rows` times `columns` numbers in C order.
pub(super) enum Answers {
    /// All are `float32`.
    F32(Vec<Vec<f32>>),
    /// All are `int64`.
    I64(Vec<Vec<i64>>),
    /// Some are `float64`, or there are integers beside floats.
    F64(Vec<Vec<f64>>),
}

impl Answers {
    /// Brings answers to one type; nothing but `float32`, `float64` and `int64` is a number here.
    pub(super) fn of(run: Run<'_>, arrays: &[OutputArray]) -> Result<Self, PredictError> {
        if let Some(all) = arrays.iter().map(|array| array.values().map(<[f32]>::to_vec)).collect() {
            return Ok(Answers::F32(all));
        }
        if let Some(all) = arrays.iter().map(|array| array.values().map(<[i64]>::to_vec)).collect() {
            return Ok(Answers::I64(all));
        }
        let all = arrays.iter().map(f64s).collect::<Option<_>>();
        let op = run.ops.len() - 1;
        let none = PlanError::Part { op, part: 0, problem: "answers with values that are no numbers" };
        all.map(Answers::F64).ok_or(none.into())
    }

    /// All as `float64`.
    pub(super) fn f64s(self) -> Vec<Vec<f64>> {
        match self {
            Answers::F32(all) => {
                all.iter().map(|one| one.iter().map(|&value| value.into()).collect()).collect()
            }
            Answers::I64(all) => {
                all.iter().map(|one| one.iter().map(|&value| value as f64).collect()).collect()
            }
            Answers::F64(all) => all,
        }
    }
}

/// The numbers as `float64`.
pub(super) fn f64s(array: &OutputArray) -> Option<Vec<f64>> {
    let wide = array.values().map(<[f64]>::to_vec);
    wide.or_else(|| Some(array.values::<f32>()?.iter().map(|&value| value.into()).collect()))
        .or_else(|| Some(array.values::<i64>()?.iter().map(|&value| value as f64).collect()))
}

/// `numpy.average` over members, all of `len` numbers.
///
/// NumPy adds members one after the other, as the numbers of one member lie side by side. If there is only one number for
/// each member, those lie side by side instead, and their sum is pairwise.
pub(super) fn average<T>(members: &[Vec<T>], weights: Option<&[T]>, len: usize, n_members: T) -> Vec<T>
where
    T: Copy + Default + Add<Output = T> + AddAssign + Mul<Output = T> + Div<Output = T>,
{
    let weighed = |member: usize, value: T| weights.map_or(value, |weights| value * weights[member]);
    let divisor = weights.map_or(n_members, |weights| T::default() + pairwise_sum(weights));
    let mut sums = vec![T::default(); len];
    if let [sum] = sums.as_mut_slice() {
        let values: Vec<T> =
            members.iter().enumerate().map(|(member, values)| weighed(member, values[0])).collect();
        *sum += pairwise_sum(&values);
    } else {
        for (member, values) in members.iter().enumerate() {
            sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += weighed(member, value));
        }
    }
    sums.iter_mut().for_each(|sum| *sum = *sum / divisor);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_for_each_member_is_added_in_pairs_and_several_in_turn() {
        // numpy.average of the rows of 0.1 * arange(9) ** 3, as NumPy 2.4 gives it.
        let values: Vec<f64> = (0..9).map(|i| 0.1 * f64::from(i * i * i)).collect();
        let one: Vec<Vec<f64>> = values.iter().map(|&value| vec![value]).collect();
        let two: Vec<Vec<f64>> = values.iter().map(|&value| vec![value, value]).collect();
        let in_pairs = values[..8].to_vec();
        let pairwise = ((in_pairs[0] + in_pairs[1]) + (in_pairs[2] + in_pairs[3]))
            + ((in_pairs[4] + in_pairs[5]) + (in_pairs[6] + in_pairs[7]))
            + values[8];
        assert_eq!(vec![pairwise / 9.0], average(&one, None, 1, 9.0));
        let in_turn = values.iter().fold(0.0, |sum, value| sum + value) / 9.0;
        assert_eq!(vec![in_turn; 2], average(&two, None, 2, 9.0));
        assert_eq!(vec![in_turn; 2], average(&two, Some(&[2.0; 9]), 2, 9.0));
    }

    #[test]
    fn a_sum_of_negative_zeros_is_zero() {
        let zeros = vec![vec![-0.0], vec![-0.0]];
        assert_eq!(0, average(&zeros, None, 1, 2.0f64)[0].to_bits());
    }
}
