use proptest::prelude::*;

use super::*;
use crate::model::array::tests::Memory;
use crate::model::graph::{Node, Object};
use crate::model::lower::trees::ensemble::{PlainKind, Test};

const TEXT: &str = "tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:1
feature_names=a b
feature_infos=[0:1] [0:1]
tree_sizes=SIZE 61

Tree=0
num_leaves=4
num_cat=1
split_feature=0 1 1
threshold=0.5 0 -1e-36
decision_type=8 1 6
left_child=1 -1 -2
right_child=2 -3 -4
leaf_value=-0.25 0.5 1e-3 -4
leaf_count=1 2 3 4
internal_count=10 4 6
cat_boundaries=0 2
cat_threshold=1 2147483648
shrinkage=0.1


Tree=1
num_leaves=1
num_cat=0
leaf_value=0.125
shrinkage=1


end of trees

pandas_categorical:null
";

fn text() -> String {
    let start = TEXT.find("Tree=0").unwrap();
    let size = TEXT.find("Tree=1").unwrap() - start;
    TEXT.replace("SIZE", &size.to_string())
}

fn booster(text: &str) -> Graph {
    let booster = Object {
        make: Make::Call,
        callable: NodeId(1),
        args: NodeId(2),
        kwargs: None,
        items: vec![],
        pairs: vec![],
        state: None,
    };
    let nodes = vec![
        Node::Object(Box::new(booster)),
        Node::Name { module: "lightgbm.basic".into(), qualname: "Booster".into() },
        Node::Tuple(vec![NodeId(3), NodeId(3), NodeId(3), NodeId(4)]),
        Node::None,
        Node::Str(text.into()),
    ];
    Graph { nodes, root: NodeId(0) }
}

fn lowered(text: &str) -> Result<Lowered, String> {
    match lower_lightgbm(&booster(text), NodeId(0), &Memory::new(vec![])) {
        Ok(lowered) => Ok(lowered),
        Err(Refusal::Uncovered { why, .. }) => Err(why),
        Err(Refusal::Io(error)) => panic!("nothing is read: {error}"),
    }
}

fn refusal(text: &str) -> String {
    lowered(text).err().unwrap_or_else(|| panic!("expected a refusal of\n{text}"))
}

fn trees(text: &str) -> Vec<PlainTree> {
    let text = ModelText::read(text).unwrap();
    text.trees.iter().map(|block| ReadTree::read(block).unwrap().tree).collect()
}

#[test]
fn a_text_gives_its_trees() {
    let text = text();
    let model = ModelText::read(&text).unwrap();
    assert_eq!((2, 1, false, 2), (model.n_features, model.columns, model.average, model.trees.len()));
    assert_eq!("binary sigmoid:1", model.objective);
    let trees = trees(&text);
    let node = |index: usize| &trees[0].nodes[index];
    let PlainKind::Split { test: Test::AtMost { feature, threshold }, left, right, missing_left } =
        &node(0).kind
    else {
        panic!("split 0 compares")
    };
    assert_eq!((0, 0.5, 1, 2, false), (*feature, *threshold, *left, *right, *missing_left));
    let PlainKind::Split { test: Test::Category { feature, left: set, .. }, left, right, .. } = &node(1).kind
    else {
        panic!("split 1 looks categories up")
    };
    assert_eq!((1, &[1, 1 << 31][..], 3, 5), (*feature, &**set, *left, *right));
    let values: Vec<f64> = (3..7)
        .map(|index| match node(index).kind {
            PlainKind::Leaf { value } => value,
            PlainKind::Split { .. } => panic!("node {index} is a leaf"),
        })
        .collect();
    assert_eq!(vec![-0.25, 0.5, 1e-3, -4.0], values);
    assert_eq!(1, trees[1].nodes.len());
}

#[test]
fn thresholds_near_zero_move_past_the_values_that_lightgbm_makes_zero() {
    let zero = f64::from(1e-35_f32);
    for (threshold, expected) in [
        ("-0", zero),
        ("0", zero),
        ("1e-36", zero),
        ("1.0000000180025095e-35", zero),
        ("-1e-36", (-zero).next_down()),
        ("-1.0000000180025095e-35", (-zero).next_down()),
        ("1.01e-35", 1.01e-35),
        ("-1.01e-35", -1.01e-35),
    ] {
        let edited = text().replace("threshold=0.5 0 -1e-36", &format!("threshold={threshold} 0 1"));
        let trees = trees(&edited.replace("tree_sizes", "sizes"));
        let PlainKind::Split { test: Test::AtMost { threshold: found, .. }, .. } = trees[0].nodes[0].kind
        else {
            panic!("split 0 compares")
        };
        assert_eq!(expected.to_bits(), found.to_bits(), "{threshold}");
    }
}

#[test]
fn numbers_that_do_not_fit_are_refused_with_their_place() {
    let cases = [
        ("version=v4", "version=v1", "the version `v1`"),
        ("max_feature_idx=1", "max_feature_idx=4294967294", "2 names for 4294967294 + 1 features"),
        ("max_feature_idx=1", "max_feature_idx=4294967296", "`max_feature_idx` is `4294967296`"),
        ("num_class=1", "num_class=0", "0 classes and 1 trees"),
        ("num_leaves=4", "num_leaves=18446744073709551615", "tree 0: `leaf_value` has 4 numbers"),
        ("num_leaves=4", "num_leaves=0", "tree 0: `leaf_value` has 4 numbers, expected 0"),
        ("num_cat=1", "num_cat=18446744073709551615", "tree 0: `cat_boundaries` has 2 numbers"),
        ("num_cat=1", "num_cat=0", "split 1: there are no categories 0"),
        ("cat_boundaries=0 2", "cat_boundaries=0 9", "tree 0: `cat_threshold` has 2 numbers, expected 9"),
        ("cat_boundaries=0 2", "cat_boundaries=2 2", "tree 0: its `cat_boundaries` go backwards"),
        ("threshold=0.5 0", "threshold=0.5 1", "split 1: there are no categories 1"),
        ("decision_type=8 1 6", "decision_type=8 1 16", "split 2: its `decision_type` is 16"),
        ("decision_type=8 1 6", "decision_type=8 1 -1", "`decision_type` holds `-1`"),
        ("left_child=1 -1 -2", "left_child=3 -1 -2", "split 0: it has the child 3, of 3 splits"),
        ("left_child=1 -1 -2", "left_child=-5 -1 -2", "split 0: it has the child -5, of 3 splits"),
        ("left_child=1 -1 -2", "left_child=-2147483648 -1 -2", "the child -2147483648"),
        ("leaf_value=-0.25", "leaf_value=--1", "`leaf_value` holds `--1`"),
        ("shrinkage=0.1", "is_linear=1", "tree 0: it is a linear tree"),
        ("shrinkage=0.1", "shrinkage", "tree 0: it has a line without `=`"),
        ("split_feature=0 1 1", "split_feature=0 1 1 1", "`split_feature` has 4 numbers, expected 3"),
        ("split_feature=0 1 1", "split_feature=0 1 2", "feature 2"),
        ("leaf_count", "leaf\0count", "a NUL"),
    ];
    for (from, to, expected) in cases {
        // Without sizes, which an edit would make wrong.
        let edited = text().replace(from, to).replace("tree_sizes", "sizes");
        assert_ne!(edited, text().replace("tree_sizes", "sizes"), "{from}");
        let found = refusal(&edited);
        assert!(found.contains(expected), "{from} -> {to}: {found}");
    }
}

#[test]
fn children_that_make_no_tree_are_refused() {
    for (from, to) in [
        ("left_child=1 -1 -2", "left_child=0 -1 -2"),
        ("left_child=1 -1 -2", "left_child=2 -1 -2"),
        ("left_child=1 -1 -2", "left_child=1 1 -2"),
        ("right_child=2 -3 -4", "right_child=2 -3 -2"),
    ] {
        let edited = text().replace(from, to).replace("decision_type=8 1 6", "decision_type=8 8 8");
        let found = refusal(&edited.replace("tree_sizes", "sizes"));
        assert!(found.contains("parent"), "{from} -> {to}: {found}");
    }
}

#[test]
fn one_set_of_categories_serves_one_split() {
    let shared = text().replace("threshold=0.5 0 -1e-36", "threshold=0 0 -1e-36");
    let shared = shared.replace("decision_type=8 1 6", "decision_type=1 1 6").replace("tree_sizes", "sizes");
    assert!(refusal(&shared).contains("split 1: the categories 0 belong to another split"));
}

#[test]
fn sizes_that_do_not_hit_trees_are_refused() {
    for sizes in ["0 0", "1", "99999999999999999999", "18446744073709551615 18446744073709551615", "x"] {
        let text = text();
        let edited = text.lines().map(|line| match line.split_once('=') {
            Some(("tree_sizes", _)) => format!("tree_sizes={sizes}\n"),
            _ => format!("{line}\n"),
        });
        refusal(&edited.collect::<String>());
    }
}

#[test]
fn a_tree_of_too_many_lines_is_refused() {
    let long = text().replace("shrinkage=0.1", &"shrinkage=0.1\n".repeat(22)).replace("tree_sizes", "sizes");
    assert!(refusal(&long).contains("more than 22 lines"));
}

#[test]
fn every_shorter_text_is_read_or_refused() {
    let text = text();
    for end in 0..text.len() {
        let _ = lowered(&text[..end]);
        let _ = lowered(&text[end..]);
    }
}

proptest! {
    #[test]
    fn any_edit_is_read_or_refused(at in 0usize..600, with in "[-0-9 =.e\n]{0,6}", drop in 0usize..6) {
        let mut text = text();
        let at = at.min(text.len());
        let end = (at + drop).min(text.len());
        text.replace_range(at..end, &with);
        let _ = lowered(&text);
        let _ = lowered(&text.replace("tree_sizes", "sizes"));
    }
}
