//! Ensembles of other libraries against a walk over their own nodes.

use ndarray::{Array2, AxisDescription, ShapeBuilder, Slice};
use proptest::prelude::*;

use super::compact::PORTABLE;
use super::*;
use crate::engine::{RunOptions, run};
use crate::format::ArrayInfo;
use crate::format::Order;
use crate::model::array::tests::Memory;
use crate::model::lower::StagedData;
use crate::model::lower::trees::ensemble::{Ensemble, PlainKind, PlainNode, PlainTree, Test};
use crate::model::plan::validate::validate;
use crate::model::plan::{Boosted, BoostedKind, BoostedLink, CategoryRule, LeafNumbers, Op, Plan};

const N_FEATURES: usize = 4;
/// Features from here on are categories, if there is a rule for them.
const FIRST_CATEGORY: usize = 2;
const START: [f64; 2] = [0.25, -1.5];
const PARALLEL: usize = 2;

/// What a random split asks: a pick of a leaf, a feature, a threshold or the bits of a set, where NaN goes.
type Pick = (u32, usize, f64, u64, bool);

fn grow(picks: &[Pick], rule: Option<CategoryRule>, input: Float) -> PlainTree {
    let leaf = |value: u32| PlainNode {
        kind: PlainKind::Leaf { value: f64::from(f64::from(value % 13) as f32 * 0.3 - 1.7) },
        samples: f64::from(value % 7),
        origin: value,
    };
    let mut nodes = vec![leaf(0)];
    for &(pick, feature, threshold, bits, missing_left) in picks {
        let leaves: Vec<usize> =
            (0..nodes.len()).filter(|&i| matches!(nodes[i].kind, PlainKind::Leaf { .. })).collect();
        let at = leaves[pick as usize % leaves.len()];
        let left = nodes.len() as u32;
        let feature_id = feature as u32;
        let words = |bits: u64| -> Box<[u32]> { [bits as u32, (bits >> 32) as u32].into() };
        let test = match rule {
            Some(rule) if feature >= FIRST_CATEGORY => Test::Category {
                feature: feature_id,
                left: words(bits & KNOWN),
                known: if rule == CategoryRule::Histogram { words(KNOWN) } else { Box::default() },
            },
            _ if input == Float::F64 && threshold.is_nan() => {
                Test::AtMost { feature: feature_id, threshold: 0.0 }
            }
            _ => Test::AtMost { feature: feature_id, threshold },
        };
        nodes[at].kind = PlainKind::Split { test, left, right: left + 1, missing_left };
        nodes.extend([leaf(left), leaf(left + 1)]);
    }
    PlainTree { nodes }
}

/// Categories that a model with [`CategoryRule::Histogram`] has seen.
const KNOWN: u64 = 0x0000_0f0f_00ff_ffff;

/// As the libraries do it, one branch after the other.
fn goes_left(ensemble: &Ensemble, test: &Test, missing_left: bool, row: &[f64]) -> bool {
    match test {
        Test::AtMost { feature, threshold } => {
            let x = row[*feature as usize];
            let zero = ensemble.zero_is_missing.get(*feature as usize) == Some(&true);
            let missing = x.is_nan()
                || zero && (-1e-35_f32..=1e-35_f32).contains(&(x as f32)) && {
                    x >= -f64::from(1e-35_f32) && x <= f64::from(1e-35_f32)
                };
            if missing { missing_left } else { x <= *threshold }
        }
        Test::Category { feature, left, known } => {
            let x = row[*feature as usize];
            let cast = if x > -2147483649.0 && x < 2147483648.0 { x.trunc() as i64 } else { -2147483648 };
            let has = |bits: &[u32], c: i64| {
                bits.get(c as usize / 32).is_some_and(|word| word & 1 << (c % 32) != 0)
            };
            match ensemble.rule.unwrap() {
                CategoryRule::Histogram => {
                    let c = cast.rem_euclid(256);
                    if x.is_nan() || x < 0.0 {
                        missing_left
                    } else if has(left, c) {
                        true
                    } else if has(known, c) {
                        false
                    } else {
                        missing_left
                    }
                }
                CategoryRule::LightGbm => !x.is_nan() && cast >= 0 && has(left, cast),
                CategoryRule::XgBoost if x.is_nan() => missing_left,
                CategoryRule::XgBoost => {
                    !(0.0..16_777_216.0).contains(&x) || cast as usize / 32 >= left.len() || has(left, cast)
                }
            }
        }
    }
}

/// Raw scores, and the origin of every leaf.
fn expected(ensemble: &Ensemble, sum: Float, x: &Array2<f64>) -> (Vec<f64>, Vec<i64>) {
    let (mut scores, mut leaves) = (vec![], vec![]);
    for row in x.rows() {
        let row: Vec<f64> = match ensemble.input {
            Float::F32 => row.iter().map(|&x| f64::from(x as f32)).collect(),
            Float::F64 => row.to_vec(),
        };
        let mut sums = START;
        for (t, tree) in ensemble.trees.iter().enumerate() {
            let mut at = 0;
            let value = loop {
                match &tree.nodes[at].kind {
                    PlainKind::Leaf { value } => break *value,
                    PlainKind::Split { test, left, right, missing_left } => {
                        at = if goes_left(ensemble, test, *missing_left, &row) { *left } else { *right }
                            as usize;
                    }
                }
            };
            leaves.push(i64::from(tree.nodes[at].origin));
            let sum_to = &mut sums[t / PARALLEL % 2];
            *sum_to = match sum {
                Float::F32 => f64::from(*sum_to as f32 + value as f32),
                Float::F64 => *sum_to + value,
            };
        }
        scores.extend(sums);
    }
    (scores, leaves)
}

/// A plan that boosts with the ensemble.
fn plan(ensemble: Ensemble, sum: Float) -> (Plan, Memory) {
    let (n_features, input, n_trees) = (ensemble.n_features, ensemble.input, ensemble.trees.len());
    let laid_out = ensemble.lay_out().unwrap();
    let mut arrays = vec![];
    let mut names = vec![];
    for staged in laid_out.arrays {
        names.push((staged.name, staged.index));
        let bytes = match staged.data {
            StagedData::Memory(bytes) => bytes,
            StagedData::Spool(mut file) => {
                let mut bytes = vec![];
                std::io::Seek::rewind(&mut file).unwrap();
                std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
                bytes
            }
            StagedData::Part(_) => unreachable!("trees are not parts of the source"),
        };
        arrays.push((staged.info, bytes));
    }
    let ids: Vec<ArrayId> = (0..arrays.len() as u32).map(ArrayId).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    let layout = (laid_out.layout)(&ids);
    let start = match sum {
        Float::F32 => bytemuck::cast_slice(&START.map(|start| start as f32)).to_vec(),
        Float::F64 => bytemuck::cast_slice(&START).to_vec(),
    };
    let dtype = if sum == Float::F32 { Dtype::F32 } else { Dtype::F64 };
    arrays.push((ArrayInfo { dtype, shape: vec![2], order: Order::C }, start));
    let head = Head::Boosted(Boosted {
        columns: 2,
        parallel: PARALLEL as u32,
        sum,
        start: ArrayId(arrays.len() as u32 - 1),
        link: BoostedLink::Identity,
        kind: BoostedKind::Regressor,
        mean_of: None,
        apply: LeafNumbers::Trees,
    });
    let trees = Trees {
        nan_allowed: true,
        infinity_allowed: true,
        ..Trees::new("Booster".to_owned(), input, n_features, n_trees as u32, head, layout)
    };
    (Plan::Native { ops: vec![Op::Trees(trees)], members: vec![] }, Memory::new(arrays))
}

fn threshold() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-4i32..4, -1i64..2).prop_map(|(x, ulps)| {
            f64::from_bits((f64::from(x) * 0.5).to_bits().wrapping_add_signed(ulps))
        }),
        prop::sample::select(vec![
            0.0,
            -0.0,
            1e-35,
            -1e-35,
            f64::MIN_POSITIVE,
            5e-324,
            f64::INFINITY,
            -1e300
        ]),
        any::<f64>(),
    ]
}

fn value(pick: u32) -> f64 {
    let edges = [
        0.0,
        -0.0,
        1e-35,
        -1e-35,
        1.1e-35,
        1e-36,
        5e-324,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.5,
        31.9,
        32.0,
        63.0,
        64.0,
        255.0,
        256.0,
        16_777_216.0,
        4_294_967_297.0,
        -3.0,
        1e300,
    ];
    match pick % 4 {
        0 => edges[pick as usize / 4 % edges.len()],
        1 => f64::from(pick / 4 % 70),
        2 => f64::from(pick / 4 % 16) * 0.5 - 4.0,
        _ => f64::from(f32::from_bits(pick)),
    }
}

fn ensembles() -> impl Strategy<Value = (Ensemble, Float)> {
    let rules =
        [None, Some(CategoryRule::Histogram), Some(CategoryRule::LightGbm), Some(CategoryRule::XgBoost)];
    let floats = [Float::F32, Float::F64];
    let pick = (any::<u32>(), 0..N_FEATURES, threshold(), prop_oneof![0u64..16, any::<u64>()], any::<bool>());
    let trees = prop::collection::vec(prop::collection::vec(pick, 0..30), 1..40);
    let choices = (
        prop::sample::select(rules.to_vec()),
        prop::sample::select(floats.to_vec()),
        prop::sample::select(floats.to_vec()),
        prop::collection::vec(any::<bool>(), 0..=N_FEATURES),
    );
    (trees, choices).prop_map(|(trees, (rule, input, sum, zero_is_missing))| {
        let trees = trees.iter().map(|picks| grow(picks, rule, input)).collect();
        let n_features = N_FEATURES as u32;
        (Ensemble { n_features, input, leaves: sum, trees, zero_is_missing, rule }, sum)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ensembles_answer_as_their_own_nodes(
        (ensemble, sum) in ensembles(), picks in prop::collection::vec(any::<u32>(), 4..300), threads in 1usize..3
    ) {
        let n = picks.len() / N_FEATURES;
        let values = picks[..n * N_FEATURES].iter().map(|&pick| value(pick)).collect();
        let x = Array2::from_shape_vec((n, N_FEATURES), values).unwrap();
        let (scores, leaves) = expected(&ensemble, sum, &x);
        let narrow = x.mapv(|x| x as f32);
        let (narrow_scores, _) = expected(&ensemble, sum, &narrow.mapv(f64::from));
        let asked = Asked::new(ensemble, sum, threads);
        let (expected_bits, narrow_bits) = (bits(&scores), bits(&narrow_scores));
        let mut fortran = Array2::zeros((n, N_FEATURES).f());
        fortran.assign(&x);
        let mut spread = Array2::zeros((n * 2, N_FEATURES * 2));
        let every = |axis: AxisDescription| Slice::new(0, None, if axis.axis.0 == 0 { 2 } else { -2 });
        spread.slice_each_axis_mut(every).assign(&x);
        for portable in [false, true] {
            PORTABLE.set(portable);
            prop_assert_eq!(&expected_bits, &asked.scores((&x).into()));
            prop_assert_eq!(&narrow_bits, &asked.scores((&narrow).into()));
            prop_assert_eq!(&expected_bits, &asked.scores(fortran.view().into()));
            prop_assert_eq!(&expected_bits, &asked.scores(spread.slice_each_axis(every).into()));
            prop_assert_eq!(&leaves, &asked.leaves((&x).into()));
        }
        PORTABLE.set(false);
    }
}

/// A plan that is asked.
struct Asked {
    plan: Plan,
    arrays: Memory,
    options: RunOptions,
}

impl Asked {
    fn new(ensemble: Ensemble, sum: Float, threads: usize) -> Self {
        let (plan, arrays) = plan(ensemble, sum);
        validate(&plan, &arrays).unwrap();
        Asked { plan, arrays, options: RunOptions { threads: Some(threads), check_finite: false } }
    }

    fn run(&self, method: Method, x: Input<'_>) -> OutputArray {
        run(&self.plan, &self.arrays, method, x, &self.options).unwrap().arrays.remove(0)
    }

    fn scores(&self, x: Input<'_>) -> Vec<u64> {
        let array = self.run(Method::RawScores, x);
        match array.view::<f64>() {
            Some(values) => values.iter().map(|x| x.to_bits()).collect(),
            None => array.view::<f32>().unwrap().iter().map(|x| f64::from(*x).to_bits()).collect(),
        }
    }

    fn leaves(&self, x: Input<'_>) -> Vec<i64> {
        self.run(Method::Apply, x).view::<i64>().unwrap().iter().copied().collect()
    }
}

fn bits(scores: &[f64]) -> Vec<u64> {
    scores.iter().map(|x| x.to_bits()).collect()
}

/// `len` splits, each with a leaf on one side.
fn chain(len: usize, n_features: usize) -> PlainTree {
    let leaf = |origin: usize| PlainNode {
        kind: PlainKind::Leaf { value: f64::from(origin as f32 * 0.1) },
        samples: 1.0,
        origin: origin as u32,
    };
    let mut nodes = vec![leaf(0)];
    let mut at = 0;
    for i in 0..len {
        let left = nodes.len();
        let feature = (i * 7 % n_features) as u32;
        let threshold = (i % 11) as f64 * 0.1 - if i % 2 == 0 { 1.0 } else { -1.0 };
        nodes[at].kind = PlainKind::Split {
            test: Test::AtMost { feature, threshold },
            left: left as u32,
            right: left as u32 + 1,
            missing_left: i % 3 == 0,
        };
        nodes.extend([leaf(left), leaf(left + 1)]);
        at = left + usize::from(i % 2 == 0);
    }
    PlainTree { nodes }
}

#[test]
fn chains_and_lone_leaves_over_many_features_answer_as_their_own_nodes() {
    for (n_features, len) in [(1, 40), (31, 300), (32, 3), (33, 1000), (3000, 700), (5000, 9000)] {
        let trees =
            (0..37).map(|t| if t % 5 == 0 { chain(0, 1) } else { chain(len / (t % 4 + 1), n_features) });
        let trees: Vec<_> = trees.collect();
        let ensemble = Ensemble {
            n_features: n_features as u32,
            input: Float::F32,
            leaves: Float::F64,
            trees,
            zero_is_missing: vec![],
            rule: None,
        };
        for (n, nan) in [(1, true), (2, true), (7, true), (11, false), (16, false), (16, true), (17, true)] {
            let x = Array2::from_shape_fn((n, n_features), |(row, column)| {
                let pick = (row * 31 + column * 17) % 23;
                if pick == 0 && row % 2 == 1 && nan { f64::NAN } else { pick as f64 * 0.1 - 1.1 }
            });
            let (scores, leaves) = expected(&ensemble, Float::F64, &x);
            let asked = Asked::new(copy(&ensemble), Float::F64, 1);
            for portable in [false, true] {
                PORTABLE.set(portable);
                assert_eq!(bits(&scores), asked.scores((&x).into()), "{n_features} {n} {nan} {portable}");
                assert_eq!(leaves, asked.leaves((&x).into()), "{n_features} {n} {nan} {portable}");
            }
        }
    }
}

fn copy(ensemble: &Ensemble) -> Ensemble {
    let n_features = ensemble.n_features as usize;
    let copied = |tree: &PlainTree| match tree.nodes.len() {
        1 => chain(0, 1),
        n => chain((n - 1) / 2, n_features),
    };
    Ensemble { trees: ensemble.trees.iter().map(copied).collect(), zero_is_missing: vec![], ..*ensemble }
}
