//! What scikit-learn's histogram gradient boosting does with rows that have categorical features, before its trees see them.
#![forbid(unsafe_code)]

use crate::format::ArrayId;
use crate::format::dtype::Dtype;
use crate::model::array::ArraySource;
use crate::model::graph::{Graph, NodeId};
use crate::model::lower::arena::Arena;
use crate::model::lower::linear::unfitted;
use crate::model::lower::trees::lower_encoded;
use crate::model::lower::{Lowered, Refusal, Staged};
use crate::model::plan::{Op, Recoded};

/// Most bytes of flags, or of the categories of a feature.
const MAX_BYTES: u64 = 1 << 24;

/// Lowers the whole estimator, which takes rows as users have them: the trees, and what is before them.
pub(in crate::model::lower) fn lower_recoded(arena: &mut Arena<'_>, id: NodeId) -> Result<u32, Refusal> {
    let (graph, arrays) = (arena.graph, arena.arrays);
    let recoding = match graph.attr(id, "_preprocessor").filter(|found| !graph.is_none(*found)) {
        Some(preprocessor) => Some(Recoding::read(graph, id, preprocessor, arrays)?),
        None => None,
    };
    let lowered = lower_encoded(graph, id, arrays)?;
    let trees = arena.push(id, lowered);
    let Some(Recoding { columns, starts, categories }) = recoding else { return Ok(trees) };
    let estimator = graph.class_of(id).map_or("", |(_, name)| name).to_owned();
    let u32s = |name, values: &[u32]| {
        Staged::memory(name, Dtype::U32, vec![values.len() as u64], bytemuck::cast_slice(values).to_vec())
    };
    let bytes = bytemuck::cast_slice(&categories).to_vec();
    let arrays = vec![
        u32s("columns", &columns),
        u32s("starts", &starts),
        Staged::memory("categories", Dtype::F64, vec![categories.len() as u64], bytes),
    ];
    let op = move |ids: &[ArrayId]| {
        Op::Recoded(Recoded { estimator, columns: ids[0], starts: ids[1], categories: ids[2], trees })
    };
    Ok(arena.push(id, Lowered { arrays, op: Box::new(op) }))
}

/// The categorical columns first, in their order, then the others.
struct Recoding {
    columns: Vec<u32>,
    starts: Vec<u32>,
    categories: Vec<f64>,
}

impl Recoding {
    fn read(
        graph: &Graph,
        id: NodeId,
        preprocessor: NodeId,
        arrays: &dyn ArraySource,
    ) -> Result<Self, Refusal> {
        let encoder = encoder(graph, preprocessor)?;
        let flags = graph.attr(id, "is_categorical_").ok_or_else(|| unfitted("is_categorical_"))?;
        let flags = graph.plain_array_at(flags, arrays, MAX_BYTES)?;
        let flags = flags.filter(|flags| flags.dtype.itemsize == 1 && flags.shape.len() == 1);
        let flags = flags.ok_or_else(unknown)?.bytes;
        let of = |wanted: bool| {
            (0..flags.len() as u32)
                .filter(|&column| (flags[column as usize] != 0) == wanted)
                .collect::<Vec<_>>()
        };
        let (categorical, numeric) = (of(true), of(false));
        let lists = graph.attr(encoder, "categories_").and_then(|lists| graph.items(lists));
        let lists = lists.filter(|lists| lists.len() == categorical.len()).ok_or_else(unknown)?;
        let (mut starts, mut categories) = (vec![0], Vec::new());
        for (list, column) in lists.iter().zip(&categorical) {
            categories.extend(numbers(graph, *list, *column, arrays)?);
            starts.push(u32::try_from(categories.len()).map_err(|_| unknown())?);
        }
        Ok(Recoding { columns: [categorical, numeric].concat(), starts, categories })
    }
}

fn unknown() -> Refusal {
    Refusal::uncovered("its `_preprocessor` is not the one that scikit-learn makes for categorical features")
}

/// The `OrdinalEncoder` among the transformers, if it and they do what histogram gradient boosting lets them do.
fn encoder(graph: &Graph, preprocessor: NodeId) -> Result<NodeId, Refusal> {
    let named = |id: NodeId, class: &str| graph.class_of(id).is_some_and(|(_, name)| name == class);
    let transformers = graph.attr(preprocessor, "transformers_").and_then(|all| graph.items(all));
    let transformers =
        transformers.filter(|_| named(preprocessor, "ColumnTransformer")).ok_or_else(unknown)?;
    let mut found = None;
    for transformer in transformers {
        let Some(&[name, transformer, _]) = graph.items(*transformer) else { return Err(unknown()) };
        match graph.as_str(name) {
            Some("encoder") if named(transformer, "OrdinalEncoder") => found = Some(transformer),
            Some("numerical") if named(transformer, "FunctionTransformer") => {}
            Some("remainder") if graph.as_str(transformer) == Some("drop") => {}
            _ => return Err(unknown()),
        }
    }
    let encoder = found.ok_or_else(unknown)?;
    let attr = |name| graph.attr(encoder, name);
    let is_nan = |name| attr(name).and_then(|id| graph.as_f64(id)).is_some_and(f64::is_nan);
    let encodes = attr("handle_unknown").and_then(|id| graph.as_str(id)) == Some("use_encoded_value");
    let frequent = attr("_infrequent_enabled").is_none_or(|id| graph.as_bool(id) == Some(false));
    let plain = encodes && frequent && is_nan("unknown_value") && is_nan("encoded_missing_value");
    if plain { Ok(encoder) } else { Err(unknown()) }
}

/// The categories of a column in ascending order, without NaN, which is the last if training saw it.
fn numbers(graph: &Graph, list: NodeId, column: u32, arrays: &dyn ArraySource) -> Result<Vec<f64>, Refusal> {
    let values = graph.plain_array_at(list, arrays, MAX_BYTES)?.and_then(|values| values.f64s());
    let Some(mut values) = values else {
        let why = format!(
            "the categories of its column {column} are text or other objects, which rows of numbers cannot hold"
        );
        return Err(Refusal::uncovered(why));
    };
    if values.last().is_some_and(|last| last.is_nan()) {
        values.pop();
    }
    let ascending =
        values.windows(2).all(|pair| pair[0] < pair[1]) && !values.iter().any(|value| value.is_nan());
    if ascending { Ok(values) } else { Err(unknown()) }
}
