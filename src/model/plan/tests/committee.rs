//! Operations that are made of others, and plans that nobody wrote.
use super::super::*;
use super::{array, scaler, validate, words};
use crate::format::dtype::Dtype;
use crate::model::array::tests::Memory;

/// A logistic regression of two columns and `n_classes` classes whose labels are array `classes`; its weights are array 0.
fn classifier(classes: u32) -> Op {
    Op::LogisticRegression {
        n_features: 2,
        coef: ArrayId(0),
        intercept: ArrayId(1),
        classes: ArrayId(classes),
        link: Link::Logistic,
        float32: false,
    }
}

/// A line over two columns.
fn line() -> Op {
    Op::LinearRegressor {
        estimator: "Ridge".to_owned(),
        n_features: 2,
        n_outputs: 1,
        coef: ArrayId(0),
        intercept: ArrayId(1),
        flat: true,
        float32: false,
    }
}

/// 0: `coef`, 1: `intercept`, 2: labels 0 and 1, 3: labels 0 and 5, 4: three labels, 5: two weights, 6: two that add up to 0.
fn arrays() -> Memory {
    let floats = |values: &[f64]| bytemuck::cast_slice(values).to_vec();
    Memory::new(vec![
        array(Dtype::F64, &[1, 2], floats(&[1.0, 2.0])),
        array(Dtype::F64, &[1], floats(&[0.5])),
        array(Dtype::I64, &[2], words(&[0, 1])),
        array(Dtype::I64, &[2], words(&[0, 5])),
        array(Dtype::I64, &[3], words(&[0, 1, 2])),
        array(Dtype::F64, &[2], floats(&[0.5, 1.5])),
        array(Dtype::F64, &[2], floats(&[1.0, -1.0])),
    ])
}

fn voting(members: &[u32], weights: Option<u32>, kind: VotingKind) -> Op {
    let estimator = "VotingClassifier".to_owned();
    Op::Voting(Voting { estimator, members: members.to_vec(), weights: weights.map(ArrayId), kind })
}

fn soft(classes: u32) -> VotingKind {
    VotingKind::Soft { classes: ArrayId(classes), flat: true }
}

fn hard(classes: u32) -> VotingKind {
    VotingKind::Hard { classes: ArrayId(classes) }
}

fn stacking(asked: &[(u32, Asked, bool)], passthrough: bool, last: u32, classes: Option<u32>) -> Op {
    let member =
        |&(op, asked, without_first): &(u32, Asked, bool)| StackingMember { op, asked, without_first };
    Op::Stacking(Stacking {
        estimator: "StackingClassifier".to_owned(),
        members: asked.iter().map(member).collect(),
        passthrough,
        last,
        classes: classes.map(ArrayId),
    })
}

fn check(ops: Vec<Op>) -> String {
    let plan = Plan::Native { ops, members: vec![] };
    let read = Plan::decode(&plan.encode());
    match read.and_then(|read| validate(&read, &arrays())) {
        Ok(()) => "fine".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn committees_come_back_from_their_json() {
    let ops = vec![
        classifier(2),
        classifier(2),
        voting(&[0, 1], Some(5), soft(2)),
        line(),
        classifier(2),
        stacking(&[(2, Asked::PredictProba, true), (3, Asked::Predict, false)], false, 4, Some(2)),
    ];
    let plan = Plan::Native { ops: ops.clone(), members: vec![] };
    assert_eq!(plan, Plan::decode(&plan.encode()).unwrap());
    assert_eq!("fine", check(ops.clone()));
    let last = ops.last().unwrap();
    assert_eq!((Some(2), 1, 3), (last.n_features(&ops), last.classes(&ops).len(), last.inputs(&ops).len()));
}

#[test]
fn parts_are_earlier_operations_and_of_one_whole() {
    let two = || vec![classifier(2), classifier(2)];
    let with = |op: Op| check([two(), vec![op]].concat());
    assert!(with(voting(&[0, 2], None, soft(2))).contains("operation 2, is not an earlier operation"));
    assert!(with(voting(&[0, u32::MAX], None, soft(2))).contains("is not an earlier operation"));
    assert!(with(voting(&[0, 0], None, soft(2))).contains("operation 0, is part of two operations"));
    assert!(with(voting(&[], None, soft(2))).contains("`members` is 0, expected at least 1"));
    let twice = vec![classifier(2), voting(&[0], None, soft(2)), voting(&[0], None, soft(2))];
    assert!(check(twice).contains("is part of two operations"));
    let columns = Recoded {
        estimator: "HistGradientBoostingClassifier".to_owned(),
        columns: ArrayId(0),
        starts: ArrayId(0),
        categories: ArrayId(0),
        trees: 1,
    };
    assert!(with(Op::Recoded(columns)).contains("operation 1, is not an operation over trees"));
}

#[test]
fn operations_nest_so_deep_and_no_deeper() {
    let tower = |floors: u32| {
        let mut ops = vec![classifier(2)];
        ops.extend((0..floors).map(|below| voting(&[below], None, soft(2))));
        check(ops)
    };
    assert_eq!("fine", tower(MAX_DEPTH as u32));
    assert!(
        tower(MAX_DEPTH as u32 + 1).contains("33 operations within one another, more than the limit of 32")
    );
    assert!(tower(4000).contains("operations within one another"));
}

#[test]
fn classes_of_members_fit_the_whole() {
    let with = |kind| check(vec![classifier(2), classifier(2), voting(&[0, 1], None, kind)]);
    assert_eq!(
        ["fine", "fine", "fine"],
        [with(soft(2)), with(hard(2)), with(hard(4))].each_ref().map(|s| &**s)
    );
    assert!(with(soft(4)).contains("`classes of a member` is 2, expected 3"));
    assert!(with(VotingKind::Mean).contains("is a classifier among regressors"));
    let beyond = check(vec![classifier(3), voting(&[0], None, hard(4))]);
    assert!(beyond.contains("predicts a class that the whole does not have"));
    let lines = |kind| check(vec![line(), voting(&[0], None, kind)]);
    assert_eq!("fine", lines(VotingKind::Mean));
    assert!(lines(soft(2)).contains("does not have the method that it is asked for"));
    assert!(lines(hard(2)).contains("is not a classifier with one output"));
}

#[test]
fn weights_are_one_for_each_member_and_do_not_cancel_out() {
    let with = |members: &[u32], weights, kind| {
        check(vec![classifier(2), classifier(2), voting(members, Some(weights), kind)])
    };
    assert_eq!("fine", with(&[0, 1], 5, soft(2)));
    assert!(with(&[0], 5, soft(2)).contains("`weights` should be C-order <f8 [1]"));
    assert!(with(&[0, 1], 2, soft(2)).contains("`weights` should be C-order <f8 [2]"));
    assert!(with(&[0, 1], 6, soft(2)).contains("`weights` is 0, expected a sum other than 0"));
    assert_eq!("fine", with(&[0, 1], 6, hard(2)));
}

#[test]
fn the_columns_of_members_are_those_that_the_last_estimator_sees() {
    use Asked::{DecisionFunction, Predict, PredictProba};
    let ops = || vec![classifier(2), line(), classifier(2)];
    let with = |op: Op| check([ops(), vec![op]].concat());
    let stack = |asked: &[(u32, Asked, bool)], passthrough| with(stacking(asked, passthrough, 2, Some(2)));
    assert_eq!("fine", stack(&[(0, PredictProba, false)], false));
    assert_eq!("fine", stack(&[(0, DecisionFunction, false), (1, Predict, false)], false));
    let expected = "`n_features of the last estimator` is 2, expected";
    assert!(stack(&[(0, PredictProba, true)], false).contains(&format!("{expected} 1")));
    assert!(stack(&[(0, PredictProba, true)], true).contains(&format!("{expected} 3")));
    assert!(stack(&[(0, Predict, true), (1, Predict, false)], false).contains("that could be left out"));
    assert!(stack(&[(1, PredictProba, false)], false).contains("does not have the method"));
    assert!(stack(&[], false).contains("`members` is 0"));
    let regressor = with(stacking(&[(0, PredictProba, false)], false, 2, None));
    assert!(regressor.contains("is a classifier behind regressors"));
    let behind_a_line = with(stacking(&[(0, PredictProba, false)], false, 1, Some(2)));
    assert!(behind_a_line.contains("is not a classifier with one output"));
}

#[test]
fn members_have_the_same_columns() {
    let wide = Op::Pipeline { steps: vec![1, 0] };
    let ops = vec![classifier(2), scaler(3), wide, classifier(2), voting(&[2, 3], None, soft(2))];
    assert!(check(ops).contains("`n_features` is 2, expected 3"));
    let pipeline = Op::Pipeline { steps: vec![1, 0] };
    let ops = vec![classifier(2), scaler(2), pipeline, classifier(2), voting(&[2, 3], None, soft(2))];
    assert_eq!("fine", check(ops));
}
