//! Forests as scikit-learn would pickle them, made up; and what lowering says to broken ones.

use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::format::Role;
use crate::format::dtype::{Field, Record};
use crate::format::{ArrayInfo, Order};
use crate::model::array::tests::Memory;
use crate::model::graph::{Make, Node, Object};
use crate::model::lower::{LowerError, Lowering, lower};
use crate::model::pack::{pack, walk};
use crate::model::plan::compact::{Packing, SHARED};
use crate::model::plan::validate::validate;
use crate::model::plan::{Member, Plan, PlanArrays};

/// A foreign node; `left` is -1 for a leaf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FakeNode {
    pub(crate) left: i64,
    pub(crate) right: i64,
    pub(crate) feature: i64,
    pub(crate) threshold: f64,
    pub(crate) samples: i64,
    pub(crate) missing: bool,
}

/// A foreign tree: nodes, and one row of values each.
#[derive(Clone, Debug)]
pub(crate) struct FakeTree {
    pub(crate) nodes: Vec<FakeNode>,
    pub(crate) values: Vec<Vec<f64>>,
}

/// A foreign forest, or a lone tree if `average` is false.
#[derive(Clone, Debug)]
pub(crate) struct FakeForest {
    pub(crate) n_features: usize,
    /// Per output.
    pub(crate) n_classes: Vec<usize>,
    pub(crate) classifier: bool,
    pub(crate) average: bool,
    pub(crate) trees: Vec<FakeTree>,
    pub(crate) version: &'static str,
}

pub(crate) const LEAF: FakeNode =
    FakeNode { left: -1, right: -1, feature: -2, threshold: -2.0, samples: 1, missing: false };

impl FakeTree {
    /// The leaf that scikit-learn's `Tree.apply` gives.
    pub(crate) fn apply(&self, row: &[f32]) -> usize {
        let mut at = 0;
        while self.nodes[at].left != -1 {
            let node = self.nodes[at];
            let x = row[node.feature as usize];
            let left = if x.is_nan() { node.missing } else { f64::from(x) <= node.threshold };
            at = if left { node.left } else { node.right } as usize;
        }
        at
    }
}

impl FakeTree {
    fn depth(&self) -> i64 {
        let mut depths = vec![0; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.left != -1) {
            for child in [node.left, node.right] {
                if let Some(depth) =
                    usize::try_from(child).ok().filter(|child| *child > at && *child < depths.len())
                {
                    depths[depth] = depths[at] + 1;
                }
            }
        }
        depths.into_iter().max().unwrap_or(0)
    }
}

impl FakeForest {
    pub(crate) fn width(&self) -> usize {
        self.n_classes.len() * self.n_classes.iter().max().unwrap()
    }

    /// The object graph and its arrays.
    pub(crate) fn graph(&self) -> (Graph, Memory) {
        let mut build = Build { nodes: Vec::new(), arrays: Memory::default() };
        let trees: Vec<NodeId> = self.trees.iter().map(|tree| build.tree(self, tree)).collect();
        let root = if self.average {
            let list = build.push(Node::List(trees));
            build.estimator(self, "sklearn.ensemble._forest", "RandomForest", &[("estimators_", list)])
        } else {
            trees[0]
        };
        (Graph { nodes: build.nodes, root }, build.arrays)
    }

    /// The plan and its arrays.
    pub(crate) fn lower(&self) -> Result<(Plan, Memory), Refusal> {
        let (graph, arrays) = self.graph();
        let lowered = lower_trees(&graph, graph.root, &arrays)?;
        let mut sink = Memory::default();
        let (walk, mut stored) = (walk(&graph, &arrays), HashMap::new());
        let write = |staged: Staged| staged.write("", &arrays, &mut sink, &walk, &mut stored).unwrap();
        let ids: Vec<ArrayId> = lowered.arrays.into_iter().map(write).collect();
        Ok((Plan::Native { ops: vec![(lowered.op)(&ids)], members: vec![] }, sink))
    }
}

struct Build {
    nodes: Vec<Node>,
    arrays: Memory,
}

impl Build {
    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() as u32 - 1)
    }

    fn array(&mut self, dtype: Dtype, shape: &[u64], bytes: Vec<u8>) -> NodeId {
        self.arrays.arrays.push((ArrayInfo { dtype, shape: shape.to_vec(), order: Order::C }, bytes));
        let array = ArrayId(self.arrays.arrays.len() as u32 - 1);
        self.push(Node::Array(ArrayPart { array, first_row: 0, shape: shape.into() }))
    }

    fn object(
        &mut self,
        make: Make,
        class: (&str, &str),
        args: Vec<NodeId>,
        state: &[(&str, NodeId)],
    ) -> NodeId {
        let pairs = state.iter().map(|&(key, value)| (self.push(Node::Str(key.into())), value)).collect();
        let state = Some(self.push(Node::Dict(pairs)));
        let callable = self.push(Node::Name { module: class.0.into(), qualname: class.1.into() });
        let args = self.push(Node::Tuple(args));
        let (items, pairs) = (vec![], vec![]);
        self.push(Node::Object(Box::new(Object { make, callable, args, kwargs: None, items, pairs, state })))
    }

    fn estimator(
        &mut self,
        forest: &FakeForest,
        module: &str,
        name: &str,
        more: &[(&str, NodeId)],
    ) -> NodeId {
        let outputs = self.push(Node::Int(forest.n_classes.len() as i64));
        let version = self.push(Node::Str(forest.version.into()));
        let best = self.push(Node::Str("best".into()));
        let mut state = vec![("n_outputs_", outputs), ("_sklearn_version", version), ("splitter", best)];
        if forest.classifier {
            let labels = |build: &mut Build, n: usize| {
                let bytes = (0..n as i64).flat_map(|label| (label * 10).to_le_bytes()).collect();
                build.array(Dtype::I64, &[n as u64], bytes)
            };
            let mut classes: Vec<NodeId> = forest.n_classes.iter().map(|&n| labels(self, n)).collect();
            let classes = if classes.len() == 1 { classes.remove(0) } else { self.push(Node::List(classes)) };
            state.push(("classes_", classes));
        }
        state.extend(more);
        let kind = if forest.classifier { "Classifier" } else { "Regressor" };
        self.object(Make::New, (module, &format!("{name}{kind}")), vec![], &state)
    }

    fn tree(&mut self, forest: &FakeForest, tree: &FakeTree) -> NodeId {
        let n = tree.nodes.len() as u64;
        let nodes = self.array(node_dtype(), &[n], tree.nodes.iter().flat_map(record).collect());
        let shape = [n, forest.n_classes.len() as u64, (forest.width() / forest.n_classes.len()) as u64];
        let values = tree.values.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        let values = self.array(Dtype::F64, &shape, values);
        let n_classes = forest.n_classes.iter().flat_map(|&n| (n as i64).to_le_bytes()).collect();
        let n_classes = self.array(Dtype::I64, &[forest.n_classes.len() as u64], n_classes);
        let count = self.push(Node::Int(n as i64));
        let n_features = self.push(Node::Int(forest.n_features as i64));
        let n_outputs = self.push(Node::Int(forest.n_classes.len() as i64));
        let depth = self.push(Node::Int(tree.depth()));
        let state = [("max_depth", depth), ("node_count", count), ("nodes", nodes), ("values", values)];
        let args = vec![n_features, n_classes, n_outputs];
        let tree = self.object(Make::Call, ("sklearn.tree._tree", "Tree"), args, &state);
        self.estimator(forest, "sklearn.tree._classes", "DecisionTree", &[("tree_", tree)])
    }
}

fn node_dtype() -> Dtype {
    let fields = [
        ("left_child", Dtype::I64),
        ("right_child", Dtype::I64),
        ("feature", Dtype::I64),
        ("threshold", Dtype::F64),
        ("impurity", Dtype::F64),
        ("n_node_samples", Dtype::I64),
        ("weighted_n_node_samples", Dtype::F64),
        ("missing_go_to_left", Dtype::U8),
    ];
    let field = |(i, (name, dtype)): (usize, (&str, Dtype))| {
        let Dtype::Plain(dtype) = dtype else { unreachable!() };
        Field { name: name.to_owned(), dtype, shape: vec![], offset: i as u32 * 8 }
    };
    let fields = fields.into_iter().enumerate().map(field).collect();
    Dtype::Record(Arc::new(Record { fields, itemsize: 64, aligned: false }))
}

fn record(node: &FakeNode) -> Vec<u8> {
    let words = [node.left, node.right, node.feature, node.threshold.to_bits() as i64, 0, node.samples, 0];
    let words = words.into_iter().chain([i64::from(node.missing)]);
    words.flat_map(i64::to_le_bytes).collect()
}

impl PlanArrays for Memory {
    fn plan_array_info(&self, id: ArrayId) -> Option<ArrayInfo> {
        self.arrays.get(id.0 as usize).map(|(info, _)| info.clone())
    }

    fn plan_array_bytes(&self, id: ArrayId) -> Option<&[u8]> {
        // A vector without bytes is not aligned.
        let empty = bytemuck::cast_slice::<u64, u8>(&[]);
        self.arrays.get(id.0 as usize).map(|(_, bytes)| if bytes.is_empty() { empty } else { bytes })
    }
}

/// Splits on feature 0 at 1, then the right side on feature 1 at 2.
fn three_leaves() -> FakeForest {
    let split = |left, feature, threshold| FakeNode {
        left,
        right: left + 1,
        feature,
        threshold,
        samples: 9,
        missing: false,
    };
    let nodes = vec![split(1, 0, 1.0), LEAF, split(3, 1, 2.0), LEAF, LEAF];
    let values = vec![vec![0.0], vec![5.0], vec![0.0], vec![7.0], vec![5.0]];
    FakeForest {
        n_features: 2,
        n_classes: vec![1],
        classifier: false,
        average: false,
        trees: vec![FakeTree { nodes, values }],
        version: "1.9.1",
    }
}

fn why(forest: &FakeForest) -> String {
    match forest.lower() {
        Err(Refusal::Uncovered { why, .. }) => why,
        Err(Refusal::Io(error)) => panic!("{error}"),
        Ok(_) => panic!("was lowered"),
    }
}

#[test]
fn a_tree_lies_heaviest_child_first_and_repeated_leaves_are_stored_once() {
    let (plan, arrays) = three_leaves().lower().unwrap();
    validate(&plan, &arrays).unwrap();
    assert_eq!(["roots", "nodes", "origin", "depths", "leaves"], *arrays.names);
    assert_eq!(Role::Rebuild, arrays.roles[2]);
    assert_eq!([1, 2], *arrays.arrays[3].1, "mean and largest depth");
    assert_eq!(vec![2, 1], arrays.arrays[4].0.shape, "two distinct values");
    let origin: &[u32] = bytemuck::cast_slice(&arrays.arrays[2].1);
    assert_eq!([0, 0, 1, 2, SHARED, SHARED, 0, 0], origin, "a line, with places that stay empty");
}

/// Splits 0, 1 and 4, of which the last two are above two leaves each; `leaves` are their values.
fn two_pairs(leaves: [f64; 4]) -> FakeTree {
    let split = |left, right, samples| FakeNode {
        left,
        right,
        feature: 0,
        threshold: samples as f64,
        samples,
        missing: false,
    };
    let nodes = vec![split(1, 4, 9), split(2, 3, 5), LEAF, LEAF, split(5, 6, 4), LEAF, LEAF];
    let [a, b, c, d] = leaves;
    FakeTree { nodes, values: [0.0, 0.0, a, b, 0.0, c, d].map(|value| vec![value]).into() }
}

fn origin_of(tree: FakeTree) -> Vec<u32> {
    let (plan, arrays) = FakeForest { trees: vec![tree], ..three_leaves() }.lower().unwrap();
    validate(&plan, &arrays).unwrap();
    let origin = arrays.names.iter().position(|name| name == "origin").unwrap();
    bytemuck::cast_slice(&arrays.arrays[origin].1).to_vec()
}

#[test]
fn equal_pairs_of_leaves_are_stored_once_in_a_tree() {
    const S: u32 = SHARED;
    assert_eq!([0, 0, 1, 4, S, S, 0, 0], *origin_of(two_pairs([1.0, 2.0, 1.0, 2.0])));
    assert_eq!([0, 0, 1, 4, S, S, S, S], *origin_of(two_pairs([1.0, 2.0, 2.0, 1.0])));
    assert_eq!(
        [0, 0, 1, 4, S, S, S, S],
        *origin_of(two_pairs([0.0, 1.0, -0.0, 1.0])),
        "-0.0 is another value"
    );
}

#[test]
fn pairs_of_leaves_that_are_called_otherwise_are_not_shared() {
    let mut tree = two_pairs([1.0, 2.0, 1.0, 2.0]);
    (tree.nodes[0].right, tree.nodes[1]) = (2, FakeNode { left: 3, right: 4, ..tree.nodes[1] });
    (tree.nodes[2], tree.nodes[4]) = (FakeNode { left: 5, right: 6, ..tree.nodes[4] }, LEAF);
    assert_eq!([0, 0, 1, 2, 3, 4, 5, 6], *origin_of(tree), "as if grown best split first");
}

/// Splits one below the other, each beside one above two leaves; the leaves have these values in turn.
fn comb(n_splits: i64, n_values: i64) -> FakeTree {
    let split =
        |left, right| FakeNode { left, right, feature: 0, threshold: 0.0, samples: 9, missing: false };
    let nodes = (0..n_splits)
        .flat_map(|i| [split(4 * i + 1, 4 * i + 4), split(4 * i + 2, 4 * i + 3), LEAF, LEAF])
        .chain([LEAF]);
    let values = (0..4 * n_splits).map(|i| vec![(i / 4 % n_values) as f64]).chain([vec![0.0]]);
    FakeTree { nodes: nodes.collect(), values: values.collect() }
}

#[test]
fn pairs_of_the_first_values_are_shared_where_many_leaves_have_one() {
    let shared = |n_splits, n_values| {
        origin_of(comb(n_splits, n_values)).iter().filter(|&&number| number == SHARED).count()
    };
    assert_eq!([16, 32, 32], [8, 16, 17].map(|n_values| shared(40, n_values)), "two leaves for each value");
    assert_eq!(0, shared(40, 40), "33 of 81 leaves are too few");
    assert_eq!([32, 0], [60, 80].map(|n_values| shared(200, n_values)), "one in four, or one in five");
    assert!(origin_of(comb(40, 40)).len() < 4 * 40 + 1 + 8, "no place is left empty within a tree");
}

#[test]
fn a_child_before_its_parent_is_refused() {
    let mut forest = three_leaves();
    forest.trees[0].nodes[2].left = 1;
    assert_eq!("tree 0: node 2 has the left child 1", why(&forest));
    forest.trees[0].nodes[2].left = 2;
    assert_eq!("tree 0: node 2 has the left child 2", why(&forest));
}

#[test]
fn a_child_beyond_the_tree_is_refused() {
    let mut forest = three_leaves();
    forest.trees[0].nodes[0].right = 5;
    assert_eq!("tree 0: node 0 has the right child 5", why(&forest));
    forest.trees[0].nodes[0].right = i64::MAX;
    assert_eq!(format!("tree 0: node 0 has the right child {}", i64::MAX), why(&forest));
    forest.trees[0].nodes[0].right = -1;
    assert_eq!("tree 0: node 0 has the right child -1", why(&forest));
}

#[test]
fn a_node_with_two_parents_or_none_is_refused() {
    let mut forest = three_leaves();
    forest.trees[0].nodes[2].right = 3;
    assert_eq!("tree 0: node 3 has two parents", why(&forest));
    let mut forest = three_leaves();
    forest.trees[0].nodes[2] = LEAF;
    assert_eq!("tree 0: node 3 has no parent", why(&forest));
}

#[test]
fn a_feature_that_does_not_exist_is_refused() {
    for feature in [2, -1, i64::MIN] {
        let mut forest = three_leaves();
        forest.trees[0].nodes[2].feature = feature;
        assert_eq!(format!("tree 0: node 2 has the feature {feature}"), why(&forest));
    }
}

#[test]
fn values_of_another_shape_are_refused() {
    let mut forest = three_leaves();
    let (graph, mut arrays) = forest.graph();
    assert!(lower_trees(&graph, graph.root, &arrays).is_ok());
    arrays.arrays[1].0.dtype = Dtype::I64;
    assert!(matches!(lower_trees(&graph, graph.root, &arrays), Err(Refusal::Uncovered { .. })));
    forest.n_classes = vec![2];
    assert!(why(&forest).contains("number of classes"), "a regressor has no classes");
}

#[test]
fn the_same_tree_over_and_over_is_refused() {
    let mut forest = three_leaves();
    forest.average = true;
    let (mut graph, arrays) = forest.graph();
    for node in &mut graph.nodes {
        if let Node::List(trees) = node {
            *trees = vec![trees[0]; 1_000];
        }
    }
    assert!(matches!(lower_trees(&graph, graph.root, &arrays), Err(Refusal::Uncovered { why, .. })
        if why.contains("another tree")));
}

#[test]
fn counts_of_old_versions_become_fractions() {
    let mut forest = three_leaves();
    forest.classifier = true;
    forest.n_classes = vec![2];
    forest.trees[0].values = vec![vec![1.0, 3.0]; 5];
    let leaves = |forest: &FakeForest| {
        let (_, arrays) = forest.lower().unwrap();
        let at = arrays.names.iter().position(|name| name == "leaves").unwrap();
        bytemuck::cast_slice::<_, f64>(&arrays.arrays[at].1).to_vec()
    };
    assert_eq!(vec![1.0, 3.0], leaves(&forest));
    forest.version = "1.3.2";
    assert_eq!(vec![0.25, 0.75], leaves(&forest));
}

#[test]
fn a_forest_within_another_object_is_a_member_of_its_plan() {
    let mut forest = three_leaves();
    forest.average = true;
    forest.trees = vec![forest.trees[0].clone(); 3];
    let (mut graph, arrays) = forest.graph();
    let inner = graph.root;
    graph.nodes.push(Node::List(vec![inner, inner]));
    graph.root = NodeId(graph.nodes.len() as u32 - 1);
    let mut sink = Memory::default();
    let mut lowering = lowered(&graph, &arrays, &mut sink).unwrap();
    let member = |plan: &Plan| match plan {
        Plan::Uncovered { what, ops, members, .. } => {
            assert_eq!(("list", 1), (what.as_str(), ops.len()));
            validate(plan, &sink).unwrap();
            members.clone()
        }
        Plan::Native { .. } => panic!("a list was lowered"),
    };
    assert_eq!([Member { node: inner.0, op: 0 }], *member(&lowering.plan));
    let mut packed = Memory::default();
    let walk = walk(&graph, &arrays);
    let graph = pack(graph, &walk, &arrays, &lowering.stored, &mut lowering.plan, &mut packed);
    assert_eq!(graph.unwrap().object(NodeId(member(&lowering.plan)[0].node)).map(|_| ()), Some(()));
}

#[test]
fn a_forest_is_its_own_member_and_stored_once() {
    let mut forest = three_leaves();
    forest.average = true;
    let (graph, arrays) = forest.graph();
    let mut sink = Memory::default();
    let plan = lowered(&graph, &arrays, &mut sink).unwrap().plan;
    assert_eq!((1, [Member { node: graph.root.0, op: 0 }].as_slice()), (plan.ops().len(), plan.members()));
    assert_eq!(5, sink.arrays.len());
}

#[test]
fn many_features_need_wide_nodes_only_for_large_trees() {
    let packing = Packing::new(100_000);
    assert!(!packing.needs_wide((1 << 12) - 1));
    assert!(packing.needs_wide(1 << 12));
    assert!(Packing::new(u32::MAX).needs_wide(1));
}

fn lowered(graph: &Graph, arrays: &Memory, sink: &mut Memory) -> Result<Lowering, LowerError> {
    lower(graph, arrays, &walk(graph, arrays), sink)
}
