//! Sums and links in the order in which NumPy and SciPy compute them.
#![forbid(unsafe_code)]

use std::ops::Add;

/// NumPy's pairwise sum of a contiguous run.
pub(crate) fn pairwise_sum<T: Copy + Default + Add<Output = T>>(values: &[T]) -> T {
    const BLOCK: usize = 128;
    if values.len() < 8 {
        return values.iter().fold(T::default(), |sum, value| sum + *value);
    }
    if values.len() > BLOCK {
        let half = values.len() / 2;
        let (left, right) = values.split_at(half - half % 8);
        return pairwise_sum(left) + pairwise_sum(right);
    }
    let (blocks, rest) = values.as_chunks::<8>();
    let mut strands = [T::default(); 8];
    for (index, block) in blocks.iter().enumerate() {
        for (strand, value) in strands.iter_mut().zip(block) {
            *strand = if index == 0 { *value } else { *strand + *value };
        }
    }
    let [a, b, c, d, e, f, g, h] = strands;
    rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| sum + *value)
}

/// `scipy.special.logit`: precise around one half.
pub(crate) fn logit(p: f64) -> f64 {
    if !(0.3..=0.65).contains(&p) {
        return (p / (1.0 - p)).ln();
    }
    let s = 2.0 * (p - 0.5);
    s.ln_1p() - (-s).ln_1p()
}

/// The multinomial link of the probabilities of one row, in their place: logarithms less their mean, as scikit-learn computes it.
pub(crate) fn multinomial_logit(p: &mut [f64]) {
    let logs: Vec<f64> = p.iter().map(|p| p.ln()).collect();
    let mean = (pairwise_sum(&logs) / logs.len() as f64).exp();
    p.iter_mut().for_each(|p| *p = (*p / mean).ln());
}

/// A probability that a link takes: `numpy.clip` between the smallest step and one less that.
pub(crate) fn clipped(p: f64) -> f64 {
    p.clamp(f64::EPSILON, 1.0 - f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_numpys_order() {
        // numpy.sum of 0.1 * arange(n), as NumPy 2.4 gives it.
        let sum = |n: u32| pairwise_sum(&(0..n).map(|i| 0.1 * f64::from(i)).collect::<Vec<_>>());
        for (n, expected) in [SUM_7, SUM_9, SUM_100, SUM_300] {
            assert_eq!(expected, sum(n).to_bits(), "{n}");
        }
    }

    const SUM_7: (u32, u64) = (7, 0x4000cccccccccccd);
    const SUM_9: (u32, u64) = (9, 0x400cccccccccccce);
    const SUM_100: (u32, u64) = (100, 0x407ef00000000000);
    const SUM_300: (u32, u64) = (300, 0x40b1850000000000);
}
