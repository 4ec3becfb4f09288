//! Linear models: regressors and logistic regression.
#![forbid(unsafe_code)]

use crate::format::dtype::Dtype;
use crate::format::{ArrayInfo, Order, Role};
use crate::model::array::ArraySource;
use crate::model::graph::{ArrayPart, Graph, NodeId};
use crate::model::lower::stage::{Lowered, Refusal, Staged, StagedData, classes};
use crate::model::plan::{Link, Op};

/// Longest array that lowering holds in memory to bring it into C order.
const MAX_TURNED: u64 = 64 << 20;

/// Lowers `LinearRegression`, `Ridge`, `Lasso`, `ElasticNet` and their relatives.
pub(super) fn lower_regressor(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Lowered, Refusal> {
    let coef = Coef::read(graph, id, arrays)?;
    let (n_features, n_outputs) = (coef.n_features, coef.n_outputs);
    let intercept = read_intercept(graph, id, arrays, n_outputs, coef.float32)?;
    let (flat, float32) = (coef.flat, coef.float32);
    let estimator = graph.class_of(id).map_or("", |(_, name)| name).to_owned();
    Ok(Lowered {
        arrays: vec![coef.staged, intercept],
        op: Box::new(move |ids| Op::LinearRegressor {
            estimator,
            n_features,
            n_outputs,
            coef: ids[0],
            intercept: ids[1],
            flat,
            float32,
        }),
    })
}

/// Lowers `LogisticRegression`.
pub(super) fn lower_logistic(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Lowered, Refusal> {
    let coef = Coef::read(graph, id, arrays)?;
    let (n_features, rows) = (coef.n_features, coef.n_outputs);
    let float32 = coef.float32;
    let intercept = read_intercept(graph, id, arrays, rows, float32)?;
    let labels = graph.attr(id, "classes_").ok_or_else(|| unfitted("classes_"))?;
    let labels = classes(graph, labels, arrays, None)?;
    let n_classes = labels.info.shape.first().copied().unwrap_or(0);
    let expected = if n_classes == 2 { 1 } else { n_classes };
    if n_classes < 2 || (u64::from(rows) != expected && u64::from(rows) != n_classes) || coef.flat {
        let why = format!("it has {n_classes} classes but `coef_` has {rows} rows");
        return Err(Refusal::uncovered(why));
    }
    let link = link(graph, id, n_classes)?;
    if link == Link::Logistic && rows != 1 {
        return Err(Refusal::uncovered("it has two classes but a row of `coef_` for each"));
    }
    Ok(Lowered {
        arrays: vec![coef.staged, intercept, labels],
        op: Box::new(move |ids| Op::LogisticRegression {
            n_features,
            coef: ids[0],
            intercept: ids[1],
            classes: ids[2],
            link,
            float32,
        }),
    })
}

/// How the scikit-learn that saved the model makes probabilities.
///
/// Up to 1.7 `multi_class` decided: `ovr` (`warn` in 0.20 and 0.21, when it was the default), `multinomial`, or
/// `auto` (`deprecated` from 1.5), which is one-vs-rest for two classes and for liblinear. From 1.8 on there is
/// no `multi_class`: two classes are logistic, more are multinomial.
fn link(graph: &Graph, id: NodeId, n_classes: u64) -> Result<Link, Refusal> {
    let text = |name| graph.attr(id, name).and_then(|id| graph.as_str(id));
    let binary = n_classes == 2;
    let liblinear = text("solver") == Some("liblinear");
    let one_vs_rest = match (text("multi_class"), graph.attr(id, "multi_class")) {
        (Some("ovr" | "warn"), _) => true,
        (Some("multinomial"), _) => false,
        (Some("auto" | "deprecated"), _) => binary || liblinear,
        (None, None) => binary,
        _ => return Err(Refusal::uncovered("its `multi_class` is none that scikit-learn knows")),
    };
    Ok(match (one_vs_rest, binary) {
        (true, true) => Link::Logistic,
        (true, false) => Link::OneVsRest,
        (false, _) => Link::Softmax,
    })
}

struct Coef {
    staged: Staged,
    n_features: u32,
    n_outputs: u32,
    /// Whether `coef_` has one dimension.
    flat: bool,
    /// Whether `coef_` is `float32`.
    float32: bool,
}

impl Coef {
    fn read(graph: &Graph, id: NodeId, arrays: &dyn ArraySource) -> Result<Self, Refusal> {
        let attr = graph.attr(id, "coef_").ok_or_else(|| unfitted("coef_"))?;
        let Some(part) = graph.array_part(attr) else {
            return Err(Refusal::uncovered("its `coef_` is not a dense array"));
        };
        let (outputs, features) = match *part.shape {
            [features] => (1, features),
            [outputs, features] => (outputs, features),
            _ => return Err(Refusal::uncovered(format!("its `coef_` has the shape {:?}", part.shape))),
        };
        let small = |len: u64| u32::try_from(len).ok().filter(|len| (1..1 << 31).contains(len));
        let (Some(n_outputs), Some(n_features)) = (small(outputs), small(features)) else {
            return Err(Refusal::uncovered(format!("its `coef_` has the shape {:?}", part.shape)));
        };
        let expected = graph.attr(id, "n_features_in_").and_then(|id| graph.as_int(id));
        if expected.is_some_and(|expected| expected != i64::from(n_features)) {
            let why = format!("`coef_` has {n_features} columns, `n_features_in_` says {expected:?}");
            return Err(Refusal::uncovered(why));
        }
        let staged = stage_f64("coef", attr, part, vec![outputs, features], graph, arrays)?;
        let float32 = arrays.info(part.array).dtype == Dtype::F32;
        Ok(Coef { staged, n_features, n_outputs, flat: part.shape.len() == 1, float32 })
    }
}

/// A number (0.0 with `fit_intercept=False`), or one per output; in the type of `coef_`.
fn read_intercept(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
    n_outputs: u32,
    float32: bool,
) -> Result<Staged, Refusal> {
    let attr = graph.attr(id, "intercept_").ok_or_else(|| unfitted("intercept_"))?;
    let shape = vec![u64::from(n_outputs)];
    let unlike = || Refusal::uncovered("one of its `coef_` and `intercept_` is float32 and the other is not");
    if let Some(part) = graph.array_part(attr).filter(|part| *part.shape == *shape) {
        if (arrays.info(part.array).dtype == Dtype::F32) != float32 {
            return Err(unlike());
        }
        return stage_f64("intercept", attr, part, shape, graph, arrays);
    }
    let array = graph.plain_array_at(attr, arrays, 8)?;
    let single = array.as_ref().filter(|array| array.shape.iter().product::<u64>() == 1);
    // A number of Python's takes on the type of the array that it is added to.
    let own = single.map(|array| Dtype::Plain(array.dtype) == Dtype::F32);
    if graph.as_f64(attr) != Some(0.0) && own.is_some_and(|own| own != float32) {
        return Err(unlike());
    }
    match single.and_then(|array| array.f64s()?.first().copied()) {
        Some(value) => {
            let bytes = value.to_le_bytes().repeat(n_outputs as usize);
            Ok(Staged::memory("intercept", Dtype::F64, shape, bytes))
        }
        None => Err(Refusal::uncovered("its `intercept_` is neither a number nor one per output")),
    }
}

/// An array of float64, as the source has it if that is one run in C order, else turned.
pub(super) fn stage_f64(
    name: &'static str,
    id: NodeId,
    part: &ArrayPart,
    shape: Vec<u64>,
    graph: &Graph,
    arrays: &dyn ArraySource,
) -> Result<Staged, Refusal> {
    let stored = arrays.info(part.array);
    if stored.dtype == Dtype::F64 && (stored.order == Order::C || stored.shape.len() < 2) {
        let info = ArrayInfo::new(Dtype::F64, shape);
        let data = StagedData::Part(part.clone());
        return Ok(Staged { name, index: None, info, role: Role::Predict, data });
    }
    let array = graph.plain_array_at(id, arrays, MAX_TURNED)?;
    let Some(values) = array.and_then(|array| array.f64s()) else {
        let why = format!("its `{name}` is a {} array in {:?} order", stored.dtype, stored.order);
        return Err(Refusal::uncovered(why));
    };
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(Staged::memory(name, Dtype::F64, shape, bytes))
}

pub(super) fn unfitted(attribute: &str) -> Refusal {
    Refusal::uncovered(format!("it is not fitted: there is no `{attribute}`"))
}
