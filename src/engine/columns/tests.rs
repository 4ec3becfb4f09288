//! Columns against a walk over foreign nodes, in the form that a file has and in that of the source.

use std::collections::HashMap;

use ndarray::{Array2, Axis};
use proptest::prelude::*;

use super::*;
use crate::engine::tests::{bits, forest, rows};
use crate::model::array::tests::Memory;
use crate::model::graph::{Graph, NodeId};
use crate::model::lower::trees::tests::{FakeForest, FakeTree};
use crate::model::pack::{pack, walk};
use crate::model::plan::Plan;
use crate::model::trees::StoredTree;

/// As a file holds it, and as it was read.
fn both(forest: &FakeForest) -> [(Graph, Memory); 2] {
    let (graph, source) = forest.graph();
    let mut file = Memory::default();
    let packed = pack(
        graph.clone(),
        &walk(&graph, &source),
        &source,
        &HashMap::new(),
        &mut Plan::uncovered("", ""),
        &mut file,
    )
    .unwrap();
    [(packed, file), (graph, source)]
}

fn tree_nodes(graph: &Graph) -> Vec<NodeId> {
    let estimators = match graph.attr(graph.root, "estimators_") {
        Some(list) => graph.items(list).unwrap().to_vec(),
        None => vec![graph.root],
    };
    estimators.into_iter().map(|estimator| graph.attr(estimator, "tree_").unwrap()).collect()
}

fn read(graph: &Graph, arrays: &Memory) -> Vec<StoredTree> {
    tree_nodes(graph).into_iter().map(|node| StoredTree::read(graph, node, arrays).unwrap()).collect()
}

fn path(tree: &FakeTree, row: &[f32]) -> Vec<i64> {
    let (mut at, mut path) = (0, vec![0]);
    while tree.nodes[at].left != -1 {
        let node = tree.nodes[at];
        let x = row[node.feature as usize];
        let left = if x.is_nan() { node.missing } else { f64::from(x) <= node.threshold };
        at = if left { node.left } else { node.right } as usize;
        path.push(at as i64);
    }
    path
}

/// The stored elements of `x`: all that are not zero.
fn sparse(x: &Array2<f32>) -> (Vec<f32>, Vec<i32>, Vec<i32>) {
    let (mut data, mut indices, mut indptr) = (vec![], vec![], vec![0]);
    for row in x.rows() {
        for (column, value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            data.push(*value);
            indices.push(column as i32);
        }
        indptr.push(data.len() as i32);
    }
    (data, indices, indptr)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn columns_lead_where_the_foreign_nodes_lead(
        forest in forest(), picks in prop::collection::vec(any::<u32>(), 5..300)
    ) {
        let x = rows(forest.n_features, &picks);
        let few = x.view().split_at(Axis(0), x.nrows().min(3)).0;
        for (graph, arrays) in both(&forest) {
            for (tree, fake) in read(&graph, &arrays).iter().zip(&forest.trees) {
                let tree = tree.view(&arrays).unwrap();
                for x in [x.view(), few] {
                    let expected: Vec<Vec<i64>> = x.rows().into_iter().map(|row| path(fake, row.as_slice().unwrap())).collect();
                    let leaves: Vec<i64> = expected.iter().map(|path| *path.last().unwrap()).collect();
                    let values: Vec<f64> = leaves.iter().flat_map(|leaf| fake.values[*leaf as usize].clone()).collect();
                    let x = TreeInput::Dense(x);
                    prop_assert_eq!(&leaves, &tree.apply(&x).unwrap());
                    prop_assert_eq!(bits(&values), bits(&tree.predict(&x).unwrap()));
                    let (indptr, indices) = tree.decision_path(&x).unwrap();
                    prop_assert_eq!(expected.concat(), indices);
                    prop_assert_eq!(x.n_rows() + 1, indptr.len());
                }
            }
        }
    }

    #[test]
    fn a_sparse_row_is_a_dense_row_of_zeros(
        forest in forest(), picks in prop::collection::vec(any::<u32>(), 5..200)
    ) {
        let x = rows(forest.n_features, &picks).mapv(|value| if value.is_nan() { 0.0 } else { value });
        let (data, indices, indptr) = sparse(&x);
        let csr = TreeInput::Csr(Csr::new(&data, &indices, &indptr, x.ncols()).unwrap());
        let [(graph, arrays), _] = both(&forest);
        for tree in read(&graph, &arrays) {
            let tree = tree.view(&arrays).unwrap();
            let dense = TreeInput::Dense(x.view());
            prop_assert_eq!(tree.apply(&dense).unwrap(), tree.apply(&csr).unwrap());
            prop_assert_eq!(tree.decision_path(&dense).unwrap(), tree.decision_path(&csr).unwrap());
        }
    }

    #[test]
    fn boosting_adds_stage_by_stage(
        forest in forest(), picks in prop::collection::vec(any::<u32>(), 5..300), scale in -1.0f64..1.0
    ) {
        let x = rows(forest.n_features, &picks);
        let [(graph, arrays), _] = both(&forest);
        let stored = read(&graph, &arrays);
        let per_stage = if stored.len().is_multiple_of(2) { 2 } else { 1 };
        let trees: Vec<_> = stored.iter().map(|tree| tree.view(&arrays).unwrap()).collect();
        let start: Vec<f64> = (0..x.nrows() * per_stage).map(|i| i as f64 / 7.0).collect();
        let mut expected = start.clone();
        for (index, fake) in forest.trees.iter().enumerate() {
            for (row, values) in x.rows().into_iter().enumerate() {
                // scikit-learn's boosting does not know missing values: NaN goes right.
                let mut tree = fake.clone();
                tree.nodes.iter_mut().for_each(|node| node.missing = false);
                let leaf = tree.apply(values.as_slice().unwrap());
                expected[row * per_stage + index % per_stage] += scale * fake.values[leaf][0];
            }
        }
        let boosting = Boosting { trees: &trees, per_stage, scale };
        for threads in [1, 2] {
            let sums = boosting.add_to(start.clone(), &TreeInput::Dense(x.view()), Some(threads)).unwrap();
            prop_assert_eq!(bits(&expected), bits(&sums));
        }
    }

    #[test]
    fn a_damaged_column_is_found_before_it_is_followed(
        forest in forest(), array in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0u32..8
    ) {
        let [(graph, mut arrays), _] = both(&forest);
        let array = array.index(arrays.arrays.len());
        let bytes = &mut arrays.arrays[array].1;
        if bytes.is_empty() { return Ok(()); }
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let x = rows(forest.n_features, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        for node in tree_nodes(&graph) {
            // Refused, or walked to the end: no panic, no endless loop.
            let Ok(tree) = StoredTree::read(&graph, node, &arrays) else { continue };
            let Ok(tree) = tree.view(&arrays) else { continue };
            let _ = tree.predict(&TreeInput::Dense(x.view()));
            let _ = tree.node_depths();
            let _ = tree.feature_importances();
            let _ = tree.partial_dependence(&x.view(), &[0], &mut vec![0.0; x.nrows()]);
        }
    }
}

#[test]
fn csr_arrays_that_contradict_each_other_are_refused() {
    let why = |data: &[f32], indices: &[i32], indptr: &[i32]| {
        Csr::new(data, indices, indptr, 2).unwrap_err().to_string()
    };
    assert_eq!("X is not a CSR matrix: `indptr` goes beyond `indices` or `data`", why(&[1.0], &[0], &[0, 2]));
    assert_eq!("X is not a CSR matrix: `indptr` does not ascend from 0 or more", why(&[1.0], &[0], &[1, 0]));
    assert_eq!("X is not a CSR matrix: `indptr` does not ascend from 0 or more", why(&[], &[], &[]));
    assert_eq!("X is not a CSR matrix: an index is not one of its columns", why(&[1.0], &[2], &[0, 1]));
    assert_eq!("X is not a CSR matrix: an index is not one of its columns", why(&[1.0], &[-1], &[0, 1]));
}
