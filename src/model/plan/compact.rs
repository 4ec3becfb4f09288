//! The compact tree layout: what the bits of a node mean.
//!
//! ```text
//! narrow node, one u64      bits 0..32          bits 35..35+b      bits 35+b..64
//!   split                   threshold key       feature            distance to the left child, >= 1
//!   leaf                    leaf id             n_features         0
//!
//! wide node, two u64        word 0, bits 0..32  word 0, 32..64     word 1
//! ```
//!
//! `b` is the number of bits that `n_features` needs. Bits 32..35 are zero: the bits from 32 on are eight times the
//! feature, and eight times that is where the feature lies among the keys of 16 rows. The right child follows the left one. Distances point
//! forward and stay within the tree, so that every walk ends.
//!
//! A step is `at += distance + (row[feature] > key)`. Row `n_features` of the keys is the constant 0, so a leaf
//! stays where it is: walks of several rows or trees can go on together until the last has arrived.
//!
//! Keys are `f32` values as integers of the same order. NaN in a row has the largest key: it goes right, or left if
//! the node's bit in `missing` says so.
#![forbid(unsafe_code)]

/// The key of NaN in a row; above the key of every number.
pub(crate) const NAN_KEY: u32 = u32::MAX;

/// The key of one input value: `a < b` exactly if `row_key(a) < row_key(b)`, and -0.0 equals 0.0.
#[inline(always)]
pub(crate) fn row_key(value: f32) -> u32 {
    if value.is_nan() {
        return NAN_KEY;
    }
    // Adding zero turns -0.0 into 0.0 and changes nothing else.
    let bits = (value + 0.0).to_bits();
    // All bits of a negative number are turned, of others the first.
    bits ^ ((bits as i32 >> 31) as u32 | 0x8000_0000)
}

/// The key of a threshold: `f64::from(x) <= threshold` exactly if `row_key(x) <= threshold_key(threshold)`.
///
/// It is the key of the largest `f32` that is not above the threshold. NaN, which no value is below, gets 0.
#[inline(always)]
pub(crate) fn threshold_key(threshold: f64) -> u32 {
    let nearest = threshold as f32;
    // Half of all thresholds are rounded up: a branch here would be guessed wrong as often. The keys of numbers next to each
    // other are, but for the one that -0.0 does not have.
    let above = u32::from(f64::from(nearest) > threshold);
    let down = above << u32::from(nearest == 0.0);
    let key = row_key(nearest).wrapping_sub(down);
    if threshold.is_nan() { 0 } else { key }
}

/// What stands for the library's number of a leaf that splits share. It is that of the split plus 1 on the left, plus 2 on the right.
pub(crate) const SHARED: u32 = u32::MAX;

/// Levels of a crown.
pub(crate) const CROWN_LEVELS: u32 = 4;

/// The first four levels of a tree as a heap, to be asked for many rows at once: of its 15 splits the threshold keys, then
/// the features, each followed by a word that means nothing; then where each of 16 rows of answers leads, in nodes from the root.
///
/// A leaf above them is a split that nothing goes right at.
pub(crate) type Crown = [[u32; 16]; 3];

/// The first bit of the feature of a narrow node.
const FEATURE_SHIFT: u32 = 35;

/// Where the fields of a node lie, for a number of features.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packing {
    n_features: u32,
    feature_mask: u64,
    distance_shift: u32,
}

impl Packing {
    /// Nodes over features `0..n_features`.
    pub(crate) fn new(n_features: u32) -> Self {
        let bits = (u32::BITS - n_features.leading_zeros()).max(1);
        Packing { n_features, feature_mask: (1 << bits) - 1, distance_shift: FEATURE_SHIFT + bits }
    }

    /// Whether trees of up to `n_nodes` nodes need wide nodes.
    pub(crate) fn needs_wide(&self, n_nodes: u64) -> bool {
        self.distance_shift >= 64 || n_nodes >= 1 << (64 - self.distance_shift)
    }

    /// Eight times the feature of a narrow node, for `bextr`: its first bit, and 256 times the number of its bits;
    /// and the first bit of the distance. `None` if nodes have to be wide.
    pub(crate) fn narrow_fields(&self) -> Option<(u64, u64)> {
        let bits = self.distance_shift - u32::BITS;
        (self.distance_shift < u64::BITS)
            .then_some((u64::from(u32::BITS | bits << 8), self.distance_shift.into()))
    }

    /// The feature number of leaves.
    pub(crate) fn leaf_feature(&self) -> u32 {
        self.n_features
    }
}

/// A node word. Distances of narrow nodes must fit, as [`Packing::needs_wide`] says.
pub(crate) trait Node: bytemuck::Pod + Send + Sync {
    /// A node with the given fields.
    fn pack(packing: Packing, low: u32, feature: u32, distance: u64) -> Self;
    /// Threshold key, or leaf id.
    fn low(self) -> u32;
    /// Feature; that of a leaf is [`Packing::leaf_feature`].
    fn feature(self, packing: Packing) -> usize;
    /// Nodes to the left child; 0 for a leaf.
    fn distance(self, packing: Packing) -> usize;
    /// The same node with another threshold key or leaf id.
    fn with_low(self, low: u32) -> Self;
    /// Whether bits that belong to no field are zero.
    fn is_clean(self) -> bool;
}

impl Node for u64 {
    #[inline(always)]
    fn pack(packing: Packing, low: u32, feature: u32, distance: u64) -> Self {
        u64::from(low) | u64::from(feature) << FEATURE_SHIFT | distance << packing.distance_shift
    }

    #[inline(always)]
    fn low(self) -> u32 {
        self as u32
    }

    #[inline(always)]
    fn feature(self, packing: Packing) -> usize {
        (self >> FEATURE_SHIFT & packing.feature_mask) as usize
    }

    #[inline(always)]
    fn distance(self, packing: Packing) -> usize {
        (self >> packing.distance_shift) as usize
    }

    #[inline(always)]
    fn with_low(self, low: u32) -> Self {
        self >> 32 << 32 | u64::from(low)
    }

    #[inline(always)]
    fn is_clean(self) -> bool {
        self >> 32 & 7 == 0
    }
}

impl Node for [u64; 2] {
    #[inline(always)]
    fn pack(_: Packing, low: u32, feature: u32, distance: u64) -> Self {
        [u64::from(low) | u64::from(feature) << 32, distance]
    }

    #[inline(always)]
    fn low(self) -> u32 {
        self[0] as u32
    }

    #[inline(always)]
    fn feature(self, _: Packing) -> usize {
        (self[0] >> 32) as usize
    }

    #[inline(always)]
    fn distance(self, _: Packing) -> usize {
        self[1] as usize
    }

    #[inline(always)]
    fn with_low(self, low: u32) -> Self {
        [self[0] >> 32 << 32 | u64::from(low), self[1]]
    }

    #[inline(always)]
    fn is_clean(self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EDGES: [f32; 12] = [
        f32::NEG_INFINITY,
        f32::MIN,
        -1.0,
        -f32::MIN_POSITIVE,
        -1e-45,
        -0.0,
        0.0,
        1e-45,
        f32::MIN_POSITIVE,
        1.0,
        f32::MAX,
        f32::INFINITY,
    ];

    fn goes_left(x: f32, threshold: f64) -> bool {
        row_key(x) <= threshold_key(threshold)
    }

    #[test]
    fn keys_order_the_edges_as_floats_do() {
        for a in EDGES {
            for b in EDGES {
                assert_eq!(a < b, row_key(a) < row_key(b), "{a} {b}");
                assert_eq!(a == b, row_key(a) == row_key(b), "{a} {b}");
            }
            assert!(row_key(a) < NAN_KEY);
            assert!(row_key(a) > 0, "key 0 is below every value, for thresholds that are NaN");
        }
    }

    #[test]
    fn thresholds_beyond_f32_decide_as_the_f64_comparison() {
        let thresholds =
            [1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, 1e-320, -1e-320, -0.0, 0.0, f64::NAN];
        let near = [0.1, 1.0 + f64::EPSILON, 1.0 - f64::EPSILON, f64::from(f32::MAX) * (1.0 + 1e-9)];
        for threshold in thresholds.into_iter().chain(near) {
            for x in EDGES {
                assert_eq!(f64::from(x) <= threshold, goes_left(x, threshold), "{x} <= {threshold}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bits_decide_as_the_f64_comparison(x: u32, threshold: u64) {
            let (x, threshold) = (f32::from_bits(x), f64::from_bits(threshold));
            prop_assume!(!x.is_nan());
            prop_assert_eq!(f64::from(x) <= threshold, goes_left(x, threshold));
        }

        #[test]
        fn thresholds_beside_a_value_decide_as_the_f64_comparison(x: u32, ulps in -3i64..4) {
            let x = f32::from_bits(x);
            prop_assume!(x.is_finite());
            let threshold = f64::from_bits((f64::from(x).to_bits() as i64).wrapping_add(ulps) as u64);
            prop_assert_eq!(f64::from(x) <= threshold, goes_left(x, threshold));
        }

        #[test]
        fn packed_fields_come_back(low: u32, n_features in 1u32..5000, distance in 0u64..1 << 16) {
            let packing = Packing::new(n_features);
            prop_assert!(!packing.needs_wide(1 << 15));
            for feature in [0, n_features] {
                let narrow = u64::pack(packing, low, feature, distance);
                let wide = <[u64; 2]>::pack(packing, low, feature, distance);
                prop_assert_eq!((low, feature as usize, distance as usize),
                    (narrow.low(), narrow.feature(packing), narrow.distance(packing)));
                prop_assert_eq!((low, feature as usize, distance as usize),
                    (wide.low(), wide.feature(packing), wide.distance(packing)));
            }
        }
    }
}
