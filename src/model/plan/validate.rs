//! Checks a plan against its arrays, once, so that running it needs no more checks.
//!
//! Costs time in proportion to the tree nodes, at the first prediction and not when a file is opened.
#![forbid(unsafe_code)]

mod committee;
mod lanes;
mod trees;

use crate::format::dtype::{Dtype, Element, Kind};
use crate::format::{ArrayId, ArrayInfo, Order};
use crate::model::plan::{Link, Op, Plan, PlanArrays, PlanError, check_order};

/// Most columns of an input, and most values of a leaf.
const MAX_COLUMNS: u32 = 1 << 24;

/// Checks every array id, dtype, shape and index of `plan`.
///
/// # Errors
///
/// The first thing found wrong.
pub(crate) fn validate(plan: &Plan, arrays: &dyn PlanArrays) -> Result<(), PlanError> {
    check_order(plan)?;
    let ops = plan.ops();
    for (op, operation) in ops.iter().enumerate() {
        let check = Check { op, arrays };
        match operation {
            Op::StandardScaler { n_features, mean, scale } => {
                check.columns("n_features", *n_features)?;
                for (parameter, id) in [("mean", mean), ("scale", scale)] {
                    id.map_or(Ok(()), |id| check.floats(parameter, id, &[u64::from(*n_features)]))?;
                }
            }
            Op::MinMaxScaler { n_features, scale, min, clip: _ } => {
                check.columns("n_features", *n_features)?;
                check.floats("scale", *scale, &[u64::from(*n_features)])?;
                check.floats("min", *min, &[u64::from(*n_features)])?;
            }
            Op::LinearRegressor {
                estimator: _,
                n_features,
                n_outputs,
                coef,
                intercept,
                flat,
                float32: _,
            } => {
                check.columns("n_features", *n_features)?;
                check.columns("n_outputs", *n_outputs)?;
                if *flat {
                    check.equal("n_outputs", 1, u64::from(*n_outputs))?;
                }
                check.floats("coef", *coef, &[u64::from(*n_outputs), u64::from(*n_features)])?;
                check.floats("intercept", *intercept, &[u64::from(*n_outputs)])?;
            }
            Op::LogisticRegression { n_features, coef, intercept, classes, link, float32: _ } => {
                check.columns("n_features", *n_features)?;
                let n_classes = check.labels(*classes)?.1;
                let rows = match (link, n_classes) {
                    (Link::Logistic | Link::Softmax, 2) => 1,
                    (Link::OneVsRest | Link::Softmax, 3..) => n_classes,
                    _ => return Err(check.field("classes", "two for a logistic link, else more", n_classes)),
                };
                check.floats("coef", *coef, &[rows, u64::from(*n_features)])?;
                check.floats("intercept", *intercept, &[rows])?;
            }
            Op::Trees(trees) => {
                check.trees(trees)?;
                check.init(ops, trees)?;
            }
            Op::Pipeline { steps } => check.widths(ops, steps)?,
            Op::Voting(voting) => check.voting(ops, voting)?,
            Op::Stacking(stacking) => check.stacking(ops, stacking)?,
            Op::Recoded(recoded) => check.recoded(ops, recoded)?,
        }
    }
    Ok(())
}

/// One operation and its arrays.
struct Check<'a> {
    op: usize,
    arrays: &'a dyn PlanArrays,
}

impl<'a> Check<'a> {
    fn field(&self, field: &'static str, expected: &str, found: u64) -> PlanError {
        PlanError::Field { op: self.op, field, expected: expected.to_owned(), found }
    }

    fn equal(&self, field: &'static str, expected: u64, found: u64) -> Result<(), PlanError> {
        if found == expected { Ok(()) } else { Err(self.field(field, &expected.to_string(), found)) }
    }

    fn columns(&self, field: &'static str, found: u32) -> Result<(), PlanError> {
        if (1..=MAX_COLUMNS).contains(&found) {
            return Ok(());
        }
        Err(self.field(field, &format!("1 to {MAX_COLUMNS}"), u64::from(found)))
    }

    /// An array of `T` with exactly this shape; its elements.
    fn array<T: Element>(
        &self,
        parameter: &'static str,
        id: ArrayId,
        shape: &[u64],
    ) -> Result<&'a [T], PlanError> {
        let info = self.info(parameter, id)?;
        if info.dtype != T::dtype() || info.shape != shape || (info.order == Order::F && shape.len() > 1) {
            let expected = format!("C-order {} {shape:?}", T::dtype());
            return Err(self.unlike(parameter, expected, &info));
        }
        bytemuck::try_cast_slice(self.bytes(parameter, id, &info)?)
            .map_err(|_| PlanError::Misaligned { op: self.op, parameter })
    }

    /// As many bytes as `info` calls for.
    fn bytes(&self, parameter: &'static str, id: ArrayId, info: &ArrayInfo) -> Result<&'a [u8], PlanError> {
        let bytes =
            self.arrays.plan_array_bytes(id).ok_or(PlanError::Compressed { op: self.op, parameter })?;
        let itemsize = u64::from(info.dtype.itemsize());
        let expected = info.shape.iter().try_fold(itemsize, |bytes, &len| bytes.checked_mul(len));
        if expected == Some(bytes.len() as u64) {
            return Ok(bytes);
        }
        Err(self.unlike(parameter, format!("{} bytes for its shape", bytes.len()), info))
    }

    fn info(&self, parameter: &'static str, id: ArrayId) -> Result<ArrayInfo, PlanError> {
        let missing = PlanError::NoArray { op: self.op, parameter, array: id.0 };
        self.arrays.plan_array_info(id).ok_or(missing)
    }

    fn unlike(&self, parameter: &'static str, expected: String, found: &ArrayInfo) -> PlanError {
        let order = if found.order == Order::F { "Fortran-order" } else { "C-order" };
        let found = format!("{order} {} {:?}", found.dtype, found.shape);
        PlanError::Array { op: self.op, parameter, expected, found }
    }

    fn floats(&self, parameter: &'static str, id: ArrayId, shape: &[u64]) -> Result<(), PlanError> {
        self.array::<f64>(parameter, id, shape).map(|_| ())
    }

    /// Class labels: their dtype and number.
    fn labels(&self, id: ArrayId) -> Result<(Dtype, u64), PlanError> {
        let info = self.info("classes", id)?;
        let plain = match &info.dtype {
            Dtype::Plain(plain) => !plain.big_endian && plain.kind != Kind::Void && plain.itemsize > 0,
            Dtype::Record(_) => false,
        };
        let n_classes = match *info.shape {
            [n_classes] if plain && n_classes > 0 => n_classes,
            _ => return Err(self.unlike("classes", "little-endian labels [n_classes]".to_owned(), &info)),
        };
        self.bytes("classes", id, &info)?;
        Ok((info.dtype, n_classes))
    }

    /// What a pipeline step gives, the next one takes: all have as many columns as the first.
    fn widths(&self, ops: &[Op], parts: &[u32]) -> Result<(), PlanError> {
        let width = |part: &u32| ops[*part as usize].n_features(ops).map_or(0, u64::from);
        let first = parts.first().map_or(0, width);
        parts.iter().try_for_each(|part| self.equal("n_features", first, width(part)))
    }
}
