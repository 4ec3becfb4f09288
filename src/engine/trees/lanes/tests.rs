//! Trees side by side against the same trees in the compact layout, for every kernel that runs here.

use ndarray::{Array2, ShapeBuilder};
use proptest::prelude::*;

use super::*;
use crate::engine::RunOptions;
use crate::format::dtype::Dtype;
use crate::format::{ArrayId, ArrayInfo, Order, Role};
use crate::model::array::ArraySink;
use crate::model::array::tests::Memory;
use crate::model::lower::trees::ensemble::{Ensemble, PlainKind, PlainNode, PlainTree, Test};
use crate::model::plan::validate::validate;
use crate::model::plan::{Boosted, BoostedKind, BoostedLink, LeafNumbers, Op, Plan};

const EDGES: [f64; 12] = [
    0.0,
    -0.0,
    1.5,
    -1.5,
    0.1,
    1e-45,
    f64::MIN_POSITIVE,
    -5e-324,
    f64::INFINITY,
    f64::NEG_INFINITY,
    1e300,
    f32::MAX as f64,
];

/// What a random ensemble is made of.
#[derive(Clone, Debug)]
struct Recipe {
    n_features: u32,
    input: Float,
    leaves: Float,
    n_trees: usize,
    /// Most leaves of a tree, and most steps to one.
    most: (usize, u32),
    columns: u32,
    parallel: u32,
    seed: u64,
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn value(&mut self) -> f64 {
        match self.below(4) {
            0 => EDGES[self.below(EDGES.len() as u64) as usize],
            1 => self.below(16) as f64 * 0.25 - 2.0,
            2 => (self.below(16) as f64 * 0.25 - 2.0).next_up(),
            _ => f64::from(f32::from_bits(self.below(1 << 32) as u32)).max(-1e30),
        }
    }
}

impl Recipe {
    fn ensemble(&self) -> Ensemble {
        let mut random = Random(self.seed | 1);
        let first = self.tree(&mut Random(3));
        let trees = (1..self.n_trees).map(|_| self.tree(&mut random));
        let trees = std::iter::once(first).chain(trees).collect();
        Ensemble {
            n_features: self.n_features,
            input: self.input,
            leaves: self.leaves,
            trees,
            zero_is_missing: Vec::new(),
            rule: None,
        }
    }

    fn tree(&self, random: &mut Random) -> PlainTree {
        let leaf = |value: u64, origin: u32| {
            let value = f64::from(value as f32 / 7.0 - 3.0);
            PlainNode { kind: PlainKind::Leaf { value }, samples: 1.0, origin }
        };
        let mut nodes = vec![leaf(random.below(99), 7)];
        let mut open = vec![(0usize, 0u32)];
        let mut n_leaves = 1;
        let most = if random.below(9) == 0 { 1 } else { self.most.0 };
        while n_leaves < most && !open.is_empty() {
            let (at, depth) = open.swap_remove(random.below(open.len() as u64) as usize);
            // Some leaves stay, but some tree has a split.
            if depth >= self.most.1 || (n_leaves > 1 && random.below(6) == 0) {
                continue;
            }
            let left = nodes.len() as u32;
            let feature = random.below(u64::from(self.n_features)) as u32;
            let test = Test::AtMost { feature, threshold: random.value() };
            let missing_left = random.below(2) == 0;
            nodes[at].kind = PlainKind::Split { test, left, right: left + 1, missing_left };
            nodes.extend([leaf(random.below(99), 2 * left), leaf(random.below(99), 2 * left + 1)]);
            open.extend([(left as usize, depth + 1), (left as usize + 1, depth + 1)]);
            n_leaves += 1;
        }
        PlainTree { nodes }
    }

    /// The plan of the model, and its arrays.
    fn model(&self, compact: bool) -> (Plan, Memory) {
        let mut arrays = Memory::default();
        let laid_out = if compact { self.ensemble().lay_out_compact() } else { self.ensemble().lay_out() };
        let layout = laid_out.unwrap().write(&mut arrays);
        let start: Vec<f64> = (0..self.columns).map(|column| f64::from(column) * 0.5 - 0.25).collect();
        let (dtype, bytes) = match self.leaves {
            Float::F64 => (Dtype::F64, bytemuck::cast_slice(&start).to_vec()),
            Float::F32 => {
                let start: Vec<f32> = start.iter().map(|value| *value as f32).collect();
                (Dtype::F32, bytemuck::cast_slice(&start).to_vec())
            }
        };
        let info = ArrayInfo { dtype, shape: vec![u64::from(self.columns)], order: Order::C };
        let start = arrays.add("start", &info, Role::Predict, &mut bytes.as_slice()).unwrap();
        let trees = Trees {
            nan_allowed: true,
            infinity_allowed: true,
            ..Trees::new(
                "Boosted".to_owned(),
                self.input,
                self.n_features,
                self.n_trees as u32,
                Head::Boosted(Boosted {
                    columns: self.columns,
                    parallel: self.parallel,
                    sum: self.leaves,
                    start,
                    link: BoostedLink::Identity,
                    kind: BoostedKind::Regressor,
                    mean_of: None,
                    apply: LeafNumbers::Trees,
                }),
                layout,
            )
        };
        let plan = Plan::Native { ops: vec![Op::Trees(trees)], members: Vec::new() };
        validate(&plan, &arrays).unwrap();
        (Plan::decode(&plan.encode()).unwrap(), arrays)
    }

    fn rows(&self, n: usize, seed: u64, nan: bool) -> Array2<f64> {
        let mut random = Random(seed | 1);
        Array2::from_shape_fn((n, self.n_features as usize), |_| {
            if nan && random.below(9) == 0 { f64::NAN } else { random.value() }
        })
    }
}

/// The bits of the scores, and the leaves.
fn answer(
    plan: &Plan,
    arrays: &Memory,
    x: Input<'_>,
    threads: usize,
    kernels: Kernels,
) -> (Vec<u64>, Vec<i64>) {
    let Plan::Native { ops, .. } = plan else { unreachable!() };
    let Op::Trees(trees) = &ops[0] else { unreachable!() };
    let options = RunOptions { threads: Some(threads), check_finite: false };
    let run = Run { ops, arrays, options: &options, begin: None };
    let (scores, leaves) = match trees.layout {
        TreeLayout::Lanes { .. } => {
            (scores(run, trees, &x, kernels).unwrap(), apply(run, trees, &x, kernels).unwrap())
        }
        _ => (
            super::super::compact::scores(run, trees, &x).unwrap(),
            super::super::compact::apply(run, trees, &x).unwrap(),
        ),
    };
    let bits = match scores {
        Scores::F32(scores) => scores.iter().map(|score| u64::from(score.to_bits())).collect(),
        Scores::F64(scores) => scores.iter().map(|score| score.to_bits()).collect(),
    };
    (bits, leaves)
}

fn floats() -> impl Strategy<Value = Float> {
    prop_oneof![Just(Float::F32), Just(Float::F64)]
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let most = prop_oneof![
        (2usize..=8, 1u32..=3),
        (10usize..=64, 4u32..=6),
        (4usize..=32, 7u32..=30),
        (33usize..=64, 7u32..=60),
        Just((64, 6)),
        Just((8, 3)),
    ];
    (1u32..=128, floats(), floats(), 8usize..90, most, 1u32..4, 1u32..3, any::<u64>()).prop_map(
        |(n_features, input, leaves, n_trees, most, columns, parallel, seed)| Recipe {
            // Few features with many thresholds would not be laid out side by side.
            n_features: if n_trees * most.0 > 900 { n_features.max(12) } else { n_features },
            input,
            leaves,
            n_trees,
            most,
            columns,
            parallel,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn trees_side_by_side_answer_as_compact_trees_do(
        recipe in recipe(), n in prop_oneof![1usize..8, 8usize..20, 60usize..70, Just(300)], nan in any::<bool>(), seed in any::<u64>()
    ) {
        let (plan, arrays) = recipe.model(false);
        let (compact, compact_arrays) = recipe.model(true);
        let x = recipe.rows(n, seed, nan);
        let single = x.mapv(|value| value as f32);
        let mut columns = Array2::zeros(x.dim().f());
        columns.assign(&x);
        let mut strided = Array2::zeros((n, 2 * x.ncols()));
        strided.slice_axis_mut(Axis(1), Slice::new(0, None, 2)).assign(&x);
        let strided = strided.slice_axis(Axis(1), Slice::new(0, None, 2));
        let inputs = [Input::F64(x.view()), Input::F32(single.view()), (&columns).into(), strided.into()];
        for x in inputs {
            let expected = answer(&compact, &compact_arrays, x, 1, Kernels::Portable);
            for kernels in Kernels::all() {
                for threads in [1, 2] {
                    prop_assert_eq!(&expected, &answer(&plan, &arrays, x, threads, kernels));
                }
            }
        }
    }

    #[test]
    fn damaged_trees_side_by_side_are_refused_or_stay_within_the_model(
        recipe in recipe(), array in 0usize..7, at in any::<prop::sample::Index>(), to in any::<u8>()
    ) {
        let (plan, mut arrays) = recipe.model(false);
        let array = array % arrays.arrays.len();
        let bytes = &mut arrays.arrays[array].1;
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if validate(&plan, &arrays).is_ok() {
            for n in [1, 70] {
                let x = recipe.rows(n, 3, true);
                Kernels::all().into_iter().for_each(|kernels| drop(answer(&plan, &arrays, (&x).into(), 1, kernels)));
            }
        }
    }
}

fn fixed(n_features: u32, n_trees: usize, most: (usize, u32)) -> Recipe {
    let (input, leaves) = (Float::F32, Float::F64);
    Recipe { n_features, input, leaves, n_trees, most, columns: 1, parallel: 1, seed: 1 }
}

fn layout(plan: &Plan) -> TreeLayout {
    let Plan::Native { ops, .. } = plan else { unreachable!() };
    let Op::Trees(trees) = &ops[0] else { unreachable!() };
    trees.layout.clone()
}

#[test]
fn small_trees_are_laid_out_side_by_side() {
    let heap = |recipe: Recipe| match layout(&recipe.model(false).0) {
        TreeLayout::Lanes { heap, .. } => Some(heap),
        _ => None,
    };
    assert_eq!(Some(Some(3)), heap(fixed(30, 100, (8, 3))));
    assert_eq!(Some(Some(6)), heap(fixed(100, 100, (64, 6))));
    assert_eq!(Some(None), heap(fixed(100, 100, (31, 20))));
    assert_eq!(None, heap(fixed(30, 4, (8, 3))), "few trees");
    assert_eq!(None, heap(fixed(200, 500, (8, 3))), "many features");
    assert_eq!(None, heap(fixed(100, 100, (100, 20))), "large trees");
}

#[test]
fn side_by_side_a_node_takes_fewer_than_four_bytes() {
    for (recipe, most) in [(fixed(100, 320, (64, 6)), 4), (fixed(100, 320, (31, 30)), 4)] {
        let (plan, arrays) = recipe.model(false);
        let TreeLayout::Lanes { nodes, .. } = layout(&plan) else { unreachable!() };
        let n_nodes: usize = recipe.ensemble().trees.iter().map(|tree| tree.nodes.len()).sum();
        assert!(arrays.arrays[nodes.0 as usize].1.len() <= most * n_nodes);
    }
}

#[test]
fn more_thresholds_than_a_byte_counts_are_ranked_chunk_by_chunk() {
    let recipe = fixed(2, 600, (8, 3));
    let (plan, arrays) = recipe.model(false);
    let TreeLayout::Lanes { chunks: ArrayId(chunks), .. } = layout(&plan) else { unreachable!() };
    assert!(arrays.arrays[chunks as usize].0.shape[0] > 2);
}
