mod committee;

use super::validate::validate;
use super::*;
use crate::format::Order;
use crate::format::dtype::Dtype;
use crate::model::array::tests::Memory;

fn array(dtype: Dtype, shape: &[u64], bytes: Vec<u8>) -> (ArrayInfo, Vec<u8>) {
    (ArrayInfo { dtype, shape: shape.to_vec(), order: Order::C }, bytes)
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// One split on feature 0 of 2, two leaves; arrays: nodes, roots, leaves, origin.
fn stump() -> (Trees, Memory) {
    let packing = compact::Packing::new(2);
    let node = |low, feature, distance| <u64 as compact::Node>::pack(packing, low, feature, distance);
    let nodes = words(&[node(compact::threshold_key(0.5), 0, 1), node(0, 2, 0), node(1, 2, 0)]);
    let arrays = Memory::new(vec![
        array(Dtype::U64, &[3], nodes),
        array(Dtype::U64, &[2], words(&[0, 3])),
        array(Dtype::F64, &[2, 1], vec![0; 16]),
        array(Dtype::U32, &[3], vec![0; 12]),
    ]);
    let layout = TreeLayout::Compact {
        encoding: Encoding::Keys,
        categories: None,
        zero_missing: None,
        nodes: ArrayId(0),
        wide: false,
        roots: ArrayId(1),
        leaves: ArrayId(2),
        missing: None,
        depths: None,
        crowns: None,
        subtrees: None,
        origin: ArrayId(3),
        shared: false,
    };
    let trees = Trees {
        nan_allowed: true,
        ..Trees::new(
            "DecisionTreeRegressor".to_owned(),
            Float::F32,
            2,
            1,
            Head::Forest(Forest {
                n_outputs: 1,
                max_classes: 1,
                classes: vec![],
                average: false,
                divisor: None,
                kind: ForestKind::Means,
            }),
            layout,
        )
    };
    (trees, arrays)
}

fn check(trees: Trees, arrays: &Memory) -> String {
    match validate(&Plan::Native { ops: vec![Op::Trees(trees)], members: vec![] }, arrays) {
        Ok(()) => "fine".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn with(change: impl FnOnce(&mut Forest)) -> Trees {
    let mut trees = stump().0;
    if let Head::Forest(forest) = &mut trees.head {
        change(forest);
    }
    trees
}

fn scaler(n_features: u32) -> Op {
    Op::StandardScaler { n_features, mean: None, scale: None }
}

#[test]
fn a_plan_comes_back_from_its_json() {
    let clip = Some([f64::MIN, 0.1 + 0.2]);
    let min_max = Op::MinMaxScaler { n_features: 2, scale: ArrayId(0), min: ArrayId(1), clip };
    let ops = vec![scaler(2), min_max, Op::Trees(stump().0), Op::Pipeline { steps: vec![0, 1, 2] }];
    let plan = Plan::Native { ops, members: vec![] };
    assert_eq!(plan, Plan::decode(&plan.encode()).unwrap());
    let plan = Plan::uncovered("dict", "no estimator");
    assert_eq!(plan, Plan::decode(&plan.encode()).unwrap());
}

#[test]
fn a_pipeline_refers_only_to_earlier_steps_that_transform() {
    let decode = |steps: Vec<u32>| {
        let ops = vec![scaler(2), Op::Trees(stump().0), Op::Pipeline { steps }];
        Plan::decode(&Plan::Native { ops, members: vec![] }.encode())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(Ok(()), decode(vec![0, 1]));
    for steps in [vec![], vec![1, 0], vec![0, 2], vec![2], vec![0, u32::MAX], vec![1, 1]] {
        assert!(decode(steps.clone()).unwrap_err().contains("operation 2"), "{steps:?}");
    }
}

#[test]
fn unknown_fields_operations_and_too_many_bytes_are_refused() {
    for json in [
        r#"{"plan":"native","ops":[]}"#,
        r#"{"plan":"native","ops":[{"op":"svm"}]}"#,
        r#"{"plan":"native","ops":[{"op":"standard_scaler","n_features":1,"more":1}]}"#,
        r#"{"plan":"native","ops":[{"op":"standard_scaler","n_features":-1}]}"#,
        r#"{"plan":"other"}"#,
        "[[[[",
        "",
    ] {
        assert!(Plan::decode(json.as_bytes()).is_err(), "{json}");
    }
    assert!(matches!(Plan::decode(&vec![b' '; MAX_BYTES + 1]), Err(PlanError::TooLarge { .. })));
}

#[test]
fn steps_of_a_pipeline_have_the_same_columns() {
    let ops = vec![scaler(3), Op::Trees(stump().0), Op::Pipeline { steps: vec![0, 1] }];
    let error = validate(&Plan::Native { ops, members: vec![] }, &stump().1).unwrap_err();
    assert_eq!(
        "operation 2 of the plan: `n_features` is 2, expected 3; convert the model again",
        error.to_string()
    );
}

#[test]
fn arrays_of_another_dtype_shape_or_number_are_refused() {
    let (trees, arrays) = stump();
    assert_eq!("fine", check(trees.clone(), &arrays));
    for id in 0..4 {
        let mut other = stump().1;
        other.arrays[id].0.dtype = Dtype::I16;
        assert!(check(trees.clone(), &other).contains("found C-order <i2"), "{id}");
        let mut other = stump().1;
        other.arrays[id].0.shape[0] += 1;
        assert_ne!("fine", check(trees.clone(), &other), "{id}");
        let mut other = stump().1;
        other.arrays.truncate(id);
        assert_ne!("fine", check(trees.clone(), &other), "{id}");
    }
    assert!(check(with(|forest| forest.n_outputs = 2), &arrays).contains("`leaves` should be"));
    assert!(check(Trees { n_trees: 2, ..trees.clone() }, &arrays).contains("`n_trees` is 2, expected 1"));
    assert!(check(Trees { n_features: 0, ..trees.clone() }, &arrays).contains("`n_features` is 0"));
    assert!(check(with(|forest| forest.max_classes = u32::MAX), &arrays).contains("`max_classes`"));
}

#[test]
fn nodes_that_lead_out_of_their_tree_are_refused() {
    let packing = compact::Packing::new(2);
    let with = |at: usize, low, feature, distance| {
        let (trees, mut arrays) = stump();
        let word = <u64 as compact::Node>::pack(packing, low, feature, distance);
        arrays.arrays[0].1[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        check(trees, &arrays)
    };
    assert_eq!("fine", with(0, 9, 1, 1));
    assert!(with(0, 9, 1, 2).contains("node 0 of tree 0 has children outside of its tree"));
    assert!(with(2, 9, 1, 1).contains("node 2 of tree 0 has children outside of its tree"));
    assert!(with(0, 9, 2, 1).contains("node 0 of tree 0 reads a feature that the input does not have"));
    assert!(with(0, 9, 3, 1).contains("node 0 of tree 0 reads a feature"));
    assert!(with(1, 2, 2, 0).contains("node 1 of tree 0 is a leaf whose value is not in the table"));
    assert!(with(1, 0, 1, 0).contains("node 1 of tree 0 is a leaf that reads a feature"));
    for bit in 0..3 {
        let (trees, mut arrays) = stump();
        arrays.arrays[0].1[4] |= 1 << bit;
        assert!(check(trees, &arrays).contains("node 0 of tree 0 has bits set that belong to no field"));
    }
}

#[test]
fn crowns_that_lead_out_of_their_tree_are_refused() {
    let with = |part: usize, word: u32| {
        let (mut trees, mut arrays) = stump();
        let mut crown: compact::Crown = [[u32::MAX; 16], [2; 16], [1; 16]];
        crown[part][7] = word;
        arrays.arrays.push(array(
            Dtype::U32,
            &[1, 3, 16],
            bytemuck::cast_slice(crown.as_flattened()).to_vec(),
        ));
        if let TreeLayout::Compact { crowns, .. } = &mut trees.layout {
            *crowns = Some(ArrayId(4));
        }
        check(trees, &arrays)
    };
    assert_eq!(["fine"; 3], [with(0, 0), with(1, 0), with(2, 2)]);
    assert!(with(1, 3).contains("`crowns` is 3, expected features up to 2"), "{}", with(1, 3));
    assert!(with(2, 3).contains("`crowns` is 3, expected nodes below 3"), "{}", with(2, 3));
}

#[test]
fn subtrees_that_lead_nowhere_are_refused() {
    let end = |distance: u32, leaf: u32| distance << 6 | leaf << 14;
    let with = |below: u32, at: usize, word: u32, hops: u8, crowned: bool| {
        let (mut trees, mut arrays) = stump();
        let crown: compact::Crown = [[u32::MAX; 16], [2; 16], [0; 16]];
        let mut all = [subtrees::NO_SPLITS; 3];
        all[at][11] = word;
        let bytes = |words: &[u32]| bytemuck::cast_slice(words).to_vec();
        arrays.arrays.push(array(Dtype::U32, &[1, 3, 16], bytes(crown.as_flattened())));
        arrays.arrays.push(array(Dtype::U32, &[1, 16], bytes(&[below; 16])));
        arrays.arrays.push(array(Dtype::U32, &[3, 16], bytes(all.as_flattened())));
        if let TreeLayout::Compact { crowns, subtrees, .. } = &mut trees.layout {
            *crowns = crowned.then_some(ArrayId(4));
            *subtrees = Some(Subtrees { below: ArrayId(5), subtrees: ArrayId(6), hops });
        }
        check(trees, &arrays)
    };
    assert_eq!("fine", with(2, 0, end(2, 1), 1, true));
    assert_eq!("fine", with(0, 1, end(1, 0) | 0x3f, 3, true), "any feature is one of the registers");
    let says = |problem: &str, found: String| assert!(found.contains(problem), "{found}");
    says("`below` is 3, expected subtrees below 3", with(3, 0, 0, 1, true));
    says("`subtrees` is 3, expected ends up to 2 further", with(0, 0, end(3, 0), 1, true));
    says("`subtrees` is 1, expected ends up to 0 further", with(0, 2, end(1, 0), 1, true));
    says("`subtrees` is 2, expected leaves below 2", with(0, 1, end(0, 2), 1, true));
    says("`hops` is 0, expected 1 to 3", with(0, 0, 0, 0, true));
    says("`hops` is 4, expected 1 to 3", with(0, 0, 0, 4, true));
    says("crowns above subtrees", with(0, 0, 0, 1, false));
}

#[test]
fn roots_that_go_backwards_or_beyond_are_refused() {
    for roots in [[1, 3], [0, 0], [0, 4], [3, 3], [0, u64::MAX]] {
        let (trees, mut arrays) = stump();
        arrays.arrays[1].1 = words(&roots);
        assert_ne!("fine", check(trees, &arrays), "{roots:?}");
    }
    let (_, mut arrays) = stump();
    arrays.arrays[1] = array(Dtype::U64, &[4], words(&[0, 2, 1, 3]));
    assert_ne!("fine", check(Trees { n_trees: 3, ..with(|forest| forest.average = true) }, &arrays));
}

#[test]
fn members_come_back_and_bad_ones_are_refused() {
    let member = |node, op| Member { node, op };
    let ops = || vec![scaler(2), Op::Trees(stump().0)];
    let plan =
        |members| Plan::Uncovered { what: "dict".into(), why: "no estimator".into(), ops: ops(), members };
    let fine = plan(vec![member(3, 1), member(7, 1)]);
    assert_eq!(fine, Plan::decode(&fine.encode()).unwrap());
    validate(&fine, &stump().1).unwrap();
    let why = |members| Plan::decode(&plan(members).encode()).unwrap_err().to_string();
    let wrong = |which, problem: &str| format!("member {which} {problem}; convert the model again");
    for op in [0, 2] {
        let expected = format!("of the plan, node 3 with operation {op}, has no operation over trees");
        assert_eq!(wrong(0, &expected), why(vec![member(3, op)]));
    }
    let expected = "of the plan, node 3 with operation 1, is not after the member before it";
    assert_eq!(wrong(1, expected), why(vec![member(3, 1), member(3, 1)]));
    let (mut trees, arrays) = stump();
    trees.n_features = 0;
    let plan = Plan::Uncovered {
        what: "dict".into(),
        why: "no estimator".into(),
        ops: vec![Op::Trees(trees)],
        members: vec![member(0, 0)],
    };
    assert!(validate(&plan, &arrays).is_err(), "operations of members are checked as all others");
}
