//! Values of the input that are categories, and the columns that splits by category read.
#![forbid(unsafe_code)]

use crate::model::plan::CategoryRule;
use crate::model::plan::compact::NAN_KEY;

/// The key of a row that goes left.
const LEFT: u32 = 0;
/// The key of a row that goes right.
const RIGHT: u32 = 1;

/// Sets of categories, each a column behind the features.
#[derive(Clone, Copy)]
pub(super) struct Sets<'a> {
    /// Of each set: whose values are looked up.
    pub(super) features: &'a [u32],
    /// Where the words of each set begin.
    pub(super) starts: &'a [u32],
    /// Bits of the categories that go left.
    pub(super) left: &'a [u32],
    /// Bits of the categories that are not missing; empty unless the rule is that of histograms.
    pub(super) known: &'a [u32],
    pub(super) rule: CategoryRule,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Category {
    Number(u32),
    /// None, and its key is that.
    Key(u32),
}

impl Sets<'_> {
    pub(super) fn len(self) -> usize {
        self.features.len()
    }

    /// The key of `value` in the column of `set`.
    #[inline(always)]
    pub(super) fn key(self, set: usize, value: f64) -> u32 {
        let number = match category(self.rule, value) {
            Category::Number(number) => number,
            Category::Key(key) => return key,
        };
        let words = self.starts[set] as usize..self.starts[set + 1] as usize;
        let has = |bits: &[u32]| {
            bits.get(words.clone())
                .and_then(|bits| bits.get(number as usize / 32))
                .map(|word| word >> (number % 32) & 1 == 1)
        };
        match (self.rule, has(self.left)) {
            (_, Some(true)) | (CategoryRule::XgBoost, None) => LEFT,
            (CategoryRule::Histogram, _) if has(self.known) != Some(true) => NAN_KEY,
            _ => RIGHT,
        }
    }
}

/// The category that a value is, by the casts that each library's C code makes on x86-64.
#[inline(always)]
fn category(rule: CategoryRule, value: f64) -> Category {
    // A cast to `int`; what does not fit becomes the smallest.
    let int = if value.abs() < 2_147_483_648.0 { value as i32 } else { i32::MIN };
    match rule {
        CategoryRule::Histogram if value.is_nan() || value < 0.0 => Category::Key(NAN_KEY),
        CategoryRule::Histogram => Category::Number(u32::from(int as u8)),
        CategoryRule::LightGbm => u32::try_from(int).map_or(Category::Key(RIGHT), Category::Number),
        CategoryRule::XgBoost if value.is_nan() => Category::Key(NAN_KEY),
        // 2^24: beyond it `float32` does not tell integers apart.
        CategoryRule::XgBoost if !(0.0..16_777_216.0).contains(&value) => Category::Key(LEFT),
        CategoryRule::XgBoost => Category::Number(int as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUGE: f64 = 1e300;

    fn keys(rule: CategoryRule, values: &[f64]) -> Vec<u32> {
        let known: &[u32] = if rule == CategoryRule::Histogram { &[0b1110] } else { &[] };
        let sets = Sets { features: &[0], starts: &[0, 1], left: &[0b0110], known, rule };
        values.iter().map(|&value| sets.key(0, value)).collect()
    }

    #[test]
    fn histogram_trees_cast_to_a_byte_and_miss_what_they_do_not_know() {
        let values = [1.0, 1.9, 3.0, 0.0, 40.0, -0.0, -0.5, -1.0, f64::NAN, 257.0, 259.0, HUGE];
        let m = NAN_KEY;
        assert_eq!(vec![0, 0, 1, m, m, m, m, m, m, 0, 1, m], keys(CategoryRule::Histogram, &values));
    }

    #[test]
    fn lightgbm_sends_right_what_is_no_category() {
        let values = [1.0, 1.9, 3.0, 40.0, -0.5, -1.0, f64::NAN, 257.0, HUGE, -HUGE, f64::INFINITY];
        assert_eq!(vec![0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1], keys(CategoryRule::LightGbm, &values));
        let zero =
            Sets { features: &[0], starts: &[0, 1], left: &[1], known: &[], rule: CategoryRule::LightGbm };
        assert_eq!((0, 0, 1), (zero.key(0, -0.5), zero.key(0, 0.9), zero.key(0, -1.0)));
    }

    #[test]
    fn xgboost_sends_left_what_is_no_category() {
        let values = [1.0, 1.9, 3.0, 40.0, -0.5, -1.0, 16_777_216.0, f64::INFINITY, f64::NAN, -0.0];
        assert_eq!(vec![0, 0, 1, 0, 0, 0, 0, 0, NAN_KEY, 1], keys(CategoryRule::XgBoost, &values));
    }
}
