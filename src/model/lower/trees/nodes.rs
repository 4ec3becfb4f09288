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
/// scikit-learn's `TREE_LEAF`.
const LEAF: i64 = -1;

/// One tree, checked: every split has two children after it, every node one parent, and features exist.
pub(super) struct Nodes {
    nodes: Vec<TreeNode>,
    /// Ends with the last node at which NaN goes left.
    missing: Vec<bool>,
    /// Empty if nodes are called by their positions.
    origin: Vec<u32>,
}

/// What prediction needs of a node.
#[derive(Clone, Copy)]
pub(super) struct TreeNode {
    /// Threshold key; the leaf id of a leaf, once it is known.
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

impl Nodes {
    /// No node yet; those that are added are taken to form a tree.
    pub(super) fn with_capacity(len: usize) -> Self {
        Nodes { nodes: Vec::with_capacity(len), missing: Vec::new(), origin: Vec::with_capacity(len) }
    }

    /// Adds the next node, whose number elsewhere is `origin`.
    pub(super) fn add(&mut self, node: TreeNode, origin: u32, missing: bool) {
        self.nodes.push(node);
        self.origin.push(origin);
        if missing {
            self.last_is_missing();
        }
    }

    /// NaN goes left at the last node.
    fn last_is_missing(&mut self) {
        self.missing.resize(self.nodes.len() - 1, false);
        self.missing.push(true);
    }

    /// The number that `node` has elsewhere.
    pub(super) fn origin(&self, node: u32) -> u32 {
        self.origin.get(node as usize).copied().unwrap_or(node)
    }

    pub(super) fn read(part: &ArrayPart, arrays: &dyn ArraySource, n_features: u32) -> Result<Self, Refusal> {
        let info = arrays.info(part.array);
        let fields = Fields::of(&info.dtype)?;
        let &[n_nodes] = &*part.shape else { return Err(Refusal::uncovered("its nodes are not a list")) };
        let end = part.first_row.checked_add(n_nodes);
        if n_nodes == 0 || n_nodes >= u64::from(u32::MAX) || end.is_none_or(|end| end > rows(&info)) {
            return Err(Refusal::uncovered(format!("it has {n_nodes} nodes")));
        }
        let nodes = Vec::with_capacity(n_nodes as usize);
        let mut tree = Nodes { nodes, missing: Vec::new(), origin: Vec::new() };
        let mut order = Preorder::default();
        let mut buffer = Vec::new();
        let mut row = 0;
        while row < n_nodes {
            let count = CHUNK.min(n_nodes - row);
            let start = (part.first_row + row) * fields.itemsize as u64;
            let records = piece(part.array, start, count as usize * fields.itemsize, arrays, &mut buffer)?;
            if fields == Fields::USUAL {
                tree.extend(&Fields::USUAL, records, n_nodes, n_features, &mut order)?;
            } else {
                tree.extend(&fields, records, n_nodes, n_features, &mut order)?;
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
        n_nodes: u64,
        n_features: u32,
        order: &mut Preorder,
    ) -> Result<(), Refusal> {
        for record in records.chunks_exact(fields.itemsize) {
            let node = self.nodes.len() as u64;
            let read = fields.node(record, node, n_nodes, n_features)?;
            order.add(node as u32, read.split);
            self.nodes.push(read);
            if read.split.is_some() && fields.missing(record) {
                self.last_is_missing();
            }
        }
        Ok(())
    }

    fn one_parent_each(&self) -> Result<(), Refusal> {
        let mut has_parent = vec![false; self.nodes.len()];
        for child in
            self.nodes.iter().filter_map(|node| node.split).flat_map(|split| [split.left, split.right])
        {
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
        self.nodes[node as usize]
    }

    /// Whether NaN goes left at `node`.
    pub(super) fn missing(&self, node: u32) -> bool {
        self.missing.get(node as usize).copied().unwrap_or(false)
    }

    /// Whether NaN goes left anywhere.
    pub(super) fn any_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Replaces every feature by a column of a wider input; there is one for each.
    pub(super) fn map_features(&mut self, columns: &[u32]) {
        for split in self.nodes.iter_mut().filter_map(|node| node.split.as_mut()) {
            split.feature = columns[split.feature as usize];
        }
    }

    /// Tells leaf `node` where its values are.
    pub(super) fn set_leaf(&mut self, node: usize, leaf: u32) {
        self.nodes[node].low = leaf;
    }

    pub(super) fn is_leaf(&self, node: usize) -> bool {
        self.nodes[node].split.is_none()
    }
}

/// Whether nodes are in the order of a walk, left children first, as scikit-learn's depth-first builder leaves them. Each
/// node but the root then has one parent: the node before it, if that is a split, or else the one that waits.
#[derive(Default)]
struct Preorder {
    /// Right children that are still to come, the next one last.
    waiting: Vec<u32>,
    broken: bool,
    ended: bool,
}

impl Preorder {
    fn add(&mut self, node: u32, split: Option<Split>) {
        match split {
            Some(Split { left, right, .. }) => {
                self.broken |= left != node + 1 || self.ended;
                self.waiting.push(right);
            }
            None => match self.waiting.pop() {
                Some(next) => self.broken |= next != node + 1,
                None => self.broken |= std::mem::replace(&mut self.ended, true),
            },
        }
    }

    fn is_whole(&self) -> bool {
        self.ended && !self.broken
    }
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

    /// Node number `node` of `n_nodes`.
    #[inline(always)]
    fn node(&self, record: &[u8], node: u64, n_nodes: u64, n_features: u32) -> Result<TreeNode, Refusal> {
        let word = |offset: usize| -> [u8; 8] {
            let bytes = record.get(offset..).and_then(|bytes| bytes.first_chunk());
            *bytes.expect("fields lie within a record")
        };
        let int = |offset| i64::from_le_bytes(word(offset));
        let samples = u32::try_from(int(self.samples).max(0)).unwrap_or(u32::MAX);
        let left = int(self.left);
        if left == LEAF {
            return Ok(TreeNode { low: 0, split: None, samples });
        }
        let child = |child: i64| match u64::try_from(child) {
            Ok(child) if child > node && child < n_nodes => Some(child as u32),
            _ => None,
        };
        let Some(left_child) = child(left) else { return wrong(node, "the left child", left) };
        let right = int(self.right);
        let Some(right_child) = child(right) else { return wrong(node, "the right child", right) };
        let feature = match u32::try_from(int(self.feature)) {
            Ok(feature) if feature < n_features => feature,
            _ => return wrong(node, "the feature", int(self.feature)),
        };
        let low = threshold_key(f64::from_le_bytes(word(self.threshold)));
        let split = Split { feature, left: left_child, right: right_child };
        Ok(TreeNode { low, split: Some(split), samples })
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

#[cold]
fn wrong(node: u64, what: &str, found: i64) -> Result<TreeNode, Refusal> {
    Err(Refusal::uncovered(format!("node {node} has {what} {found}")))
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
