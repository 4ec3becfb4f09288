//! Reading and checking the node records of one foreign tree.
#![forbid(unsafe_code)]

use std::io;

use crate::format::dtype::{Dtype, Field, Plain, Record};
use crate::format::{ArrayId, ArrayInfo, Order};
use crate::model::array::ArraySource;
use crate::model::graph::ArrayPart;
use crate::model::lower::Refusal;
use crate::model::plan::compact::threshold_key;

/// Records read at once.
const CHUNK: u64 = 4096;
/// Most nodes of a tree: their places, some of them empty, are numbers of 32 bits.
const MAX_NODES: u64 = 1 << 31;
/// scikit-learn's `TREE_LEAF`.
const LEAF: i64 = -1;

/// One tree, checked: every split has two children after it, every node one parent, and features exist.
pub(super) struct Nodes {
    nodes: Vec<Packed>,
    /// Left children. Empty if every one of them follows its parent.
    lefts: Vec<u32>,
    any_missing: bool,
    /// Empty if nodes are called by their positions.
    origin: Vec<u32>,
}

/// What prediction needs of a node.
#[derive(Clone, Copy)]
pub(super) struct TreeNode {
    /// Threshold key; of a leaf what it was told of its values.
    pub low: u32,
    /// `None` for a leaf.
    pub split: Option<Split>,
    /// Training samples.
    pub samples: u32,
}

/// The split of an inner node.
#[derive(Clone, Copy)]
pub(super) struct Split {
    pub feature: u32,
    pub left: u32,
    pub right: u32,
}

/// A node in a quarter of a line of the cache: trees are small enough to stay near while they are laid out.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    /// As in [`TreeNode`].
    pub low: u32,
    /// [`NO_FEATURE`] for a leaf.
    feature: u32,
    /// The right child, and [`MISSING`] if NaN goes left.
    right: u32,
    /// Training samples.
    pub samples: u32,
}

/// More than any feature.
const NO_FEATURE: u32 = u32::MAX;
/// A bit that no number of a node has.
pub(super) const MISSING: u32 = 1 << 31;

impl Packed {
    pub(super) fn is_leaf(self) -> bool {
        self.feature == NO_FEATURE
    }

    /// Of a split.
    pub(super) fn feature(self) -> u32 {
        self.feature
    }

    pub(super) fn right(self) -> u32 {
        self.right & !MISSING
    }

    /// [`MISSING`], or 0.
    pub(super) fn missing(self) -> u32 {
        self.right & MISSING
    }
}

impl Nodes {
    /// Bytes that a node takes in memory.
    pub(super) const NODE_BYTES: usize = size_of::<Packed>() + size_of::<u32>();

    /// No node yet; those that are added are taken to form a tree.
    pub(super) fn with_capacity(len: usize) -> Self {
        let (nodes, lefts) = (Vec::with_capacity(len), Vec::with_capacity(len));
        Nodes { nodes, lefts, any_missing: false, origin: Vec::with_capacity(len) }
    }

    /// Adds the next node, whose number elsewhere is `origin`.
    pub(super) fn add(&mut self, node: TreeNode, origin: u32, missing: bool) {
        let TreeNode { low, split, samples } = node;
        let Split { feature, left, right } =
            split.unwrap_or(Split { feature: NO_FEATURE, left: 0, right: 0 });
        let right = right | if missing { MISSING } else { 0 };
        self.nodes.push(Packed { low, feature, right, samples });
        self.lefts.push(left);
        self.origin.push(origin);
        self.any_missing |= missing;
    }

    /// Turns numbers of nodes into those that they have elsewhere.
    pub(super) fn to_origin(&self, numbers: &mut [u32]) {
        if !self.origin.is_empty() {
            numbers.iter_mut().for_each(|number| *number = self.origin[*number as usize]);
        }
    }

    pub(super) fn read(part: &ArrayPart, arrays: &dyn ArraySource, n_features: u32) -> Result<Self, Refusal> {
        let info = arrays.info(part.array);
        let fields = Fields::of(&info.dtype)?;
        let &[n_nodes] = &*part.shape else { return Err(Refusal::uncovered("its nodes are not a list")) };
        let end = part.first_row.checked_add(n_nodes);
        if n_nodes == 0 || n_nodes > MAX_NODES || end.is_none_or(|end| end > rows(&info)) {
            return Err(Refusal::uncovered(format!("it has {n_nodes} nodes")));
        }
        let nodes = Vec::with_capacity(n_nodes as usize);
        let mut tree = Nodes { nodes, lefts: Vec::new(), any_missing: false, origin: Vec::new() };
        let limits = Limits { n_nodes: n_nodes as u32, n_features };
        let mut order = Preorder::of(limits.n_nodes);
        let mut buffer = Vec::new();
        let mut row = 0;
        while row < n_nodes {
            let count = CHUNK.min(n_nodes - row);
            let start = (part.first_row + row) * fields.itemsize as u64;
            let records = piece(part.array, start, count as usize * fields.itemsize, arrays, &mut buffer)?;
            if fields == Fields::USUAL {
                tree.extend(&Fields::USUAL, records, limits, &mut order)?;
            } else {
                tree.extend(&fields, records, limits, &mut order)?;
            }
            row += count;
        }
        if !order.is_whole() {
            tree.one_parent_each()?;
        }
        Ok(tree)
    }

    // Inlined, so that the compiler knows where the usual fields lie.
    #[inline(always)]
    fn extend(
        &mut self,
        fields: &Fields,
        records: &[u8],
        limits: Limits,
        order: &mut Preorder,
    ) -> Result<(), Refusal> {
        let first = self.nodes.len() as u32;
        let mut seen = Seen::default();
        let records = || records.chunks_exact(fields.itemsize).zip(first..);
        // No closure, which the compiler would not make anew for the usual fields.
        for (record, node) in records() {
            self.nodes.push(fields.node(record, node, limits, &mut seen, order));
        }
        if seen.wrong {
            records().try_for_each(|(record, node)| fields.check(record, node, limits))?;
        }
        if seen.apart || !self.lefts.is_empty() {
            self.lefts.extend(self.lefts.len() as u32 + 1..=first);
            self.lefts.extend(records().map(|(record, _)| fields.left(record) as u32));
        }
        self.any_missing |= seen.missing;
        Ok(())
    }

    fn one_parent_each(&self) -> Result<(), Refusal> {
        let mut has_parent = vec![false; self.nodes.len()];
        let splits = (0..self.nodes.len() as u32).filter(|node| !self.nodes[*node as usize].is_leaf());
        for child in splits.flat_map(|split| self.children(split)) {
            if std::mem::replace(&mut has_parent[child as usize], true) {
                return Err(Refusal::uncovered(format!("node {child} has two parents")));
            }
        }
        match has_parent.iter().skip(1).position(|has| !has) {
            Some(orphan) => Err(Refusal::uncovered(format!("node {} has no parent", orphan + 1))),
            None => Ok(()),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&self, node: u32) -> TreeNode {
        let Packed { low, feature, samples, .. } = self.nodes[node as usize];
        let [left, right] = self.children(node);
        TreeNode { low, split: (feature != NO_FEATURE).then_some(Split { feature, left, right }), samples }
    }

    pub(super) fn packed(&self) -> &[Packed] {
        &self.nodes
    }

    pub(super) fn packed_mut(&mut self) -> &mut [Packed] {
        &mut self.nodes
    }

    /// The children of a split.
    pub(super) fn children(&self, split: u32) -> [u32; 2] {
        let left = self.lefts.get(split as usize).copied().unwrap_or(split + 1);
        [left, self.nodes[split as usize].right()]
    }

    /// Whether the children of a split are leaves that are called by the next two numbers.
    pub(super) fn leaves_follow(&self, split: u32) -> bool {
        let number = |node: u32| self.origin.get(node as usize).copied().unwrap_or(node);
        let [left, right] = self.children(split);
        // Asked first, as the right child may be far away.
        if self.origin.is_empty() && right.wrapping_sub(split) != 2 {
            return false;
        }
        let leaves = self.nodes[left as usize].is_leaf() & self.nodes[right as usize].is_leaf();
        let next = number(split).wrapping_add(1);
        leaves && number(left) == next && number(right) == next.wrapping_add(1)
    }

    /// Whether NaN goes left at `node`.
    pub(super) fn missing(&self, node: u32) -> bool {
        self.nodes[node as usize].missing() != 0
    }

    /// Whether NaN goes left anywhere.
    pub(super) fn any_missing(&self) -> bool {
        self.any_missing
    }

    /// Replaces every feature by a column of a wider input; there is one for each.
    pub(super) fn map_features(&mut self, columns: &[u32]) {
        for split in self.nodes.iter_mut().filter(|node| !node.is_leaf()) {
            split.feature = columns[split.feature as usize];
        }
    }

    /// Tells leaf `node` where its values are.
    pub(super) fn set_leaf(&mut self, node: usize, leaf: u32) {
        self.nodes[node].low = leaf;
    }

    pub(super) fn is_leaf(&self, node: usize) -> bool {
        self.nodes[node].is_leaf()
    }
}

/// What numbers of nodes and features are below.
#[derive(Clone, Copy)]
struct Limits {
    n_nodes: u32,
    n_features: u32,
}

/// What is the case for one node at least. Asked once for many: which nodes are leaves is hard to foresee, and a
/// processor that guesses wrong at every other node takes twice the time.
#[derive(Default)]
struct Seen {
    /// A split whose children or feature cannot be.
    wrong: bool,
    /// A left child that does not follow its parent.
    apart: bool,
    /// A split at which NaN goes left.
    missing: bool,
}

/// Whether nodes are in the order of a walk, left children first, as scikit-learn's depth-first builder leaves them. Each
/// node but the root then has one parent: the node before it, if that is a split, or else the one that waits.
struct Preorder {
    /// Right children that are still to come, the next one last; below them the number of nodes, to which the walk comes
    /// when it is over. What is behind the first `len` means nothing.
    waiting: Vec<u32>,
    len: usize,
    broken: bool,
}

impl Preorder {
    fn of(n_nodes: u32) -> Self {
        Preorder { waiting: vec![n_nodes; 64], len: 1, broken: false }
    }

    #[inline(always)]
    fn add(&mut self, node: u32, is_split: bool, [left, right]: [u32; 2]) {
        if self.len + 1 >= self.waiting.len() {
            self.waiting.resize(2 * self.waiting.len(), 0);
        }
        self.waiting[self.len] = right;
        // A leaf beyond the end of the walk takes nothing; the walk is broken already.
        self.len = (self.len + 2 * usize::from(is_split)).saturating_sub(1);
        let (waiting, split) = (self.waiting[self.len], mask(is_split));
        self.broken |= (left & split | waiting & !split) != node + 1;
    }

    /// Whether it was so for all nodes.
    fn is_whole(&self) -> bool {
        !self.broken
    }
}

/// All bits, or none.
#[inline(always)]
fn mask(all: bool) -> u32 {
    u32::from(all).wrapping_neg()
}

/// Bytes of an array where they lie, or read into `buffer`.
pub(super) fn piece<'a>(
    array: ArrayId,
    start: u64,
    len: usize,
    arrays: &'a dyn ArraySource,
    buffer: &'a mut Vec<u8>,
) -> io::Result<&'a [u8]> {
    if let Some(bytes) = arrays.slice(array, start..start + len as u64) {
        return Ok(bytes);
    }
    buffer.resize(len, 0);
    arrays.read_at(array, start, buffer)?;
    Ok(buffer)
}

/// Bytes of all elements.
pub(super) fn len_bytes(info: &ArrayInfo) -> u64 {
    info.shape.iter().fold(u64::from(info.dtype.itemsize()), |bytes, &len| bytes.saturating_mul(len))
}

fn rows(info: &ArrayInfo) -> u64 {
    info.shape.first().copied().unwrap_or(0)
}

/// Where the fields lie in a record. scikit-learn's node has changed between versions; the file's own dtype tells.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fields {
    itemsize: usize,
    left: usize,
    right: usize,
    feature: usize,
    threshold: usize,
    samples: usize,
    missing: Option<usize>,
}

impl Fields {
    /// Since scikit-learn 1.3.
    const USUAL: Fields = Fields {
        itemsize: 64,
        left: 0,
        right: 8,
        feature: 16,
        threshold: 24,
        samples: 40,
        missing: Some(56),
    };

    #[inline(always)]
    fn int(record: &[u8], offset: usize) -> i64 {
        i64::from_le_bytes(Fields::word(record, offset))
    }

    #[inline(always)]
    fn word(record: &[u8], offset: usize) -> [u8; 8] {
        let bytes = record.get(offset..).and_then(|bytes| bytes.first_chunk());
        *bytes.expect("fields lie within a record")
    }

    #[inline(always)]
    fn left(&self, record: &[u8]) -> i64 {
        Fields::int(record, self.left)
    }

    /// Node number `node`. What is wrong with it is seen, and nothing of it may be used then.
    #[inline(always)]
    fn node(
        &self,
        record: &[u8],
        node: u32,
        limits: Limits,
        seen: &mut Seen,
        order: &mut Preorder,
    ) -> Packed {
        let (left, right) = (self.left(record), Fields::int(record, self.right));
        let feature = Fields::int(record, self.feature);
        let is_split = left != LEAF;
        let child = |child: i64| (child > i64::from(node)) & (child < i64::from(limits.n_nodes));
        let right_is = child(left) & child(right) & ((feature as u64) < u64::from(limits.n_features));
        seen.wrong |= is_split & !right_is;
        seen.apart |= is_split & (left != i64::from(node) + 1);
        let missing = is_split & self.missing(record);
        seen.missing |= missing;
        order.add(node, is_split, [left as u32, right as u32]);
        let low = threshold_key(f64::from_le_bytes(Fields::word(record, self.threshold)));
        let samples = Fields::int(record, self.samples).clamp(0, i64::from(u32::MAX)) as u32;
        let split = mask(is_split);
        let low = low & split;
        let right = right as u32 & split | u32::from(missing) << 31;
        Packed { low, feature: feature as u32 | !split, right, samples }
    }

    /// Says what is wrong with a node.
    #[cold]
    fn check(&self, record: &[u8], node: u32, limits: Limits) -> Result<(), Refusal> {
        let left = self.left(record);
        if left == LEAF {
            return Ok(());
        }
        let wrong = |what: &str, found: i64| Refusal::uncovered(format!("node {node} has {what} {found}"));
        let (right, feature) = (Fields::int(record, self.right), Fields::int(record, self.feature));
        for (what, child) in [("the left child", left), ("the right child", right)] {
            if child <= i64::from(node) || child >= i64::from(limits.n_nodes) {
                return Err(wrong(what, child));
            }
        }
        match u32::try_from(feature) {
            Ok(known) if known < limits.n_features => Ok(()),
            _ => Err(wrong("the feature", feature)),
        }
    }

    #[inline(always)]
    fn missing(&self, record: &[u8]) -> bool {
        self.missing.is_some_and(|offset| record.get(offset).is_some_and(|&bit| bit != 0))
    }

    /// A field that is not known here might change what a node means, so it is refused.
    fn of(dtype: &Dtype) -> Result<Self, Refusal> {
        const KNOWN: [(&str, Dtype); 8] = [
            ("left_child", Dtype::I64),
            ("right_child", Dtype::I64),
            ("feature", Dtype::I64),
            ("threshold", Dtype::F64),
            ("impurity", Dtype::F64),
            ("n_node_samples", Dtype::I64),
            ("weighted_n_node_samples", Dtype::F64),
            ("missing_go_to_left", Dtype::U8),
        ];
        let Dtype::Record(record) = dtype else {
            return Err(Refusal::uncovered("its nodes are not records"));
        };
        for field in &record.fields {
            let known = KNOWN.iter().any(|(name, dtype)| *name == field.name && is(field, dtype));
            let inside =
                u64::from(field.offset) + u64::from(field.dtype.itemsize) <= u64::from(record.itemsize);
            if !known || !inside {
                let (name, dtype) = (&field.name, Dtype::Plain(field.dtype));
                let why =
                    format!("its nodes have a field `{name}` ({dtype}) that this version does not know");
                return Err(Refusal::uncovered(why));
            }
        }
        Ok(Fields {
            itemsize: record.itemsize as usize,
            left: offset(record, "left_child")?,
            right: offset(record, "right_child")?,
            feature: offset(record, "feature")?,
            threshold: offset(record, "threshold")?,
            samples: offset(record, "n_node_samples")?,
            missing: offset(record, "missing_go_to_left").ok(),
        })
    }
}

fn is(field: &Field, dtype: &Dtype) -> bool {
    let plain: Plain = field.dtype;
    field.shape.is_empty() && Dtype::Plain(plain) == *dtype
}

fn offset(record: &Record, name: &str) -> Result<usize, Refusal> {
    let field = record.fields.iter().find(|field| field.name == name);
    let missing = || Refusal::uncovered(format!("its nodes have no field `{name}`"));
    field.map(|field| field.offset as usize).ok_or_else(missing)
}

/// Whether elements follow each other as the rows of a C-order array do.
pub(super) fn one_run(info: &ArrayInfo) -> bool {
    info.order == Order::C || info.shape.iter().filter(|&&len| len > 1).count() < 2
}
