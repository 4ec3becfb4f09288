//! Real models of both formats, models as older versions wrote them, and broken ones.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::*;
use crate::format::ArrayId;
use crate::model::array::tests::Memory;
use crate::model::graph::{Make, Object};
use crate::model::lower::trees::ensemble::{PlainKind, Test};
use crate::model::pack::walk;
use crate::model::plan::BoostedLink;

macro_rules! saved {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/convert/xgboost/", $name))
    };
}

/// `xgboost.core.Booster(None, None, bytearray(...))`.
fn graph_of(bytes: &[u8]) -> Graph {
    let object = Object {
        make: Make::Call,
        callable: NodeId(0),
        args: NodeId(3),
        kwargs: None,
        items: vec![],
        pairs: vec![],
        state: None,
    };
    let nodes = vec![
        Node::Name { module: "xgboost.core".into(), qualname: "Booster".into() },
        Node::None,
        Node::ByteArray(Blob::Inline(bytes.into())),
        Node::Tuple(vec![NodeId(1), NodeId(1), NodeId(2)]),
        Node::Object(Box::new(object)),
    ];
    Graph { nodes, root: NodeId(4) }
}

fn lower(bytes: &[u8]) -> Result<(Trees, Memory), String> {
    let graph = graph_of(bytes);
    let source = Memory::new(vec![]);
    match lower_xgboost(&graph, graph.root, &source) {
        Ok(lowered) => {
            let mut sink = Memory::new(vec![]);
            let (walk, mut stored) = (walk(&graph, &source), HashMap::new());
            let write = |staged: Staged| staged.write("", &source, &mut sink, &walk, &mut stored).unwrap();
            let ids: Vec<ArrayId> = lowered.arrays.into_iter().map(write).collect();
            let Op::Trees(trees) = (lowered.op)(&ids) else { panic!("no trees") };
            Ok((trees, sink))
        }
        Err(Refusal::Uncovered { why, .. }) => Err(why),
        Err(Refusal::Io(error)) => panic!("{error}"),
    }
}

fn why(bytes: &[u8]) -> String {
    match lower(bytes) {
        Ok(_) => panic!("it is covered"),
        Err(why) => why,
    }
}

/// A model as XGBoost 1.3 wrote it: one split at 0.5, two leaves.
fn old(objective: &str, base_score: &str) -> String {
    format!(
        r#"{{"learner":{{"attributes":{{}},"gradient_booster":{{"model":{{"gbtree_model_param":
        {{"num_trees":"1","size_leaf_vector":"0"}},"tree_info":[0],"trees":[{{"base_weights":[0E0,1E0,2E0],
        "default_left":[true,false,false],"id":0,"left_children":[1,-1,-1],"loss_changes":[1E0,0E0,0E0],
        "parents":[2147483647,0,0],"right_children":[2,-1,-1],"split_conditions":[5E-1,-1E0,2E0],
        "split_indices":[1,0,0],"sum_hessian":[8E0,3E0,5E0],"tree_param":{{"num_deleted":"0","num_feature":"2",
        "num_nodes":"3","size_leaf_vector":"0"}}}}]}},"name":"gbtree"}},"learner_model_param":{{"base_score":
        "{base_score}","num_class":"0","num_feature":"2"}},"objective":{{"name":"{objective}"}}}},
        "version":[1,3,0]}}"#
    )
}

#[test]
fn both_formats_give_the_same_plan_and_the_same_arrays() {
    for (json, ubjson) in
        [(&saved!("trees.json")[..], &saved!("trees.ubj")[..]), (saved!("dart.json"), saved!("dart.ubj"))]
    {
        let (trees, arrays) = lower(json).unwrap();
        let (other, others) = lower(ubjson).unwrap();
        assert_eq!(trees, other);
        assert_eq!(arrays.names, others.names);
        assert_eq!(arrays.arrays, others.arrays);
        assert_eq!((6, 3), (trees.n_trees, trees.n_features));
        let Head::Boosted(boosted) = trees.head else { panic!("no boosted trees") };
        assert_eq!((3, 1, BoostedLink::SoftmaxF32), (boosted.columns, boosted.parallel, boosted.link));
    }
}

#[test]
fn models_of_older_versions_are_read() {
    let (trees, arrays) = lower(old("binary:logistic", "2.5E-1").as_bytes()).unwrap();
    let Head::Boosted(boosted) = trees.head else { panic!("no boosted trees") };
    assert_eq!(BoostedLink::LogisticF32, boosted.link);
    let start: &[f32] = bytemuck::cast_slice(&arrays.arrays[boosted.start.0 as usize].1);
    assert_eq!([-(1.0f32 / 0.25 - 1.0).ln()], start);
}

#[test]
fn the_intercept_becomes_a_raw_score_as_the_objective_says() {
    let start = |name: &str, base: &str, columns| Objective::named(name).unwrap().start(base, columns);
    assert_eq!(vec![0.5f32; 3], start("multi:softprob", "5E-1", 3).unwrap());
    assert_eq!(vec![0.5, 1.5], start("reg:squarederror", "[5E-1,1.5E0]", 2).unwrap());
    assert_eq!(vec![2.0f32.ln()], start("reg:gamma", "[2E0]", 1).unwrap());
    assert_eq!(vec![0.5], start("binary:logitraw", "[5E-1]", 1).unwrap());
    let least = -(1.0f32 / 1e-6 - 1.0).ln();
    assert_eq!(vec![least], start("binary:logistic", "[0E0]", 1).unwrap());
    for wrong in ["", "[]", "[1,2,3]", "one", "[1"] {
        assert!(start("reg:squarederror", wrong, 2).is_err(), "{wrong}");
    }
}

#[test]
fn a_threshold_is_below_its_value_and_nothing_is_below_minus_infinity() {
    let mut learner = file::read(old("reg:squarederror", "0").as_bytes()).unwrap();
    let tree = &mut learner.gradient_booster.model().unwrap().trees[0];
    for (threshold, expected) in [
        (0.5f32, 0.5f32.next_down()),
        (0.0, -1e-45),
        (-0.0, -1e-45),
        (f32::INFINITY, f32::MAX),
        (f32::NEG_INFINITY, f32::NAN),
        (f32::NAN, f32::NAN),
    ] {
        tree.split_conditions[0] = threshold;
        let plain = tree.plain(|leaf| leaf, &mut 0).unwrap();
        let PlainKind::Split {
            test: Test::AtMost { threshold: found, feature: 1 }, missing_left: true, ..
        } = plain.nodes[0].kind
        else {
            panic!("no split by value")
        };
        assert_eq!(expected.to_bits() & 0x7fff_ffff, (found as f32).to_bits() & 0x7fff_ffff);
    }
}

#[test]
fn categories_go_right_and_take_no_more_memory_than_is_allowed() {
    let mut learner = file::read(old("reg:squarederror", "0").as_bytes()).unwrap();
    let tree = &mut learner.gradient_booster.model().unwrap().trees[0];
    tree.split_type = vec![1, 0, 0];
    tree.categories = vec![0, 33];
    (tree.categories_nodes, tree.categories_segments, tree.categories_sizes) = (vec![0], vec![0], vec![2]);
    let plain = tree.plain(|leaf| leaf, &mut 2).unwrap();
    let PlainKind::Split { test: Test::Category { left, .. }, .. } = &plain.nodes[0].kind else { panic!() };
    assert_eq!([!1, !2], **left);
    assert!(tree.plain(|leaf| leaf, &mut 1).is_err());
    tree.categories_sizes = vec![3];
    assert!(tree.plain(|leaf| leaf, &mut 9).is_err());
    tree.categories_segments = vec![-1];
    assert!(tree.plain(|leaf| leaf, &mut 9).is_err());
}

#[test]
fn nodes_that_were_pruned_are_left_out_and_leaves_keep_their_numbers() {
    let text = old("reg:squarederror", "0")
        .replace("[1,-1,-1]", "[3,-1,-1,-1,-1]")
        .replace("[2,-1,-1]", "[4,-1,-1,-1,-1]")
        .replace("[5E-1,-1E0,2E0]", "[5E-1,0,0,-1E0,2E0]")
        .replace("[1,0,0]", "[1,4294967295,4294967295,0,0]")
        .replace("[true,false,false]", "[true,false,false,false,false]")
        .replace("[8E0,3E0,5E0]", "[8E0,0,0,3E0,5E0]");
    let (_, arrays) = lower(text.as_bytes()).unwrap();
    let origin = arrays.names.iter().position(|name| name == "origin").expect("there are numbers");
    let origin: &[u32] = bytemuck::cast_slice(&arrays.arrays[origin].1);
    assert!(origin.contains(&3) && origin.contains(&4) && !origin.contains(&1), "{origin:?}");
}

#[test]
fn what_is_no_model_is_refused_with_the_reason() {
    assert!(why(b"").contains("binary format"));
    assert!(why(b"binf\0\0").contains("binary format"));
    assert!(why(b"{}").contains("no `learner`"));
    assert!(why(b"{\"learner\":{}}").contains("missing field"));
    assert!(why(b"{L").contains("UBJSON"));
    let change = |from: &str, to: &str| {
        let text = old("reg:squarederror", "0");
        assert!(text.contains(from), "{from}");
        why(text.replace(from, to).as_bytes())
    };
    assert!(change("\"gbtree\"", "\"gblinear\"").contains("gblinear"));
    assert!(change("\"gbtree\"", "\"gbforest\"").contains("`gbforest`"));
    assert!(change("\"gbtree\"", "\"dart\"").contains("columns and weights"));
    assert!(change("\"tree_info\":[0]", "\"tree_info\":[1]").contains("take turns"));
    assert!(
        change("\"num_nodes\":\"3\",\"size_leaf_vector\":\"0\"", "\"size_leaf_vector\":\"2\"")
            .contains("multi_output_tree")
    );
    assert!(change("\"num_feature\":\"2\"},\"obj", "\"num_feature\":\"0\"},\"obj").contains("0 features"));
    assert!(change("[1,-1,-1]", "[1,2,-1]").contains("two parents"));
}

#[test]
fn every_truncation_of_a_real_model_is_refused() {
    for whole in [&saved!("trees.ubj")[..], &saved!("dart.ubj")[..], &saved!("trees.json")[..]] {
        for len in (0..whole.len()).step_by(7) {
            assert!(lower(&whole[..len]).is_err(), "{len} bytes");
        }
    }
}

#[test]
fn any_changed_byte_of_a_real_model_is_read_or_refused() {
    let whole = saved!("trees.ubj");
    for at in (0..whole.len()).step_by(3) {
        for value in [0, 0x7f, 0xff, whole[at] ^ 1] {
            let mut changed = whole.to_vec();
            changed[at] = value;
            let _ = lower(&changed);
        }
    }
}
