//! The trees of a saved object, seen where they are stored: `sklearn.tree._tree.Tree` without a copy of its nodes.
//!
//! A [`StoredTree`] remembers where its columns are; [`StoredTree::check`] looks at every node once, so that
//! walking it afterwards stays within the tree and ends. [`TreeView`] borrows the columns to compute with them.
#![forbid(unsafe_code)]

mod check;
mod column;
#[cfg(test)]
mod tests;

pub use self::column::{Column, ColumnData, Floats, Ints};

use std::fmt::Display;
use std::sync::OnceLock;

use crate::format::dtype::{Dtype, Kind, Plain};
use crate::format::{ArrayInfo, Order};
use crate::model::array::ArraySource;
use crate::model::graph::{Graph, Make, Node, NodeId};
use crate::model::plan::PlanArrays;

/// Most features, outputs or classes: they index memory of their own.
const MAX_COLUMNS: i64 = i32::MAX as i64;
/// scikit-learn's `TREE_LEAF`.
pub(crate) const LEAF: i64 = -1;

/// A `sklearn.tree._tree.Tree` where it is stored.
#[derive(Debug)]
pub struct StoredTree {
    n_features: u32,
    n_classes: Box<[i64]>,
    max_classes: u32,
    max_depth: i64,
    n_nodes: usize,
    columns: Columns,
    numerators: Column,
    denominators: Option<Column>,
    checked: OnceLock<()>,
}

/// What the fields of a node became; each has one row per node.
#[derive(Debug)]
pub struct Columns {
    /// `left_child`: -1 for a leaf.
    pub left: Column,
    /// `right_child`: -1 for a leaf.
    pub right: Column,
    /// `feature`: -2 for a leaf.
    pub feature: Column,
    /// `threshold`
    pub threshold: Column,
    /// `impurity`
    pub impurity: Column,
    /// `n_node_samples`
    pub samples: Column,
    /// `weighted_n_node_samples`
    pub weight: Column,
    /// `missing_go_to_left`; scikit-learn has it since 1.3.
    pub missing: Option<Column>,
}

/// A tree that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The object is not what scikit-learn saves.
    #[error(
        "{what} of the tree at node {node} of the graph is {found}, expected {expected}; save the model again"
    )]
    Malformed {
        /// The tree.
        node: u32,
        /// The part of it.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// Its nodes would lead outside of it, or in circles.
    #[error("node {node} of a tree {problem}; the file is damaged: save or convert the model again")]
    Node {
        /// The node, from 0.
        node: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Its bytes are not there to compute with.
    #[error("the arrays of the tree are {problem}; restore the file, or open it by path")]
    Bytes {
        /// Compressed, or misaligned.
        problem: &'static str,
    },
    /// Its bytes cannot be read.
    #[error("the arrays of the tree cannot be read")]
    Read {
        /// What the system says.
        source: std::io::Error,
    },
}

impl StoredTree {
    /// Finds the columns of the tree at `node`. Nothing is copied if they are stored as columns in a file.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if `node` is not a tree as scikit-learn saves it.
    pub fn read(graph: &Graph, node: NodeId, arrays: &dyn ArraySource) -> Result<Self, TreeError> {
        let read = Reader { graph, node, arrays };
        let [n_features, n_classes, n_outputs] = read.args()?;
        let n_features = read.int("`n_features`", n_features, 1..=MAX_COLUMNS)? as u32;
        let n_classes = read.n_classes(n_classes)?;
        let n_outputs = read.int("`n_outputs`", n_outputs, 1..=MAX_COLUMNS)?;
        if n_classes.len() as i64 != n_outputs {
            return Err(read.wrong("the length of `n_classes`", n_classes.len(), n_outputs.to_string()));
        }
        let max_classes = n_classes.iter().copied().max().unwrap_or(1) as u32;
        let n_nodes = read.int("`node_count`", read.attr("node_count")?, 1..=i64::from(u32::MAX - 1))?;
        let max_depth = read.int("`max_depth`", read.attr("max_depth")?, 0..=n_nodes - 1)?;
        let columns = read.columns(n_nodes as u64)?;
        let shape = [n_nodes as u64, n_outputs as u64, u64::from(max_classes)];
        let (numerators, denominators) = read.values(&shape)?;
        Ok(StoredTree {
            n_features,
            n_classes,
            max_classes,
            max_depth,
            n_nodes: n_nodes as usize,
            columns,
            numerators,
            denominators,
            checked: OnceLock::new(),
        })
    }

    /// Columns of the input.
    pub fn n_features(&self) -> u32 {
        self.n_features
    }

    /// Classes of each output; 1 for regression.
    pub fn n_classes(&self) -> &[i64] {
        &self.n_classes
    }

    /// Number of outputs.
    pub fn n_outputs(&self) -> usize {
        self.n_classes.len()
    }

    /// The largest number of classes.
    pub fn max_classes(&self) -> u32 {
        self.max_classes
    }

    /// Edges on the longest way from the root to a leaf.
    pub fn max_depth(&self) -> i64 {
        self.max_depth
    }

    /// Number of nodes.
    pub fn n_nodes(&self) -> usize {
        self.n_nodes
    }

    /// The fields of the nodes.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Node values: `[n_nodes, n_outputs, max_classes]`; with denominators, one per node, they are quotients.
    pub fn values(&self) -> (&Column, Option<&Column>) {
        (&self.numerators, self.denominators.as_ref())
    }

    /// Looks at every node, the first time: children come after their parent, each has one, features exist.
    ///
    /// # Errors
    ///
    /// [`TreeError::Node`] names the first bad node.
    pub fn check(&self, arrays: &dyn ArrayBytes) -> Result<(), TreeError> {
        if self.checked.get().is_none() {
            check::check(&self.borrow(arrays)?, self.max_depth)?;
            self.checked.get_or_init(|| ());
        }
        Ok(())
    }

    /// The tree, ready to be walked: checked, and its columns borrowed from `arrays`.
    ///
    /// # Errors
    ///
    /// As [`StoredTree::check`]; [`TreeError::Bytes`] if the file is compressed.
    pub fn view<'a>(&'a self, arrays: &'a dyn ArrayBytes) -> Result<TreeView<'a>, TreeError> {
        self.check(arrays)?;
        self.borrow(arrays)
    }

    fn borrow<'a>(&'a self, arrays: &'a dyn ArrayBytes) -> Result<TreeView<'a>, TreeError> {
        let columns = &self.columns;
        let missing = columns.missing.as_ref().map(|column| column.ints(arrays)).transpose()?;
        let denominators = self.denominators.as_ref().map(|column| column.floats(arrays)).transpose()?;
        Ok(TreeView {
            n_features: self.n_features as usize,
            n_nodes: self.n_nodes,
            width: self.n_classes.len() * self.max_classes as usize,
            left: columns.left.ints(arrays)?,
            right: columns.right.ints(arrays)?,
            feature: columns.feature.ints(arrays)?,
            threshold: columns.threshold.floats(arrays)?,
            impurity: columns.impurity.floats(arrays)?,
            weight: columns.weight.floats(arrays)?,
            missing,
            numerators: self.numerators.floats(arrays)?,
            denominators,
        })
    }
}

/// Arrays whose bytes can be borrowed: those of a [`Model`](crate::Model).
pub trait ArrayBytes: Sync {
    /// What array `id` is and its bytes; `None` if there is no such array, or it is compressed.
    fn array_bytes(&self, id: crate::format::ArrayId) -> Option<(ArrayInfo, &[u8])>;
}

impl<T: PlanArrays> ArrayBytes for T {
    fn array_bytes(&self, id: crate::format::ArrayId) -> Option<(ArrayInfo, &[u8])> {
        Some((self.plan_array_info(id)?, self.plan_array_bytes(id)?))
    }
}

/// A tree whose nodes have been checked, ready to be walked.
#[derive(Clone, Copy, Debug)]
pub struct TreeView<'a> {
    /// Columns of the input.
    pub n_features: usize,
    /// Number of nodes.
    pub n_nodes: usize,
    /// Values of a node: `n_outputs * max_classes`.
    pub width: usize,
    /// -1 for a leaf.
    pub left: Ints<'a>,
    /// -1 for a leaf.
    pub right: Ints<'a>,
    /// Of splits.
    pub feature: Ints<'a>,
    /// Of splits.
    pub threshold: Floats<'a>,
    /// Of all nodes.
    pub impurity: Floats<'a>,
    /// `weighted_n_node_samples`
    pub weight: Floats<'a>,
    /// Not 0: NaN goes left.
    pub missing: Option<Ints<'a>>,
    numerators: Floats<'a>,
    denominators: Option<Floats<'a>>,
}

impl TreeView<'_> {
    /// The children of a split; `None` for a leaf.
    #[inline(always)]
    pub fn children(&self, node: usize) -> Option<(usize, usize)> {
        let left = self.left.at(node);
        (left != LEAF).then(|| (left as usize, self.right.at(node) as usize))
    }

    /// Whether NaN goes left at `node`.
    #[inline(always)]
    pub fn missing_left(&self, node: usize) -> bool {
        self.missing.is_some_and(|missing| missing.at(node) != 0)
    }

    /// Value `index` of `node`, from `0..width`.
    #[inline(always)]
    pub fn value(&self, node: usize, index: usize) -> f64 {
        let value = self.numerators.at(node * self.width + index);
        self.denominators.map_or(value, |denominators| value / denominators.at(node))
    }
}

/// One tree being read.
struct Reader<'a> {
    graph: &'a Graph,
    node: NodeId,
    arrays: &'a dyn ArraySource,
}

impl Reader<'_> {
    fn wrong(&self, what: &'static str, found: impl Display, expected: impl Into<String>) -> TreeError {
        TreeError::Malformed { node: self.node.0, what, found: format!("{found}"), expected: expected.into() }
    }

    fn args(&self) -> Result<[NodeId; 3], TreeError> {
        let graph = self.graph;
        let tree = Some(("sklearn.tree._tree", "Tree"));
        let object = graph.object(self.node).filter(|_| graph.class_of(self.node) == tree);
        let object = object.ok_or_else(|| {
            self.wrong("the class", graph.node(self.node).type_name(), "`sklearn.tree._tree.Tree`")
        })?;
        let plain = object.make == Make::Call
            && object.kwargs.is_none()
            && object.items.is_empty()
            && object.pairs.is_empty();
        match graph.items(object.args) {
            Some(&[n_features, n_classes, n_outputs]) if plain => Ok([n_features, n_classes, n_outputs]),
            args => Err(self.wrong(
                "the call",
                format!("with {} arguments", args.map_or(0, <[_]>::len)),
                "`Tree(n_features, n_classes, n_outputs)` and a state",
            )),
        }
    }

    fn attr(&self, name: &'static str) -> Result<NodeId, TreeError> {
        self.graph
            .attr(self.node, name)
            .ok_or_else(|| self.wrong("the state", "incomplete", format!("`{name}`")))
    }

    fn int(
        &self,
        what: &'static str,
        id: NodeId,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<i64, TreeError> {
        let found = self.graph.as_int(id);
        found.filter(|value| range.contains(value)).ok_or_else(|| {
            let found = found.map_or_else(|| self.graph.node(id).type_name().to_owned(), |n| n.to_string());
            self.wrong(what, found, format!("{} to {}", range.start(), range.end()))
        })
    }

    fn n_classes(&self, id: NodeId) -> Result<Box<[i64]>, TreeError> {
        let read = |source| TreeError::Read { source };
        let array = self.graph.plain_array_at(id, self.arrays, MAX_COLUMNS as u64 * 8).map_err(read)?;
        let classes = array.filter(|array| array.shape.len() == 1).and_then(|array| array.i64s());
        let fits = |classes: &Vec<i64>| classes.iter().all(|n| (1..=MAX_COLUMNS).contains(n));
        classes
            .filter(fits)
            .map(Vec::into_boxed_slice)
            .ok_or_else(|| self.wrong("`n_classes`", "something else", "positive integers"))
    }

    fn columns(&self, n_nodes: u64) -> Result<Columns, TreeError> {
        let id = self.attr("nodes")?;
        let unlike =
            |found: &dyn Display| self.wrong("`nodes`", found.to_string(), format!("{n_nodes} records"));
        match self.graph.plain_array(id).map(|id| self.graph.node(id)) {
            Some(Node::Records(records)) if *records.shape == [n_nodes] => {
                let Dtype::Record(dtype) = &records.dtype else { return Err(unlike(&records.dtype)) };
                let names = dtype.fields.iter().map(|field| field.name.as_str());
                self.by_field(names.zip(&records.columns).map(|(name, part)| {
                    let column = Column::of_part(part, self.arrays);
                    column.map(|column| (name, column))
                }))
            }
            Some(Node::Array(part)) if *part.shape == [n_nodes] => self.raw_columns(part, unlike),
            Some(Node::Records(records)) => Err(unlike(&format!("of shape {:?}", records.shape))),
            Some(Node::Array(part)) => Err(unlike(&format!("of shape {:?}", part.shape))),
            _ => Err(unlike(&self.graph.node(id).type_name())),
        }
    }

    /// Records that are stored as they were: copied, field by field.
    fn raw_columns(
        &self,
        part: &crate::model::graph::ArrayPart,
        unlike: impl Fn(&dyn Display) -> TreeError,
    ) -> Result<Columns, TreeError> {
        let info = self.arrays.info(part.array);
        let Dtype::Record(record) = &info.dtype else { return Err(unlike(&info.dtype)) };
        let stride = record.itemsize as usize;
        let row_bytes = stride as u64;
        let mut bytes = vec![0; part.shape.first().map_or(0, |rows| *rows as usize) * stride];
        let read = self.arrays.read_at(part.array, part.first_row * row_bytes, &mut bytes);
        read.map_err(|source| TreeError::Read { source })?;
        self.by_field(record.fields.iter().map(|field| {
            let (start, size) = (field.offset as usize, field.dtype.itemsize as usize);
            let elements = bytes.chunks_exact(stride.max(1)).filter_map(|row| row.get(start..start + size));
            Column::of_elements(field.dtype, elements).map(|column| (field.name.as_str(), column))
        }))
    }

    fn by_field<'n>(
        &self,
        fields: impl Iterator<Item = Result<(&'n str, Column), TreeError>>,
    ) -> Result<Columns, TreeError> {
        let mut columns = [const { None }; 8];
        for field in fields {
            let (name, column) = field?;
            let Some(index) = FIELDS.iter().position(|(known, _)| *known == name) else {
                // It might change what a node means.
                let expected = "the fields of scikit-learn 1.9 or before".to_owned();
                return Err(self.wrong(
                    "a field of the nodes",
                    format!("`{}`", name.escape_debug()),
                    expected,
                ));
            };
            let kind = FIELDS[index].1;
            if !column.is(kind) {
                return Err(self.wrong(
                    "a field of the nodes",
                    format!("`{name}` of another type"),
                    format!("{kind:?}"),
                ));
            }
            columns[index] = Some(column);
        }
        let [left, right, feature, threshold, impurity, samples, weight, missing] = columns;
        let need = |column: Option<Column>, index: usize| {
            let name = FIELDS[index].0;
            column.ok_or_else(|| self.wrong("a field of the nodes", "missing", format!("`{name}`")))
        };
        Ok(Columns {
            left: need(left, 0)?,
            right: need(right, 1)?,
            feature: need(feature, 2)?,
            threshold: need(threshold, 3)?,
            impurity: need(impurity, 4)?,
            samples: need(samples, 5)?,
            weight: need(weight, 6)?,
            missing,
        })
    }

    fn values(&self, shape: &[u64; 3]) -> Result<(Column, Option<Column>), TreeError> {
        let id = self.attr("values")?;
        let node = self.graph.plain_array(id).map(|id| self.graph.node(id));
        let unlike = |found: &dyn Display| {
            self.wrong("`values`", found.to_string(), format!("C-order float64 {shape:?}"))
        };
        match node {
            Some(Node::Quotients(quotients)) if *quotients.numerators.shape == *shape => {
                let denominators = quotients.denominators.as_ref();
                let denominators = denominators.map(|part| Column::of_part(part, self.arrays)).transpose()?;
                Ok((Column::of_part(&quotients.numerators, self.arrays)?, denominators))
            }
            Some(Node::Array(part)) if *part.shape == *shape => {
                let info = self.arrays.info(part.array);
                let float = matches!(info.dtype, Dtype::Plain(Plain { kind: Kind::Float, itemsize: 8, .. }));
                let one_run = info.order == Order::C || shape.iter().filter(|len| **len > 1).count() < 2;
                if !float || !one_run {
                    return Err(unlike(&info.dtype));
                }
                Ok((Column::of_part(part, self.arrays)?, None))
            }
            Some(Node::Array(part)) => Err(unlike(&format!("of shape {:?}", part.shape))),
            Some(Node::Quotients(quotients)) => {
                Err(unlike(&format!("of shape {:?}", quotients.numerators.shape)))
            }
            _ => Err(unlike(&self.graph.node(id).type_name())),
        }
    }
}

/// The fields of scikit-learn's node: integers or floats.
const FIELDS: [(&str, Kind); 8] = [
    ("left_child", Kind::Int),
    ("right_child", Kind::Int),
    ("feature", Kind::Int),
    ("threshold", Kind::Float),
    ("impurity", Kind::Float),
    ("n_node_samples", Kind::Int),
    ("weighted_n_node_samples", Kind::Float),
    ("missing_go_to_left", Kind::Int),
];
