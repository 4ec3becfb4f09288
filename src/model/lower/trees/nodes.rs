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
        Nodes {
            nodes: Vec::with_capacity(len),
            missing: Vec::with_capacity(len),
            origin: Vec::with_capacity(len),
        }
    }

    /// Adds the next node, whose number elsewhere is `origin`.
    pub(super) fn add(&mut self, node: TreeNode, origin: u32, missing: bool) {
        self.nodes.push(node);
        self.missing.push(missing);
        self.origin.push(origin);
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
        let len = n_nodes as usize;
        let mut tree =
            Nodes { nodes: Vec::with_capacity(len), missing: Vec::with_capacity(len), origin: Vec::new() };
        let mut buffer = Vec::new();
        let mut row = 0;
        while row < n_nodes {
            let count = CHUNK.min(n_nodes - row);
            let start = (part.first_row + row) * fields.itemsize as u64;
            let records = piece(part.array, start, count as usize * fields.itemsize, arrays, &mut buffer)?;
            for record in records.chunks_exact(fields.itemsize) {
                tree.push(&fields, record, n_nodes, n_features)?;
            }
            row += count;
        }
        tree.one_parent_each()?;
        Ok(tree)
    }

    fn push(&mut self, fields: &Fields, record: &[u8], n_nodes: u64, n_features: u32) -> Result<(), Refusal> {
        let node = self.nodes.len() as u64;
        let wrong =
            |what: &str, found: i64| Err(Refusal::uncovered(format!("node {node} has {what} {found}")));
        let word = |offset: usize| -> [u8; 8] {
            let bytes = record.get(offset..).and_then(|bytes| bytes.first_chunk());
            *bytes.expect("fields lie within a record")
        };
        let int = |offset| i64::from_le_bytes(word(offset));
        let samples = u32::try_from(int(fields.samples).max(0)).unwrap_or(u32::MAX);
        let left = int(fields.left);
        if left == LEAF {
            self.nodes.push(TreeNode { low: 0, split: None, samples });
            self.missing.push(false);
            return Ok(());
        }
        let child = |child: i64| match u64::try_from(child) {
            Ok(child) if child > node && child < n_nodes => Some(child as u32),
            _ => None,
        };
        let Some(left_child) = child(left) else { return wrong("the left child", left) };
        let right = int(fields.right);
        let Some(right_child) = child(right) else { return wrong("the right child", right) };
        let feature = match u32::try_from(int(fields.feature)) {
            Ok(feature) if feature < n_features => feature,
            _ => return wrong("the feature", int(fields.feature)),
        };
        let low = threshold_key(f64::from_le_bytes(word(fields.threshold)));
        let split = Split { feature, left: left_child, right: right_child };
        self.nodes.push(TreeNode { low, split: Some(split), samples });
        self.missing
            .push(fields.missing.is_some_and(|offset| record.get(offset).is_some_and(|&bit| bit != 0)));
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
        self.missing[node as usize]
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
