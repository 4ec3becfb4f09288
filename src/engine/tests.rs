//! Trees against a walk that follows the foreign nodes one by one.

use ndarray::{Array2, ShapeBuilder};
use proptest::prelude::*;

use super::*;
use crate::engine::trees::compact::{PORTABLE, UNCUT};
use crate::model::array::tests::Memory;
use crate::model::lower::trees::tests::{FakeForest, FakeNode, FakeTree, LEAF};
use crate::model::plan::TreeLayout;
use crate::model::plan::validate::validate;

const EDGES: [f32; 9] =
    [0.0, -0.0, 1e-45, -1e-45, f32::MIN_POSITIVE, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX];

/// A tree grown from random numbers: each splits the leaf it falls on.
fn grow(splits: &[(u32, usize, f64, bool)], width: usize) -> FakeTree {
    let mut nodes = vec![LEAF];
    for &(pick, feature, threshold, missing) in splits {
        let leaves: Vec<usize> = (0..nodes.len()).filter(|&i| nodes[i].left == -1).collect();
        let at = leaves[pick as usize % leaves.len()];
        let left = nodes.len() as i64;
        let (right, feature, samples) = (left + 1, feature as i64, i64::from(pick % 7));
        nodes[at] = FakeNode { left, right, feature, threshold, samples, missing };
        nodes.extend([FakeNode { samples: i64::from(pick % 5), ..LEAF }, LEAF]);
    }
    let value = |node: usize, i: usize| {
        ((node * 7 + i * 3) % 11) as f64 / 11.0 - if node.is_multiple_of(3) { 0.0 } else { 0.3 }
    };
    let values = (0..nodes.len()).map(|node| (0..width).map(|i| value(node, i)).collect()).collect();
    FakeTree { nodes, values }
}

/// The tree with its nodes in the order of a walk, left children first, and leaves of few values: pairs of them are shared.
fn in_preorder(tree: &FakeTree) -> FakeTree {
    let (mut nodes, mut stack) = (vec![], vec![(0, None)]);
    while let Some((old, parent)) = stack.pop() {
        let node: FakeNode = tree.nodes[old];
        if let Some(parent) = parent {
            nodes[parent] = FakeNode { right: nodes.len() as i64, ..nodes[parent] };
        }
        if node.left != -1 {
            stack.extend([(node.right as usize, Some(nodes.len())), (node.left as usize, None)]);
        }
        let left = if node.left == -1 { -1 } else { nodes.len() as i64 + 1 };
        nodes.push(FakeNode { left, ..node });
    }
    let values = (0..nodes.len()).map(|node| tree.values[node % 3 % tree.nodes.len()].clone()).collect();
    FakeTree { nodes, values }
}

/// Trees of at most `depth` levels, of which one split in `holes` is missing. Their nodes are in the order of a walk.
fn few_levels(
    seed: u64,
    depth: u32,
    n_trees: usize,
    n_features: usize,
    width: usize,
    holes: u32,
) -> FakeForest {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as u32
    };
    let trees = (0..n_trees).map(|_| {
        let (mut nodes, mut stack) = (vec![], vec![(depth, None)]);
        while let Some((levels, parent)) = stack.pop() {
            let at: usize = nodes.len();
            if let Some(parent) = parent {
                nodes[parent] = FakeNode { right: at as i64, ..nodes[parent] };
            }
            if levels == 0 || random() % holes == 0 && levels < depth {
                nodes.push(LEAF);
                continue;
            }
            let threshold = f64::from(random() % 16) * 0.5 - 4.0;
            let (feature, missing) = (i64::from(random() % n_features as u32), random() % 2 == 0);
            let left = at as i64 + 1;
            nodes.push(FakeNode { left, right: -1, feature, threshold, samples: 1, missing });
            stack.extend([(levels - 1, Some(at)), (levels - 1, None)]);
        }
        let mut value = |_| f64::from(random() % 1000) / 999.0;
        let values = (0..nodes.len()).map(|_| (0..width).map(&mut value).collect()).collect();
        FakeTree { nodes, values }
    });
    let trees = trees.collect();
    FakeForest {
        n_features,
        n_classes: vec![width],
        classifier: width > 1,
        average: true,
        trees,
        version: "1.9.1",
    }
}

fn threshold() -> impl Strategy<Value = f64> {
    prop_oneof![
        (0..EDGES.len()).prop_map(|edge| f64::from(EDGES[edge])),
        (-4i32..4, -1i64..2).prop_map(|(x, ulps)| {
            f64::from_bits((f64::from(x) * 0.5).to_bits().wrapping_add_signed(ulps))
        }),
        any::<f64>(),
    ]
}

pub(super) fn forest() -> impl Strategy<Value = FakeForest> {
    let dims = (1usize..5, any::<bool>(), any::<bool>(), prop::collection::vec(1usize..4, 1..4));
    dims.prop_flat_map(|(n_features, average, classifier, n_classes)| {
        let n_classes = if classifier { n_classes } else { vec![1; n_classes.len()] };
        let width = n_classes.len() * n_classes.iter().max().unwrap();
        let split = (any::<u32>(), 0..n_features, threshold(), any::<bool>());
        let tree = (prop::collection::vec(split, 0..40), any::<bool>()).prop_map(move |(splits, ordered)| {
            let tree = grow(&splits, width);
            if ordered { in_preorder(&tree) } else { tree }
        });
        let trees = prop::collection::vec(tree, 1..=if average { 40 } else { 1 });
        trees.prop_map(move |trees| {
            let n_classes = n_classes.clone();
            FakeForest { n_features, n_classes, classifier, average, trees, version: "1.9.1" }
        })
    })
}

pub(super) fn rows(n_features: usize, picks: &[u32]) -> Array2<f32> {
    let value = |(i, &pick): (usize, &u32)| match pick % 3 {
        0 => EDGES[i * 5 % EDGES.len()],
        1 => (pick % 16) as f32 * 0.5 - 4.0,
        _ => f32::from_bits(pick),
    };
    let values: Vec<f32> = picks.iter().enumerate().map(value).collect();
    let n = values.len() / n_features;
    Array2::from_shape_vec((n, n_features), values[..n * n_features].to_vec()).unwrap()
}

/// Rows of `width` values, as scikit-learn computes them.
fn expected_scores(forest: &FakeForest, x: &Array2<f32>) -> Vec<f64> {
    let mut out = Vec::new();
    for row in x.rows() {
        let leaf = |tree: &FakeTree| tree.values[tree.apply(row.as_slice().unwrap())].clone();
        if !forest.average {
            out.extend(leaf(&forest.trees[0]));
            continue;
        }
        let mut sums = vec![0.0; forest.width()];
        for tree in &forest.trees {
            sums.iter_mut().zip(leaf(tree)).for_each(|(sum, value)| *sum += value);
        }
        out.extend(sums.iter().map(|sum| sum / forest.trees.len() as f64));
    }
    out
}

pub(super) fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn run_all(forest: &FakeForest, x: Input<'_>, method: Method, threads: usize) -> Output {
    let (plan, arrays) = forest.lower().unwrap();
    validate(&plan, &arrays).unwrap();
    let plan = Plan::decode(&plan.encode()).unwrap();
    run(&plan, &arrays, method, x, &RunOptions { threads: Some(threads), check_finite: false }).unwrap()
}

fn scores(forest: &FakeForest, x: Input<'_>, threads: usize) -> Vec<f64> {
    if !forest.classifier {
        return run_all(forest, x, Method::Predict, threads).arrays[0].values().unwrap().to_vec();
    }
    // Each output's columns, put side by side again.
    let output = run_all(forest, x.view(), Method::PredictProba, threads);
    let max = forest.n_classes.iter().max().unwrap();
    let mut out = vec![f64::NAN; x.n_rows() * forest.width()];
    for (k, array) in output.arrays.iter().enumerate() {
        for ((row, class), &p) in
            array.view::<f64>().unwrap().into_dimensionality::<ndarray::Ix2>().unwrap().indexed_iter()
        {
            out[row * forest.width() + k * max + class] = p;
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn trees_answer_as_a_walk_over_the_foreign_nodes(
        forest in forest(), picks in prop::collection::vec(any::<u32>(), 5..300)
    ) {
        let x = rows(forest.n_features, &picks);
        let mut expected = expected_scores(&forest, &x);
        if forest.classifier {
            // Columns of classes that an output does not have are not given.
            let max = *forest.n_classes.iter().max().unwrap();
            let width = forest.width();
            for (i, value) in expected.iter_mut().enumerate() {
                if i % width % max >= forest.n_classes[i % width / max] { *value = f64::NAN; }
            }
        }
        let wide = x.mapv(f64::from);
        let mut columns = Array2::zeros(x.dim().f());
        columns.assign(&x);
        prop_assert_eq!(bits(&expected), bits(&scores(&forest, (&x).into(), 1)));
        prop_assert_eq!(bits(&expected), bits(&scores(&forest, (&wide).into(), 2)));
        prop_assert_eq!(bits(&expected), bits(&scores(&forest, (&columns).into(), 1)));
        let applied: Vec<i64> = x.rows().into_iter()
            .flat_map(|row| forest.trees.iter().map(|tree| tree.apply(row.as_slice().unwrap()) as i64).collect::<Vec<_>>())
            .collect();
        for portable in [false, true] {
            PORTABLE.set(portable);
            let leaves = run_all(&forest, (&x).into(), Method::Apply, 1);
            PORTABLE.set(false);
            prop_assert_eq!(&applied[..], leaves.arrays[0].values::<i64>().unwrap());
        }
    }

    #[test]
    fn trees_of_few_levels_answer_as_a_walk_over_the_foreign_nodes(
        (seed, depth, n_trees) in (1u64.., 1u32..15, 1usize..20), (n_features, width) in (1usize..35, 1usize..5),
        holes in 1u32..12, picks in prop::collection::vec(any::<u32>(), 40..700)
    ) {
        let forest = few_levels(seed, depth, n_trees, n_features, width, holes);
        let x = rows(n_features, &picks);
        let expected = bits(&expected_scores(&forest, &x));
        for (uncut, portable, threads) in [(false, false, 1), (false, false, 2), (true, false, 1), (true, true, 1)] {
            UNCUT.set(uncut);
            PORTABLE.set(portable);
            let found = scores(&forest, (&x).into(), threads);
            UNCUT.set(false);
            PORTABLE.set(false);
            prop_assert_eq!(&expected, &bits(&found), "uncut {} portable {}", uncut, portable);
        }
    }

    #[test]
    fn a_damaged_subtree_is_found_before_it_is_followed(
        seed in 1u64.., array in 0usize..3, at in any::<prop::sample::Index>(), bit in 0u32..32,
        picks in prop::collection::vec(any::<u32>(), 40..200)
    ) {
        let forest = few_levels(seed, 10, 3, 3, 2, u32::MAX);
        let (plan, mut arrays) = forest.lower().unwrap();
        let name = ["subtrees", "below", "crowns"][array];
        let position = arrays.names.iter().position(|found| found == name).unwrap();
        let bytes = &mut arrays.arrays[position].1;
        let byte = at.index(bytes.len() / 4) * 4 + bit as usize / 8;
        bytes[byte] ^= 1 << (bit % 8);
        if validate(&plan, &arrays).is_ok() {
            let x = rows(forest.n_features, &picks);
            let options = RunOptions { threads: Some(1), check_finite: false };
            for n_rows in [1, x.nrows()] {
                let x = x.slice(ndarray::s![..n_rows, ..]);
                run(&plan, &arrays, Method::Predict, x.into(), &options).unwrap();
            }
        }
    }

    #[test]
    fn numbers_of_leaves_are_followed_nowhere(
        forest in forest(), ones in any::<bool>(), picks in prop::collection::vec(any::<u32>(), 5..300)
    ) {
        let (mut plan, mut arrays) = forest.lower().unwrap();
        let origin = arrays.names.iter().position(|name| name == "origin").unwrap();
        arrays.arrays[origin].1.iter_mut().enumerate().for_each(|(at, byte)| {
            *byte = if ones || at / 4 % 3 == 0 { 0xff } else { 0xfe };
        });
        let Plan::Native { ops, .. } = &mut plan else { unreachable!() };
        let Op::Trees(trees) = &mut ops[0] else { unreachable!() };
        let TreeLayout::Compact { shared, .. } = &mut trees.layout else { unreachable!() };
        *shared = true;
        validate(&plan, &arrays).unwrap();
        let x = rows(forest.n_features, &picks);
        for portable in [false, true] {
            PORTABLE.set(portable);
            let options = RunOptions { threads: Some(1), check_finite: false };
            let numbers = run(&plan, &arrays, Method::Apply, (&x).into(), &options);
            PORTABLE.set(false);
            let n_numbers = numbers.unwrap().arrays[0].values::<i64>().map(<[i64]>::len);
            prop_assert_eq!(Some(x.nrows() * forest.trees.len()), n_numbers);
        }
    }

    #[test]
    fn a_damaged_node_is_found_before_it_is_followed(
        forest in forest(), at in any::<prop::sample::Index>(), bit in 0u32..64, picks in prop::collection::vec(any::<u32>(), 40)
    ) {
        let (plan, mut arrays) = forest.lower().unwrap();
        let nodes = arrays.names.iter().position(|name| name == "nodes").unwrap();
        let bytes = &mut arrays.arrays[nodes].1;
        let byte = at.index(bytes.len() / 8) * 8 + bit as usize / 8;
        bytes[byte] ^= 1 << (bit % 8);
        // Either validation refuses it, or the walk ends within the tree: no panic, no endless loop.
        if validate(&plan, &arrays).is_ok() {
            let x = rows(forest.n_features, &picks);
            let options = RunOptions { threads: Some(1), check_finite: false };
            run(&plan, &arrays, Method::Predict, (&x).into(), &options).unwrap();
            run(&plan, &arrays, Method::Apply, (&x).into(), &options).unwrap();
        }
    }
}

#[test]
fn trees_are_cut_if_they_fit() {
    let is_cut = |depth, n_features, holes| {
        let (plan, _) = few_levels(7, depth, 4, n_features, 2, holes).lower().unwrap();
        let Plan::Native { ops, .. } = plan else { unreachable!() };
        let Op::Trees(trees) = &ops[0] else { unreachable!() };
        let TreeLayout::Compact { subtrees, crowns, .. } = trees.layout else { unreachable!() };
        assert!(subtrees.is_none() || crowns.is_some());
        subtrees.map(|subtrees| subtrees.hops)
    };
    assert_eq!([None, Some(1), Some(1), Some(2)], [5, 6, 7, 8].map(|depth| is_cut(depth, 32, u32::MAX)));
    assert_eq!([Some(2), Some(3), Some(3), None], [10, 11, 13, 14].map(|depth| is_cut(depth, 1, u32::MAX)));
    assert_eq!(None, is_cut(10, 33, u32::MAX), "there are more columns than registers have room for");
    assert_eq!(None, is_cut(13, 2, 3), "most splits of the lower levels are missing");
}

fn two_leaves(classifier: bool) -> (Plan, Memory) {
    let mut tree = grow(&[(0, 1, 0.5, false)], if classifier { 2 } else { 1 });
    tree.values = if classifier { vec![vec![0.2, 0.8]; 3] } else { vec![vec![-0.0]; 3] };
    let n_classes = vec![if classifier { 2 } else { 1 }];
    let trees = vec![tree];
    let forest = FakeForest { n_features: 2, n_classes, classifier, average: false, trees, version: "1.2.2" };
    forest.lower().unwrap()
}

#[test]
fn questions_that_cannot_be_answered_say_why() {
    let (plan, arrays) = two_leaves(false);
    let ask = |method, x: &Array2<f64>| {
        run(&plan, &arrays, method, x.into(), &RunOptions::default()).unwrap_err().to_string()
    };
    let fine = Array2::zeros((3, 2));
    assert_eq!(
        "DecisionTreeRegressor has no `predict_proba`; it has `predict`, `apply`",
        ask(Method::PredictProba, &fine)
    );
    assert_eq!(
        "DecisionTreeRegressor expects 2 columns (features), the input has 3",
        ask(Method::Predict, &Array2::zeros((3, 3)))
    );
    assert_eq!(
        "DecisionTreeRegressor needs at least one row (sample), the input has none",
        ask(Method::Predict, &Array2::zeros((0, 2)))
    );
    for (value, word) in
        [(f64::NAN, "NaN"), (f64::INFINITY, "infinity"), (-1e39, "a value too large for float32")]
    {
        let mut x = fine.clone();
        x[[2, 1]] = value;
        assert_eq!(
            format!(
                "DecisionTreeRegressor cannot take {word}, found at row 2, column 1 of the input (counted from 0)"
            ),
            ask(Method::Predict, &x)
        );
    }
}

#[test]
fn an_uncovered_model_names_itself() {
    let plan = Plan::uncovered("sklearn.svm._classes.SVC", "not computed natively");
    let x = Array2::<f32>::zeros((1, 1));
    let error = run(&plan, &Memory::default(), Method::Predict, (&x).into(), &RunOptions::default());
    assert_eq!(
        "`sklearn.svm._classes.SVC` cannot be predicted from natively: not computed natively",
        error.unwrap_err().to_string()
    );
}

#[test]
fn one_tree_keeps_the_sign_of_zero() {
    let (plan, arrays) = two_leaves(false);
    let x = Array2::<f32>::zeros((40, 2));
    let output = run(&plan, &arrays, Method::Predict, (&x).into(), &RunOptions::default()).unwrap();
    assert!(output.arrays[0].values::<f64>().unwrap().iter().all(|y| y.to_bits() == (-0.0f64).to_bits()));
}

#[test]
fn labels_have_the_dtype_of_the_classes() {
    let (plan, arrays) = two_leaves(true);
    let x = Array2::<f32>::zeros((3, 2));
    let output = run(&plan, &arrays, Method::Predict, (&x).into(), &RunOptions::default()).unwrap();
    assert_eq!(Some(&[10i64, 10, 10][..]), output.arrays[0].values());
}
