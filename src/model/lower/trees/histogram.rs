//! `HistGradientBoostingClassifier` and `HistGradientBoostingRegressor`.
#![forbid(unsafe_code)]

use crate::format::dtype::{Dtype, Plain, Record};
use crate::model::array::ArraySource;
use crate::model::graph::read::byte_range;
use crate::model::graph::view::{float_of, int_of};
use crate::model::graph::{ArrayPart, Graph, NodeId};
use crate::model::lower::linear::unfitted;
use crate::model::lower::trees::boosted::{BoostedTrees, classes_of, link_of};
use crate::model::lower::trees::ensemble::{Ensemble, PlainKind, PlainNode, PlainTree, Test};
use crate::model::lower::trees::plain::Budget;
use crate::model::lower::{Lowered, Refusal};
use crate::model::plan::{CategoryRule, Float, LeafNumbers};

/// Words of a set of categories: scikit-learn has at most 256.
const SET_WORDS: usize = 8;
/// Most bytes of the start, and of the categories of a feature.
const MAX_BYTES: u64 = 1 << 24;

/// Lowers what the estimator does with rows whose categories are encoded.
pub(in crate::model::lower) fn lower_encoded(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
) -> Result<Lowered, Refusal> {
    let n_features = graph.attr(id, "n_features_in_").or_else(|| graph.attr(id, "_n_features"));
    let n_features = n_features.and_then(|n| u32::try_from(graph.as_int(n)?).ok()).filter(|&n| n > 0);
    let n_features = n_features.ok_or_else(|| unfitted("n_features_in_"))?;
    let start = graph.attr(id, "_baseline_prediction").ok_or_else(|| unfitted("_baseline_prediction"))?;
    let start = graph.plain_array_at(start, arrays, MAX_BYTES)?;
    let start = start.filter(|start| Dtype::Plain(start.dtype) == Dtype::F64);
    let start = start.and_then(|start| start.f64s());
    let start = start.ok_or_else(|| Refusal::uncovered("its `_baseline_prediction` is not float64"))?;
    let known = Categories::read(graph, id, arrays, n_features)?;
    let boosted = BoostedTrees {
        estimator: graph.class_of(id).map_or("", |(_, name)| name).to_owned(),
        link: link_of(graph, id)?,
        classes: classes_of(graph, id, arrays)?,
        nan_allowed: true,
        infinity_allowed: true,
        dense_only: true,
        log_proba: false,
        second_at_zero: false,
        apply: LeafNumbers::Absent,
        init: None,
        ensemble: Ensemble {
            n_features,
            input: Float::F64,
            leaves: Float::F64,
            trees: trees(graph, id, arrays, start.len(), &known)?,
            zero_is_missing: Vec::new(),
            rule: known.any().then_some(CategoryRule::Histogram),
        },
        start,
    };
    boosted.lower()
}

/// The trees of every iteration, one for each of `columns`.
fn trees(
    graph: &Graph,
    id: NodeId,
    arrays: &dyn ArraySource,
    columns: usize,
    known: &Categories,
) -> Result<Vec<PlainTree>, Refusal> {
    let iterations = predictors(graph, id).ok_or_else(|| unfitted("_predictors"))?;
    let mut budget = Budget::of(arrays);
    let mut trees = Vec::new();
    for iteration in iterations {
        let iteration = graph.items(*iteration).filter(|iteration| iteration.len() == columns);
        let uneven = || Refusal::uncovered("it has not one tree per iteration and column");
        for predictor in iteration.ok_or_else(uneven)? {
            let tree = Predictor::read(graph, *predictor, arrays, &mut budget);
            let tree = tree.and_then(|predictor| predictor.tree(known));
            trees.push(tree.map_err(|refusal| refusal.in_tree(trees.len()))?);
        }
    }
    Ok(trees)
}

/// The iterations, each a list of predictors.
fn predictors(graph: &Graph, id: NodeId) -> Option<&[NodeId]> {
    graph.items(graph.attr(id, "_predictors")?)
}

/// The arrays of nodes, for those who want to know how long they are.
pub(super) fn node_parts(graph: &Graph, id: NodeId) -> impl Iterator<Item = &ArrayPart> {
    let iterations = predictors(graph, id).unwrap_or_default().iter();
    let predictors = iterations.flat_map(|iteration| graph.items(*iteration).unwrap_or_default());
    predictors.filter_map(|predictor| graph.array_part(graph.attr(*predictor, "nodes")?))
}

/// The categories that training saw, as a set for each feature that has categories.
struct Categories(Vec<Option<[u32; SET_WORDS]>>);

impl Categories {
    fn read(graph: &Graph, id: NodeId, arrays: &dyn ArraySource, n_features: u32) -> Result<Self, Refusal> {
        let mapper = graph.attr(id, "_bin_mapper").ok_or_else(|| unfitted("_bin_mapper"))?;
        let flags = graph.attr(mapper, "is_categorical_").filter(|flags| !graph.is_none(*flags));
        let Some(flags) = flags else { return Ok(Categories(Vec::new())) };
        let unknown = || Refusal::uncovered("its categories are not those that scikit-learn makes");
        let flags = graph.plain_array_at(flags, arrays, MAX_BYTES)?.ok_or_else(unknown)?;
        let lists = graph.attr(mapper, "bin_thresholds_").and_then(|lists| graph.items(lists));
        let lists = lists.ok_or_else(unknown)?;
        if flags.bytes.len() != n_features as usize || lists.len() != flags.bytes.len() {
            return Err(unknown());
        }
        let set = |(flag, list): (&u8, &NodeId)| match flag {
            0 => Ok(None),
            _ => {
                let values = graph.plain_array_at(*list, arrays, MAX_BYTES)?;
                let values = values.and_then(|values| values.f64s()).ok_or_else(unknown)?;
                set_of(&values).map(Some).ok_or_else(unknown)
            }
        };
        Ok(Categories(flags.bytes.iter().zip(lists).map(set).collect::<Result<_, Refusal>>()?))
    }

    fn any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    fn of(&self, feature: u32) -> Option<&[u32; SET_WORDS]> {
        self.0.get(feature as usize)?.as_ref()
    }
}

/// `None` if a value is not one of 0 to 255.
fn set_of(values: &[f64]) -> Option<[u32; SET_WORDS]> {
    let mut set = [0; SET_WORDS];
    for &value in values {
        let category = value as u8;
        if f64::from(category) != value {
            return None;
        }
        set[usize::from(category / 32)] |= 1 << (category % 32);
    }
    Some(set)
}

/// A `TreePredictor`: records, and sets of the categories that go left.
struct Predictor {
    fields: Fields,
    records: Vec<u8>,
    sets: Vec<[u32; SET_WORDS]>,
}

impl Predictor {
    fn read(
        graph: &Graph,
        id: NodeId,
        arrays: &dyn ArraySource,
        budget: &mut Budget,
    ) -> Result<Self, Refusal> {
        let unknown = || Refusal::uncovered("it is not a `TreePredictor`");
        let part = |name| graph.array_part(graph.attr(id, name)?);
        let nodes = part("nodes").filter(|nodes| nodes.shape.len() == 1).ok_or_else(unknown)?;
        budget.take(nodes, arrays)?;
        let info = arrays.info(nodes.array);
        let fields = Fields::of(&info.dtype)?;
        let (start, len) = byte_range(nodes, &info.dtype).ok_or_else(unknown)?;
        // As many as the file has: the budget was theirs.
        let mut records = vec![0; usize::try_from(len).map_err(|_| unknown())?];
        arrays.read_at(nodes.array, start, &mut records)?;
        let mut sets = Vec::new();
        if let Some(words) = part("raw_left_cat_bitsets").filter(|words| words.shape.first() != Some(&0)) {
            budget.take(words, arrays)?;
            let words = graph.plain_array_at(
                graph.attr(id, "raw_left_cat_bitsets").ok_or_else(unknown)?,
                arrays,
                u64::MAX,
            )?;
            let words = words.filter(|words| {
                Dtype::Plain(words.dtype) == Dtype::U32
                    && matches!(*words.shape, [_, width] if width == SET_WORDS as u64)
            });
            let words =
                words.ok_or_else(|| Refusal::uncovered("its sets of categories are not uint32 [n, 8]"))?;
            sets = words
                .bytes
                .as_chunks::<4>()
                .0
                .as_chunks::<SET_WORDS>()
                .0
                .iter()
                .map(|set| set.map(u32::from_le_bytes))
                .collect();
        }
        Ok(Predictor { fields, records, sets })
    }

    fn tree(&self, known: &Categories) -> Result<PlainTree, Refusal> {
        let records = self.records.chunks_exact(self.fields.itemsize).zip(0..);
        let nodes = records.map(|(record, at)| self.node(record, at, known));
        Ok(PlainTree { nodes: nodes.collect::<Result<_, _>>()? })
    }

    fn node(&self, record: &[u8], at: u32, known: &Categories) -> Result<PlainNode, Refusal> {
        let fields = &self.fields;
        let wrong = |what| Refusal::uncovered(format!("node {at} has {what}"));
        let samples = fields.count.int(record).unwrap_or(0) as f64;
        if fields.is_leaf.int(record) != Some(0) {
            let value = fields.value.float(record).ok_or_else(|| wrong("no value"))?;
            return Ok(PlainNode { kind: PlainKind::Leaf { value }, samples, origin: at });
        }
        let number = |field: &Place| field.int(record).and_then(|n| u32::try_from(n).ok());
        let feature = number(&fields.feature).ok_or_else(|| wrong("no feature"))?;
        let test = if fields.is_categorical.as_ref().is_some_and(|field| field.int(record) != Some(0)) {
            let set = fields.bitset.as_ref().and_then(number).and_then(|set| self.sets.get(set as usize));
            let left = set.ok_or_else(|| wrong("a set of categories that does not exist"))?;
            let known = known.of(feature).ok_or_else(|| wrong("categories, but its feature has none"))?;
            Test::Category { feature, left: Box::new(*left), known: Box::new(*known) }
        } else {
            let threshold = fields.threshold.float(record).ok_or_else(|| wrong("no threshold"))?;
            Test::AtMost { feature, threshold }
        };
        let left = number(&fields.left).ok_or_else(|| wrong("no left child"))?;
        let right = number(&fields.right).ok_or_else(|| wrong("no right child"))?;
        let missing_left = fields.missing.int(record) != Some(0);
        Ok(PlainNode { kind: PlainKind::Split { test, left, right, missing_left }, samples, origin: at })
    }
}

/// Where the fields lie in a record; versions of scikit-learn have different types, and the dtype of the array tells.
struct Fields {
    itemsize: usize,
    value: Place,
    count: Place,
    feature: Place,
    threshold: Place,
    missing: Place,
    left: Place,
    right: Place,
    is_leaf: Place,
    is_categorical: Option<Place>,
    bitset: Option<Place>,
}

/// A field of a record.
struct Place {
    offset: usize,
    dtype: Plain,
}

impl Place {
    fn bytes<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        record.get(self.offset..)?.get(..self.dtype.itemsize as usize)
    }

    fn int(&self, record: &[u8]) -> Option<i64> {
        int_of(self.dtype, self.bytes(record)?)
    }

    fn float(&self, record: &[u8]) -> Option<f64> {
        float_of(self.dtype, self.bytes(record)?)
    }
}

impl Fields {
    /// A field that is not known here might change what a node means, so it is refused.
    fn of(dtype: &Dtype) -> Result<Self, Refusal> {
        const KNOWN: [&str; 14] = [
            "value",
            "count",
            "feature_idx",
            "num_threshold",
            "threshold",
            "missing_go_to_left",
            "left",
            "right",
            "gain",
            "depth",
            "is_leaf",
            "bin_threshold",
            "is_categorical",
            "bitset_idx",
        ];
        let Dtype::Record(record) = dtype else {
            return Err(Refusal::uncovered("its nodes are not records"));
        };
        if let Some(field) = record.fields.iter().find(|field| !KNOWN.contains(&field.name.as_str())) {
            let why = format!("its nodes have a field `{}` that this version does not know", field.name);
            return Err(Refusal::uncovered(why));
        }
        let must = |name| {
            place(record, name).ok_or_else(|| Refusal::uncovered(format!("its nodes have no field `{name}`")))
        };
        Ok(Fields {
            itemsize: (record.itemsize as usize).max(1),
            value: must("value")?,
            count: must("count")?,
            feature: must("feature_idx")?,
            threshold: must("num_threshold").or_else(|_| must("threshold"))?,
            missing: must("missing_go_to_left")?,
            left: must("left")?,
            right: must("right")?,
            is_leaf: must("is_leaf")?,
            is_categorical: place(record, "is_categorical"),
            bitset: place(record, "bitset_idx"),
        })
    }
}

fn place(record: &Record, name: &str) -> Option<Place> {
    let field = record.fields.iter().find(|field| field.name == name && field.shape.is_empty())?;
    Some(Place { offset: field.offset as usize, dtype: field.dtype })
}
