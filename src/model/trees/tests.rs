//! What is said to trees that are none.

use super::*;
use crate::model::array::tests::Memory;
use crate::model::lower::trees::tests::{FakeForest, FakeNode, FakeTree, LEAF};

fn split(left: i64, right: i64, feature: i64) -> FakeNode {
    FakeNode { left, right, feature, threshold: 0.5, samples: 4, missing: false }
}

fn tree(nodes: Vec<FakeNode>) -> FakeForest {
    let values = vec![vec![1.0]; nodes.len()];
    let trees = vec![FakeTree { nodes, values }];
    FakeForest {
        n_features: 2,
        n_classes: vec![1],
        classifier: false,
        average: false,
        trees,
        version: "1.9.1",
    }
}

fn read(
    forest: &FakeForest,
    change: impl FnOnce(&mut Graph, NodeId),
) -> Result<(StoredTree, Memory), TreeError> {
    let (mut graph, arrays) = forest.graph();
    let node = graph.attr(graph.root, "tree_").unwrap();
    change(&mut graph, node);
    Ok((StoredTree::read(&graph, node, &arrays)?, arrays))
}

fn why(forest: &FakeForest) -> String {
    let (tree, arrays) = read(forest, |_, _| ()).unwrap();
    tree.check(&arrays).unwrap_err().to_string()
}

#[test]
fn nodes_that_lead_astray_are_named() {
    let leaf = LEAF;
    let damaged = |problem| format!("node {problem}; the file is damaged: save or convert the model again");
    assert_eq!(
        damaged("0 of a tree has a child that is not after it in its tree"),
        why(&tree(vec![split(1, 3, 0), leaf, leaf]))
    );
    assert_eq!(
        damaged("1 of a tree has a child that is not after it in its tree"),
        why(&tree(vec![split(1, 2, 0), split(1, 2, 0), leaf]))
    );
    assert_eq!(
        damaged("0 of a tree has a child with another parent"),
        why(&tree(vec![split(1, 1, 0), leaf, leaf]))
    );
    assert_eq!(damaged("1 of a tree has no parent before it"), why(&tree(vec![leaf, leaf])));
    for feature in [-1, 2, i64::MAX] {
        assert_eq!(
            damaged("0 of a tree splits on a feature that the tree does not have"),
            why(&tree(vec![split(1, 2, feature), leaf, leaf]))
        );
    }
}

#[test]
fn a_depth_that_is_too_small_is_refused() {
    let forest = tree(vec![split(1, 2, 0), LEAF, LEAF]);
    let (stored, arrays) = read(&forest, |graph, node| {
        let depth = graph.attr(node, "max_depth").unwrap();
        graph.nodes[depth.0 as usize] = Node::Int(0);
    })
    .unwrap();
    let error = stored.check(&arrays).unwrap_err().to_string();
    assert!(error.starts_with("node 0 of a tree leads deeper than `max_depth` says"), "{error}");
}

#[test]
fn counts_that_contradict_the_arrays_are_refused() {
    let forest = tree(vec![split(1, 2, 0), LEAF, LEAF]);
    let refused = |name: &'static str, value: i64| {
        read(&forest, |graph, node| {
            let id = graph.attr(node, name).unwrap();
            graph.nodes[id.0 as usize] = Node::Int(value);
        })
        .unwrap_err()
        .to_string()
    };
    for count in [-1, 0, i64::MAX] {
        assert!(refused("node_count", count).starts_with("`node_count` of the tree at node "));
    }
    assert!(refused("node_count", 4).contains("expected 4 records"));
    assert!(refused("max_depth", 3).starts_with("`max_depth` of the tree at node "));
    assert!(refused("max_depth", -1).starts_with("`max_depth` of the tree at node "));
}

#[test]
fn a_call_of_another_form_is_refused() {
    let forest = tree(vec![LEAF]);
    let error = read(&forest, |graph, node| {
        let Node::Object(object) = &mut graph.nodes[node.0 as usize] else { unreachable!() };
        object.args = object.state.unwrap();
    });
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("expected `Tree(n_features, n_classes, n_outputs)` and a state")
    );
}
