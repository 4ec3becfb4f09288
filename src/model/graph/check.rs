//! What must hold between the nodes of a graph and the arrays beside it.
#![forbid(unsafe_code)]

use std::fmt::Display;

use crate::format::dtype::{Dtype, Kind, Plain};
use crate::format::{ArrayId, ArrayInfo, Order};
use crate::model::array::ArraySource;
use crate::model::graph::{ArrayPart, Blob, Graph, GraphError, Node, NodeId, Quotients, Records, Terms};

impl Graph {
    /// Whether every reference leads to something of the right sort and every array part lies in its array.
    ///
    /// # Errors
    ///
    /// [`GraphError`] names the first node that is wrong.
    pub(crate) fn check(&self, arrays: &dyn ArraySource) -> Result<(), GraphError> {
        let mut check = Check { graph: self, arrays, count: arrays.array_count(), node: 0, dtype: None };
        check.id("root", self.root)?;
        for (index, node) in self.nodes.iter().enumerate() {
            check.node = u32::try_from(index).unwrap_or(u32::MAX);
            for child in node.children() {
                check.id("a reference", child)?;
            }
            check.node(node)?;
        }
        Ok(())
    }
}

struct Check<'a> {
    graph: &'a Graph,
    arrays: &'a dyn ArraySource,
    count: u32,
    node: u32,
    /// The record dtype found good last: that of one tree after the other.
    dtype: Option<&'a Dtype>,
}

impl<'a> Check<'a> {
    fn wrong(&self, what: &'static str, found: impl Display, expected: impl Into<String>) -> GraphError {
        GraphError::Node { node: self.node, what, found: found.to_string(), expected: expected.into() }
    }

    fn id(&self, what: &'static str, id: NodeId) -> Result<(), GraphError> {
        let nodes = self.graph.nodes.len();
        if (id.0 as usize) < nodes {
            return Ok(());
        }
        Err(self.wrong(what, format!("node {}", id.0), format!("one of {nodes} nodes")))
    }

    fn node(&mut self, node: &'a Node) -> Result<(), GraphError> {
        match node {
            Node::BigInt(bytes) => self.big_int(bytes),
            Node::Bytes(Blob::Array(id)) | Node::ByteArray(Blob::Array(id)) => self.blob(*id),
            Node::Array(part) => self.part(part).map(drop),
            Node::Records(records) => self.records(records),
            Node::Terms(terms) => self.terms(terms),
            Node::Quotients(quotients) => self.quotients(quotients),
            Node::ObjectArray { shape, items, .. } => self.object_array(shape, items),
            Node::ArrayOfClass { class, array } => {
                self.sort("class of an array", *class, "a name", |node| matches!(node, Node::Name { .. }))?;
                self.sort("array of a class", *array, "an array", |node| {
                    matches!(
                        node,
                        Node::Array(_) | Node::Records(_) | Node::Quotients(_) | Node::ObjectArray { .. }
                    )
                })
            }
            Node::Scalar { dtype, bytes } => {
                self.dtype(dtype)?;
                let size = dtype.itemsize() as usize;
                if bytes.len() == size {
                    return Ok(());
                }
                Err(self.wrong("length of a scalar", bytes.len(), size.to_string()))
            }
            Node::Dtype(dtype) => self.dtype(dtype),
            Node::Object(object) => {
                self.sort("arguments", object.args, "a tuple", |node| matches!(node, Node::Tuple(_)))?;
                object.kwargs.map_or(Ok(()), |kwargs| {
                    self.sort("keyword arguments", kwargs, "a dict", |node| matches!(node, Node::Dict(_)))
                })
            }
            _ => Ok(()),
        }
    }

    fn sort(
        &self,
        what: &'static str,
        id: NodeId,
        expected: &'static str,
        is: impl Fn(&Node) -> bool,
    ) -> Result<(), GraphError> {
        if is(self.graph.node(id)) {
            return Ok(());
        }
        Err(self.wrong(what, format!("node {} of another sort", id.0), expected))
    }

    /// Shortest two's complement, and too long for [`Node::Int`], so that an int has one form.
    fn big_int(&self, bytes: &[u8]) -> Result<(), GraphError> {
        let shortest = match bytes {
            [.., before, last] => {
                let sign = if before & 0x80 == 0 { 0 } else { 0xff };
                bytes.len() > 8 && *last != sign
            }
            _ => false,
        };
        if shortest {
            return Ok(());
        }
        Err(self.wrong(
            "a long int",
            format!("{} bytes", bytes.len()),
            "more than 8 bytes, in the shortest form",
        ))
    }

    fn dtype(&mut self, dtype: &'a Dtype) -> Result<(), GraphError> {
        if self.dtype == Some(dtype) {
            return Ok(());
        }
        dtype.validate().map_err(|source| GraphError::Dtype { node: self.node, source })?;
        if matches!(dtype, Dtype::Record(_)) {
            self.dtype = Some(dtype);
        }
        Ok(())
    }

    fn info(&self, id: ArrayId) -> Result<ArrayInfo, GraphError> {
        if id.0 >= self.count {
            return Err(self.wrong(
                "an array",
                format!("array {}", id.0),
                format!("one of {} arrays", self.count),
            ));
        }
        Ok(self.arrays.info(id))
    }

    fn blob(&self, id: ArrayId) -> Result<(), GraphError> {
        let info = self.info(id)?;
        if info.dtype == Dtype::U8 && info.shape.len() == 1 {
            return Ok(());
        }
        Err(self.wrong("array of bytes", format!("{} {:?}", info.dtype, info.shape), "one dimension of |u1"))
    }

    fn terms(&self, terms: &Terms) -> Result<(), GraphError> {
        let len = |what, id, dtype: Dtype| {
            let info = self.info(id)?;
            match info.shape.as_slice() {
                [len] if info.dtype == dtype => Ok(*len),
                shape => {
                    let found = format!("{} {shape:?}", info.dtype);
                    Err(self.wrong(what, found, format!("one dimension of {dtype}")))
                }
            }
        };
        len("text of terms", terms.text, Dtype::U8)?;
        let count = len("ends of terms", terms.ends, Dtype::U32)?;
        let values = len("values of terms", terms.values, Dtype::I64)?;
        let slots = len("slots of terms", terms.slots, Dtype::U64)?;
        if values != count {
            return Err(self.wrong("number of values of terms", values, count.to_string()));
        }
        if !slots.is_power_of_two() || slots <= count {
            let expected = format!("a power of two above {count}");
            return Err(self.wrong("number of slots of terms", slots, expected));
        }
        Ok(())
    }

    fn part(&self, part: &ArrayPart) -> Result<ArrayInfo, GraphError> {
        let info = self.info(part.array)?;
        if *part.shape == *info.shape && part.first_row == 0 {
            return Ok(info);
        }
        let one_run = info.order == Order::C || info.shape.len() < 2;
        let reshaped = part.first_row == 0 && elements(&part.shape) == elements(&info.shape);
        let rows = match (part.shape.split_first(), info.shape.split_first()) {
            (Some((rows, row)), Some((all, stored))) => {
                row == stored && part.first_row.checked_add(*rows).is_some_and(|end| end <= *all)
            }
            _ => false,
        };
        if one_run && (rows || (reshaped && elements(&part.shape).is_some())) {
            return Ok(info);
        }
        Err(self.wrong(
            "part of an array",
            format!("rows from {} on of shape {:?}", part.first_row, part.shape),
            format!("rows of array {}, {:?} in {:?} order", part.array.0, info.shape, info.order),
        ))
    }

    fn records(&mut self, records: &'a Records) -> Result<(), GraphError> {
        self.dtype(&records.dtype)?;
        let Dtype::Record(record) = &records.dtype else {
            return Err(self.wrong("dtype of records", &records.dtype, "a record dtype"));
        };
        let size: u64 = record.fields.iter().filter_map(|field| field.len_bytes()).map(u64::from).sum();
        if record.fields.is_empty() || u64::from(record.itemsize) > MAX_PADDING + 2 * size {
            let expected = format!("fields, and at most {} bytes for those", MAX_PADDING + 2 * size);
            return Err(self.wrong("item size of records", record.itemsize, expected));
        }
        if records.columns.len() != record.fields.len() {
            return Err(self.wrong(
                "number of columns",
                records.columns.len(),
                record.fields.len().to_string(),
            ));
        }
        for (column, field) in records.columns.iter().zip(&record.fields) {
            let info = self.part(column)?;
            let shape = records.shape.iter().copied().chain(field.shape.iter().map(|len| u64::from(*len)));
            if !column.shape.iter().copied().eq(shape) {
                let found = format!("{:?}", column.shape);
                return Err(self.wrong(
                    "shape of a column",
                    found,
                    format!("{:?} and {:?}", records.shape, field.shape),
                ));
            }
            if !widens(&info.dtype, field.dtype) {
                let expected = format!("one that widens to {}", Dtype::Plain(field.dtype));
                return Err(self.wrong("dtype of a column", info.dtype, expected));
            }
        }
        Ok(())
    }

    fn quotients(&self, quotients: &Quotients) -> Result<(), GraphError> {
        let dtype = self.part(&quotients.numerators)?.dtype;
        if dtype == Dtype::F64 || !widens(&dtype, FLOAT) {
            return Err(self.wrong("dtype of numerators", dtype, "u1, u2 or u4"));
        }
        let Some(denominators) = &quotients.denominators else { return Ok(()) };
        let dtype = self.part(denominators)?.dtype;
        if !widens(&dtype, FLOAT) {
            return Err(self.wrong("dtype of denominators", dtype, "u1, u2, u4 or f8"));
        }
        let rows = quotients.numerators.shape.first().copied();
        if rows.is_none() || *denominators.shape != [rows.unwrap_or_default()] {
            let found = format!("{:?}", denominators.shape);
            return Err(self.wrong("shape of denominators", found, format!("{rows:?}")));
        }
        Ok(())
    }

    fn object_array(&self, shape: &[u64], items: &[NodeId]) -> Result<(), GraphError> {
        let expected = elements(shape);
        if expected == Some(items.len() as u64) && shape.len() <= 64 {
            return Ok(());
        }
        let expected = expected.map_or("at most 2^64".to_owned(), |count| count.to_string());
        Err(self.wrong("number of objects in an array", items.len(), expected))
    }
}

/// Bytes of a record that may belong to no field, besides as many as its fields have.
pub(crate) const MAX_PADDING: u64 = 64;

const FLOAT: Plain = Plain::new(Kind::Float, 8);

fn elements(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |count, len| count.checked_mul(*len))
}

/// Whether every value of `stored` is one value of `field`, bit for bit after widening.
pub(crate) fn widens(stored: &Dtype, field: Plain) -> bool {
    let Dtype::Plain(stored) = stored else { return false };
    if *stored == field {
        return true;
    }
    if stored.big_endian || field.big_endian {
        return false;
    }
    let narrower = stored.itemsize < field.itemsize;
    match (stored.kind, field.kind) {
        (Kind::Uint, Kind::Int | Kind::Uint) | (Kind::Int, Kind::Int) => narrower,
        (Kind::Uint, Kind::Float) => stored.itemsize <= 4 && field.itemsize == 8,
        _ => false,
    }
}
