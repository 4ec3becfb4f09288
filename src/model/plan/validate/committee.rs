//! Checks operations that are made of others: what the parts answer fits.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::plan::validate::{Check, MAX_COLUMNS};
use crate::model::plan::{
    Asked, Boosted, BoostedKind, BoostedLink, Float, Forest, ForestKind, Head, Op, PlanError, Recoded,
    Stacking, Trees, Voting, VotingKind,
};

impl Check<'_> {
    pub(super) fn voting(&self, ops: &[Op], voting: &Voting) -> Result<(), PlanError> {
        let n_members = voting.members.len() as u64;
        if n_members == 0 {
            return Err(self.field("members", "at least 1", 0));
        }
        self.widths(ops, &voting.members)?;
        if let Some(weights) = voting.weights {
            let weights = self.array::<f64>("weights", weights, &[n_members])?;
            let sum: f64 = weights.iter().sum();
            if sum == 0.0 && !matches!(voting.kind, VotingKind::Hard { .. }) {
                return Err(self.field("weights", "a sum other than 0", 0));
            }
        }
        match voting.kind {
            VotingKind::Hard { classes } => {
                let n_classes = self.labels(classes)?.1;
                voting.members.iter().try_for_each(|&member| self.positions(ops, member, n_classes))
            }
            VotingKind::Soft { classes, flat: _ } => {
                let n_classes = self.labels(classes)?.1;
                self.bounded("members * classes", n_members.saturating_mul(n_classes))?;
                voting.members.iter().try_for_each(|&member| {
                    let found = self.columns_of(ops, member, Asked::PredictProba)?;
                    self.equal("classes of a member", n_classes, found)
                })
            }
            VotingKind::Mean => voting.members.iter().try_for_each(|&member| {
                if !ops[member as usize].classes(ops).is_empty() {
                    return Err(self.part(member, "is a classifier among regressors"));
                }
                let found = self.columns_of(ops, member, Asked::Predict)?;
                self.equal("outputs of a member", 1, found)
            }),
        }
    }

    pub(super) fn stacking(&self, ops: &[Op], stacking: &Stacking) -> Result<(), PlanError> {
        let members: Vec<u32> = stacking.members.iter().map(|member| member.op).collect();
        let Some(first) = members.first() else { return Err(self.field("members", "at least 1", 0)) };
        self.widths(ops, &members)?;
        let mut columns = match stacking.passthrough {
            true => ops[*first as usize].n_features(ops).map_or(0, u64::from),
            false => 0,
        };
        for member in &stacking.members {
            let found = self.columns_of(ops, member.op, member.asked)?;
            if member.without_first && (found < 2 || member.asked != Asked::PredictProba) {
                return Err(self.part(member.op, "has no probability that could be left out"));
            }
            if member.asked == Asked::Predict {
                self.numbers(ops, member.op)?;
            }
            columns = columns.saturating_add(found - u64::from(member.without_first));
        }
        self.bounded("columns of members", columns)?;
        let last = ops[stacking.last as usize].n_features(ops).map_or(0, u64::from);
        self.equal("n_features of the last estimator", columns, last)?;
        self.columns_of(ops, stacking.last, Asked::Predict)?;
        match stacking.classes {
            Some(classes) => self.positions(ops, stacking.last, self.labels(classes)?.1),
            None if ops[stacking.last as usize].classes(ops).is_empty() => Ok(()),
            None => Err(self.part(stacking.last, "is a classifier behind regressors")),
        }
    }

    pub(super) fn recoded(&self, ops: &[Op], recoded: &Recoded) -> Result<(), PlanError> {
        let n_features = ops[recoded.trees as usize].n_features(ops).map_or(0, u64::from);
        let columns = self.array::<u32>("columns", recoded.columns, &[n_features])?;
        if let Some(&column) = columns.iter().find(|&&column| u64::from(column) >= n_features) {
            return Err(self.field("columns", &format!("below {n_features}"), u64::from(column)));
        }
        let n_encoded =
            self.info("starts", recoded.starts)?.shape.first().map_or(0, |&n| n.saturating_sub(1));
        if n_encoded > n_features {
            return Err(self.field("starts", &format!("up to {n_features} columns"), n_encoded));
        }
        let starts = self.starts("starts", recoded.starts, n_encoded)?;
        let n = u64::from(starts.last().copied().unwrap_or(0));
        let categories = self.array::<f64>("categories", recoded.categories, &[n])?;
        for span in starts.windows(2) {
            let own = &categories[span[0] as usize..span[1] as usize];
            if own.iter().any(|value| value.is_nan()) || own.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(self.field("categories", "ascending for each column", u64::from(span[0])));
            }
        }
        Ok(())
    }

    /// What raw scores begin with has a value for each of them.
    pub(super) fn init(&self, ops: &[Op], trees: &Trees) -> Result<(), PlanError> {
        let Some(init) = trees.init else { return Ok(()) };
        let Head::Boosted(Boosted { columns, sum: Float::F64, link, .. }) = trees.head else {
            return Err(self.part(init, "begins sums that are not those of boosted trees in 64 bits"));
        };
        self.widths(ops, &[init])?;
        let n_features = ops[init as usize].n_features(ops).map_or(0, u64::from);
        self.equal("n_features of the part", u64::from(trees.n_features), n_features)?;
        let classifies = !trees.classes().is_empty();
        let asked = if classifies { Asked::PredictProba } else { Asked::Predict };
        let expected = match (classifies, columns) {
            (true, 1) => 2,
            (_, columns) => u64::from(columns),
        };
        self.equal("columns of the part", expected, self.columns_of(ops, init, asked)?)?;
        let known = match (classifies, columns) {
            (false, 1) => link == BoostedLink::Identity,
            (true, 1) => matches!(link, BoostedLink::Logistic | BoostedLink::HalfLogistic),
            (true, _) => link == BoostedLink::Softmax,
            (false, _) => false,
        };
        if known { Ok(()) } else { Err(self.part(init, "begins scores of another link")) }
    }

    fn part(&self, part: u32, problem: &'static str) -> PlanError {
        PlanError::Part { op: self.op, part, problem }
    }

    fn bounded(&self, field: &'static str, found: u64) -> Result<(), PlanError> {
        let most = u64::from(MAX_COLUMNS);
        if found <= most { Ok(()) } else { Err(self.field(field, &format!("up to {most}"), found)) }
    }

    /// The part is a classifier whose labels are positions among `n_classes`.
    fn positions(&self, ops: &[Op], part: u32, n_classes: u64) -> Result<(), PlanError> {
        let labels = self.int64_labels(ops, part)?;
        let within = |label: &i64| u64::try_from(*label).is_ok_and(|label| label < n_classes);
        match labels.iter().find(|label| !within(label)) {
            Some(_) => Err(self.part(part, "predicts a class that the whole does not have")),
            None => Ok(()),
        }
    }

    fn int64_labels(&self, ops: &[Op], part: u32) -> Result<&[i64], PlanError> {
        let &[classes] = ops[part as usize].classes(ops) else {
            return Err(self.part(part, "is not a classifier with one output"));
        };
        self.columns_of(ops, part, Asked::Predict)?;
        let (_, n) = self.labels(classes)?;
        self.array::<i64>("classes of a part", classes, &[n])
    }

    /// What the part predicts are numbers.
    fn numbers(&self, ops: &[Op], part: u32) -> Result<(), PlanError> {
        let numeric = |&id: &ArrayId| self.labels(id).map(|(dtype, _)| is_number(&dtype));
        for classes in ops[part as usize].classes(ops) {
            if !numeric(classes)? {
                return Err(self.part(part, "predicts labels that are no 64-bit numbers"));
            }
        }
        Ok(())
    }

    /// How many columns the answer of a part has: one, if it has one dimension.
    fn columns_of(&self, ops: &[Op], part: u32, asked: Asked) -> Result<u64, PlanError> {
        let op = &ops[part as usize];
        let n_classes = || match op.classes(ops) {
            &[classes] => self.labels(classes).map(|(_, n)| n),
            _ => Err(self.part(part, "is not a classifier with one output")),
        };
        let decisions = |n| if n == 2 { 1 } else { n };
        match (op, asked) {
            (Op::LinearRegressor { n_outputs, .. }, Asked::Predict) => Ok(u64::from(*n_outputs)),
            (Op::LogisticRegression { .. }, Asked::Predict) => Ok(1),
            (Op::LogisticRegression { .. }, Asked::PredictProba) => n_classes(),
            (Op::LogisticRegression { .. }, Asked::DecisionFunction) => n_classes().map(decisions),
            (Op::Trees(trees), Asked::Predict) if trees.predicts() => Ok(predicted(trees)),
            (Op::Trees(trees), Asked::PredictProba) if trees.has_proba() => match &trees.head {
                Head::Forest(_) => n_classes(),
                Head::Boosted(boosted) => {
                    n_classes()?;
                    Ok(u64::from(boosted.columns.max(2)))
                }
            },
            (Op::Trees(trees), Asked::DecisionFunction) if trees.decides() => match &trees.head {
                Head::Forest(_) => n_classes().map(decisions),
                Head::Boosted(boosted) => Ok(u64::from(boosted.columns)),
            },
            (Op::Voting(_), Asked::Predict) => Ok(1),
            (Op::Voting(Voting { kind: VotingKind::Soft { .. }, .. }), Asked::PredictProba) => n_classes(),
            (Op::Pipeline { steps }, _) => {
                let last = steps.last().copied().unwrap_or(0);
                self.columns_of(ops, last, asked)
            }
            (Op::Recoded(recoded), _) => self.columns_of(ops, recoded.trees, asked),
            (Op::Stacking(stacking), Asked::Predict) => self.columns_of(ops, stacking.last, asked),
            (Op::Stacking(stacking), _) if stacking.classes.is_some() => {
                self.columns_of(ops, stacking.last, asked)
            }
            _ => Err(self.part(part, "does not have the method that it is asked for")),
        }
    }
}

/// Columns of `predict`.
fn predicted(trees: &Trees) -> u64 {
    match &trees.head {
        Head::Forest(Forest { kind: ForestKind::AdaBoost, .. }) => 1,
        Head::Forest(forest) => u64::from(forest.n_outputs),
        Head::Boosted(Boosted { kind: BoostedKind::Regressor, link, columns, .. })
            if *link != BoostedLink::LargestF32 =>
        {
            u64::from(*columns)
        }
        Head::Boosted(_) => 1,
    }
}

fn is_number(dtype: &Dtype) -> bool {
    *dtype == Dtype::I64 || *dtype == Dtype::F64
}
