//! Decision trees and forests of scikit-learn: estimators to [`Trees`].
#![forbid(unsafe_code)]

mod boosted;
mod categories;
mod committee;
pub(crate) mod ensemble;
mod gradient_boosting;
mod histogram;
mod isolation;
mod lanes;
pub(crate) mod layout;
mod leaves;
mod nodes;
mod place;
mod plain;
mod recoded;
mod subtrees;
mod tags;
mod vectors;

pub(super) use self::committee::{
    lower_adaboost_classifier, lower_adaboost_regressor, lower_bagging_classifier, lower_bagging_regressor,
};
pub(super) use self::gradient_boosting::{lower_begun, lower_gradient_boosting};
pub(super) use self::histogram::lower_encoded;
pub(super) use self::isolation::lower_isolation;
use self::layout::{LaidOut, Layout};
use self::leaves::{Leaves, Normalise, TreeLeaves, fractions};
use self::nodes::Nodes;
use self::place::{Placed, Placer};
pub(super) use self::recoded::lower_recoded;
use crate::format::ArrayId;
use crate::format::dtype::{Dtype, Kind, Plain};
use crate::model::array::ArraySource;
use crate::model::graph::read::byte_range;
use crate::model::graph::{ArrayPart, Graph, NodeId};
use crate::model::in_order::{self, IN_FLIGHT, in_order};
use crate::model::lower::stage::classes;
use crate::model::lower::{Lowered, Refusal, Staged, StagedData};
use crate::model::plan::{self, Float, ForestKind, Head, Op, Trees};

/// Most features, outputs, classes or trees; what validation of a plan allows too.
const MAX_COLUMNS: u64 = 1 << 24;

/// Bytes of trees in memory at a time, if threads read ahead.
const MAX_AHEAD: u64 = 64 << 20;

/// Lowers a decision tree or a forest. Holds a few trees in memory at a time, or one if they are large.
///
/// # Errors
///
/// [`Refusal::Uncovered`] if a tree is not one that scikit-learn makes, and for what the engine does not compute.
pub(super) fn lower_trees(graph: &Graph, id: NodeId, arrays: &dyn ArraySource) -> Result<Lowered, Refusal> {
    let estimator = Estimator::read(graph, id)?;
    let shape = Shape::read(graph, &estimator, arrays)?;
    let classes = estimator.classes(graph, arrays, &shape)?;
    let trees = estimator.trees(graph)?;
    check_shared(&trees, arrays)?;
    let largest = trees.iter().filter_map(|tree| tree.nodes.shape.first().copied()).max().unwrap_or(0);
    let mut forest = Forest::new(&shape, largest);
    let placer = forest.layout.placer();
    let read = |tree: &TreeObject<'_>, (): &mut ()| ReadTree::read(tree, &shape, placer, arrays);
    in_order(&trees, threads_for(&trees, &shape, largest, arrays), read, |next| {
        for index in 0..trees.len() {
            let read = next().ok_or_else(|| Refusal::uncovered("it lost a tree"))?;
            let added = read.and_then(|read| forest.add(read));
            added.map_err(|refusal| refusal.in_tree(index))?;
        }
        Ok::<_, Refusal>(())
    })?;
    Ok(forest.finish(&estimator, &shape, classes))
}

/// Threads that are worth their start, and may read trees ahead without taking much memory.
fn threads_for(trees: &[TreeObject<'_>], shape: &Shape, largest: u64, arrays: &dyn ArraySource) -> usize {
    let bytes = |tree: &TreeObject<'_>| byte_range(tree.nodes, &arrays.info(tree.nodes.array).dtype);
    let total = trees.iter().filter_map(bytes).fold(0u64, |sum, (_, bytes)| sum.saturating_add(bytes));
    let per_thread = largest.saturating_mul(ReadTree::node_bytes(shape) * IN_FLIGHT as u64).max(1);
    in_order::threads_for(total).min(usize::try_from(MAX_AHEAD / per_thread).unwrap_or(usize::MAX))
}

/// Refuses trees that share their nodes: no file has more nodes than bytes for them, and work stays in proportion
/// to its length.
fn check_shared(trees: &[TreeObject<'_>], arrays: &dyn ArraySource) -> Result<(), Refusal> {
    let infos = (0..arrays.array_count()).map(|id| arrays.info(ArrayId(id)));
    let mut budget = infos.fold(0u64, |sum, info| sum.saturating_add(nodes::len_bytes(&info)));
    for (index, tree) in trees.iter().enumerate() {
        let (_, bytes) =
            byte_range(tree.nodes, &arrays.info(tree.nodes.array).dtype).unwrap_or((0, u64::MAX));
        let shared = || Refusal::uncovered("its nodes are those of another tree").in_tree(index);
        budget = budget.checked_sub(bytes).ok_or_else(shared)?;
    }
    Ok(())
}

/// Bytes of the nodes of an ensemble.
pub(super) fn len_bytes(graph: &Graph, id: NodeId, arrays: &dyn ArraySource) -> u64 {
    let list = graph.attr(id, "estimators_").and_then(|list| graph.items(list)).unwrap_or_default();
    let nodes = |estimator: &NodeId| graph.array_part(graph.attr(graph.attr(*estimator, "tree_")?, "nodes")?);
    let bytes = |part: &ArrayPart| byte_range(part, &arrays.info(part.array).dtype).map_or(0, |(_, len)| len);
    let parts = list.iter().filter_map(nodes).chain(gradient_boosting::node_parts(graph, id));
    parts.chain(histogram::node_parts(graph, id)).fold(0u64, |sum, part| sum.saturating_add(bytes(part)))
}

/// What the estimator object says, before any array is read.
struct Estimator {
    name: String,
    classifier: bool,
    average: bool,
    /// The `tree_` of each tree.
    trees: Vec<NodeId>,
    n_outputs: u64,
    classes: Vec<NodeId>,
    nan_allowed: bool,
    normalise: Normalise,
}

impl Estimator {
    fn read(graph: &Graph, id: NodeId) -> Result<Self, Refusal> {
        let name = graph.class_of(id).map_or("", |(_, name)| name).to_owned();
        let classifier = name.ends_with("Classifier");
        let not_fitted = || Refusal::uncovered("it is not fitted");
        let estimators = match graph.attr(id, "estimators_") {
            Some(list) => graph.items(list).ok_or_else(not_fitted)?.to_vec(),
            None => vec![id],
        };
        let average = graph.attr(id, "estimators_").is_some();
        let first = *estimators.first().ok_or_else(not_fitted)?;
        let tree = |estimator: &NodeId| {
            let same = graph.class_of(*estimator).map(|(_, name)| name)
                == graph.class_of(first).map(|(_, name)| name);
            graph.attr(*estimator, "tree_").filter(|_| same).ok_or_else(not_fitted)
        };
        let trees = estimators.iter().map(tree).collect::<Result<Vec<_>, _>>()?;
        let positive = |attr: &str| graph.as_int(graph.attr(id, attr)?).and_then(|n| u64::try_from(n).ok());
        let n_outputs = positive("n_outputs_").filter(|n| (1..=MAX_COLUMNS).contains(n));
        let n_outputs = n_outputs.ok_or_else(not_fitted)?;
        let classes = match graph.attr(id, "classes_") {
            _ if !classifier => vec![],
            Some(one) if n_outputs == 1 => vec![one],
            Some(list) => graph.items(list).ok_or_else(not_fitted)?.to_vec(),
            None => return Err(not_fitted()),
        };
        if classifier && classes.len() as u64 != n_outputs {
            return Err(Refusal::uncovered("it has not one array of classes per output"));
        }
        let version = tags::Version::read(graph, id);
        let normalise =
            if classifier && version.leaves_are_counts() { Normalise::Yes } else { Normalise::No };
        let nan_allowed = tags::nan_allowed(graph, id, first, version);
        Ok(Estimator { name, classifier, average, trees, n_outputs, classes, nan_allowed, normalise })
    }

    fn trees<'a>(&self, graph: &'a Graph) -> Result<Vec<TreeObject<'a>>, Refusal> {
        let read = |(index, &tree)| TreeObject::read(graph, tree).map_err(|refusal| refusal.in_tree(index));
        self.trees.iter().enumerate().map(read).collect()
    }

    fn classes(
        &self,
        graph: &Graph,
        arrays: &dyn ArraySource,
        shape: &Shape,
    ) -> Result<Vec<Staged>, Refusal> {
        let index = |output| (self.n_outputs > 1).then_some(output as u32);
        let mut staged = (self.classes.iter().enumerate())
            .map(|(output, &id)| classes(graph, id, arrays, index(output)))
            .collect::<Result<Vec<_>, _>>()?;
        same_width(&mut staged);
        for (classes, &n_classes) in staged.iter().zip(&shape.n_classes) {
            if classes.info.shape != [n_classes] {
                return Err(Refusal::uncovered("its trees and its classes disagree on their number"));
            }
            if classes.info.dtype != staged[0].info.dtype {
                return Err(Refusal::uncovered("its outputs have classes of different types"));
            }
        }
        Ok(staged)
    }
}

/// Pads text labels, so that all outputs have one dtype as in scikit-learn.
fn same_width(staged: &mut [Staged]) {
    let text = |staged: &Staged| match staged.info.dtype {
        Dtype::Plain(Plain { kind: Kind::Str, itemsize, .. }) => Some(itemsize),
        _ => None,
    };
    let Some(width) =
        staged.iter().map(text).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max())
    else {
        return;
    };
    for staged in staged {
        let (Some(narrow), StagedData::Memory(bytes)) = (text(staged), &mut staged.data) else { continue };
        let pad = |label: &[u8]| {
            let mut label = label.to_vec();
            label.resize(width as usize, 0);
            label
        };
        *bytes = bytes.chunks_exact(narrow.max(1) as usize).flat_map(pad).collect();
        staged.info.dtype = Dtype::Plain(Plain::new(Kind::Str, width));
    }
}

/// What all trees of an estimator have in common.
struct Shape {
    n_features: u32,
    /// Per output; 1 for regression.
    n_classes: Vec<u64>,
    max_classes: u64,
    normalise: Normalise,
}

impl Shape {
    fn read(graph: &Graph, estimator: &Estimator, arrays: &dyn ArraySource) -> Result<Self, Refusal> {
        let first = estimator.trees.first().ok_or_else(|| Refusal::uncovered("it has no trees"))?;
        let tree = TreeObject::read(graph, *first)?;
        let n_features = u32::try_from(tree.n_features)
            .ok()
            .filter(|&n| n > 0 && u64::from(n) <= MAX_COLUMNS)
            .ok_or_else(|| Refusal::uncovered(format!("it has {} features", tree.n_features)))?;
        let n_classes = graph.plain_array_at(tree.n_classes, arrays, MAX_COLUMNS * 8)?;
        let n_classes = n_classes.and_then(|array| array.i64s()).unwrap_or_default();
        let n_classes: Vec<u64> = n_classes.into_iter().filter_map(|n| u64::try_from(n).ok()).collect();
        let max_classes = n_classes.iter().copied().max().unwrap_or(0);
        let fits = n_classes.len() as u64 == estimator.n_outputs
            && n_classes.iter().all(|&n| n > 0)
            && max_classes.checked_mul(estimator.n_outputs).is_some_and(|width| width <= MAX_COLUMNS)
            && (estimator.classifier || max_classes == 1);
        if !fits {
            return Err(Refusal::uncovered("its trees and its outputs disagree on the number of classes"));
        }
        Ok(Shape { n_features, n_classes, max_classes, normalise: estimator.normalise })
    }

    /// Values in a leaf.
    fn width(&self) -> u64 {
        self.n_classes.len() as u64 * self.max_classes
    }

    /// Makes fractions of the values of a leaf, if they are counts.
    fn normalise(&self, vector: &mut [f64]) {
        if self.normalise == Normalise::Yes {
            for (output, &n_classes) in
                vector.chunks_exact_mut(self.max_classes as usize).zip(&self.n_classes)
            {
                fractions(&mut output[..n_classes as usize]);
            }
        }
    }
}

/// `sklearn.tree._tree.Tree(n_features, n_classes, n_outputs)` and its state.
struct TreeObject<'a> {
    n_features: i64,
    n_classes: NodeId,
    n_outputs: i64,
    nodes: &'a ArrayPart,
    values: &'a ArrayPart,
}

impl<'a> TreeObject<'a> {
    fn read(graph: &'a Graph, id: NodeId) -> Result<Self, Refusal> {
        let unknown = || Refusal::uncovered("its `tree_` is not a scikit-learn `Tree`");
        if graph.class_of(id) != Some(("sklearn.tree._tree", "Tree")) {
            return Err(unknown());
        }
        let args = graph.object(id).and_then(|object| graph.items(object.args)).ok_or_else(unknown)?;
        let &[n_features, n_classes, n_outputs] = args else { return Err(unknown()) };
        let part = |name| graph.attr(id, name).and_then(|array| graph.array_part(array)).ok_or_else(unknown);
        let tree = TreeObject {
            n_features: graph.as_int(n_features).ok_or_else(unknown)?,
            n_classes,
            n_outputs: graph.as_int(n_outputs).ok_or_else(unknown)?,
            nodes: part("nodes")?,
            values: part("values")?,
        };
        let count = graph.attr(id, "node_count").and_then(|n| graph.as_int(n)).ok_or_else(unknown)?;
        if tree.nodes.shape.first().is_none_or(|&rows| i64::try_from(rows) != Ok(count)) {
            return Err(Refusal::uncovered("`node_count` is not the number of its nodes"));
        }
        Ok(tree)
    }
}

/// One tree, read and laid out.
struct ReadTree {
    nodes: Nodes,
    leaves: TreeLeaves,
    placed: Placed,
}

impl ReadTree {
    /// Bytes that a node takes in memory; half of all nodes are leaves.
    fn node_bytes(shape: &Shape) -> u64 {
        (Nodes::NODE_BYTES + Placer::NODE_BYTES) as u64 + shape.width() * 8 / 2
    }

    fn read(
        tree: &TreeObject<'_>,
        shape: &Shape,
        placer: Placer,
        arrays: &dyn ArraySource,
    ) -> Result<Self, Refusal> {
        if tree.n_features != i64::from(shape.n_features) || tree.n_outputs != shape.n_classes.len() as i64 {
            return Err(Refusal::uncovered("it has other features or outputs than the first tree"));
        }
        let info = arrays.info(tree.values.array);
        let n_nodes = tree.nodes.shape.first().copied().unwrap_or(0);
        let values = [n_nodes, shape.n_classes.len() as u64, shape.max_classes];
        if info.dtype != Dtype::F64 || *tree.values.shape != values || !nodes::one_run(&info) {
            return Err(Refusal::uncovered(format!("its values are not a C-order float64 array {values:?}")));
        }
        let mut nodes = Nodes::read(tree.nodes, arrays, shape.n_features)?;
        let leaves = TreeLeaves::read(tree.values, arrays, &mut nodes, shape)?;
        let placed = placer.place(&nodes);
        Ok(ReadTree { nodes, leaves, placed })
    }
}

/// The arrays being made.
struct Forest {
    leaves: Leaves,
    layout: Layout,
}

impl Forest {
    fn new(shape: &Shape, largest: u64) -> Self {
        Forest { leaves: Leaves::new(), layout: Layout::new(shape.n_features, largest) }
    }

    fn add(&mut self, tree: ReadTree) -> Result<(), Refusal> {
        let ids = self.leaves.add(&tree.leaves)?;
        Ok(self.layout.add(&tree.nodes, tree.placed, Some(&ids))?)
    }

    fn finish(self, estimator: &Estimator, shape: &Shape, classes: Vec<Staged>) -> Lowered {
        let n_classes = classes.len();
        let mut staged = classes;
        let LaidOut { arrays, layout } = self.layout.finish(self.leaves.finish(shape.width()));
        staged.extend(arrays);
        let kind = match &*estimator.name {
            "RandomTreesEmbedding" => ForestKind::Leaves,
            _ => ForestKind::Means,
        };
        let (n_outputs, max_classes) = (shape.n_classes.len() as u32, shape.max_classes as u32);
        let (n_features, n_trees) = (shape.n_features, estimator.trees.len() as u32);
        let (average, nan_allowed) = (estimator.average, estimator.nan_allowed);
        let name = estimator.name.clone();
        let op = move |ids: &[ArrayId]| {
            let (classes, rest) = ids.split_at(n_classes);
            let classes = classes.to_vec();
            let head =
                Head::Forest(plan::Forest { n_outputs, max_classes, classes, average, divisor: None, kind });
            let trees = Trees::new(name, Float::F32, n_features, n_trees, head, layout(rest));
            Op::Trees(Trees { nan_allowed, ..trees })
        };
        Lowered { arrays: staged, op: Box::new(op) }
    }
}

#[cfg(test)]
pub(crate) mod tests;
