//! Bytes to graph. Every number is checked before it is used, nothing recurses, and memory grows only with
//! bytes that were seen: the worst node asks for a few hundred bytes of memory per byte of file.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::sync::Arc;

use crate::format::dtype::{Dtype, Field, Kind, Plain, Record, TimeUnit};
use crate::format::{ArrayId, Order};
use crate::model::array::ArraySource;
use crate::model::graph::encode::{MAX_RUN_COLUMNS, MAX_RUN_DIMENSIONS, tag};
use crate::model::graph::{
    ArrayPart, Blob, Graph, GraphError, Make, Node, NodeId, Object, Quotients, Records, Terms,
};

impl Graph {
    /// Reads what [`Graph::encode`] wrote and checks that all of it makes sense with `arrays`.
    ///
    /// # Errors
    ///
    /// [`GraphError`] says which byte or node is wrong.
    pub fn decode(bytes: &[u8], arrays: &dyn ArraySource) -> Result<Graph, GraphError> {
        let mut input = Decoder { bytes, offset: 0, dtypes: Vec::new(), nodes: 0, node: 0 };
        let graph = input.graph()?;
        if input.offset != bytes.len() {
            return Err(GraphError::Trailing { offset: input.offset, len: bytes.len() });
        }
        graph.check(arrays)?;
        Ok(graph)
    }
}

struct Decoder<'a> {
    bytes: &'a [u8],
    offset: usize,
    dtypes: Vec<Dtype>,
    nodes: u32,
    node: u32,
}

impl Decoder<'_> {
    fn graph(&mut self) -> Result<Graph, GraphError> {
        let dtypes = self.len("number of dtypes", 4)?;
        for _ in 0..dtypes {
            let dtype = self.dtype()?;
            self.dtypes.push(dtype);
        }
        let count = self.len("number of nodes", 1)?;
        self.nodes =
            u32::try_from(count).map_err(|_| self.wrong("number of nodes", count, "at most 2^32 - 1"))?;
        let root = self.u32("root")?;
        if root >= self.nodes {
            return Err(self.wrong("root", root, format!("below {}", self.nodes)));
        }
        let mut nodes = Vec::with_capacity(count);
        for node in 0..self.nodes {
            self.node = node;
            nodes.push(self.node()?);
        }
        Ok(Graph { nodes, root: NodeId(root) })
    }

    fn wrong(&self, what: &'static str, found: impl Display, expected: impl Into<String>) -> GraphError {
        GraphError::Value { offset: self.offset, what, found: found.to_string(), expected: expected.into() }
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&[u8], GraphError> {
        let end = self.offset.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.offset..end));
        let taken = taken.ok_or(GraphError::Truncated { offset: self.bytes.len(), what })?;
        self.offset += len;
        Ok(taken)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, GraphError> {
        self.take(1, what).map(|bytes| bytes.first().copied().unwrap_or_default())
    }

    fn number(&mut self, what: &'static str) -> Result<u64, GraphError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err(self.wrong(what, "a number not in its shortest form", "the shortest form"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.wrong(what, "a number of more than 64 bits", "at most 64 bits"))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, GraphError> {
        let value = self.number(what)?;
        u32::try_from(value).map_err(|_| self.wrong(what, value, "at most 32 bits"))
    }

    fn signed(&mut self, what: &'static str) -> Result<i64, GraphError> {
        let value = self.number(what)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number of things of which each takes at least `each` more bytes.
    fn len(&mut self, what: &'static str, each: usize) -> Result<usize, GraphError> {
        let value = self.number(what)?;
        let most = (self.bytes.len() - self.offset) / each;
        match usize::try_from(value) {
            Ok(len) if len <= most => Ok(len),
            _ => Err(self.wrong(what, value, format!("at most {most}, as there are not more bytes"))),
        }
    }

    fn blob(&mut self, what: &'static str) -> Result<Box<[u8]>, GraphError> {
        let len = self.len(what, 1)?;
        Ok(self.take(len, what)?.into())
    }

    fn text(&mut self, what: &'static str) -> Result<Box<str>, GraphError> {
        let len = self.len(what, 1)?;
        let text = std::str::from_utf8(self.take(len, what)?).map(Into::into);
        text.map_err(|_| self.wrong(what, "not UTF-8", "UTF-8"))
    }

    fn id(&mut self, what: &'static str) -> Result<NodeId, GraphError> {
        let back = self.signed(what)?;
        let id = i64::from(self.node).checked_sub(back);
        let id = id.and_then(|id| u32::try_from(id).ok()).filter(|id| *id < self.nodes);
        id.map(NodeId).ok_or(GraphError::Reference { node: self.node, what, back, nodes: self.nodes })
    }

    fn ids(&mut self, what: &'static str) -> Result<Vec<NodeId>, GraphError> {
        let len = self.len(what, 1)?;
        (0..len).map(|_| self.id(what)).collect()
    }

    fn pairs(&mut self, what: &'static str) -> Result<Vec<(NodeId, NodeId)>, GraphError> {
        let len = self.len(what, 2)?;
        (0..len).map(|_| Ok((self.id(what)?, self.id(what)?))).collect()
    }

    fn shape(&mut self) -> Result<Box<[u64]>, GraphError> {
        let len = self.len("number of dimensions", 1)?;
        (0..len).map(|_| self.number("length of a dimension")).collect()
    }

    fn array_id(&mut self) -> Result<ArrayId, GraphError> {
        self.u32("number of an array").map(ArrayId)
    }

    fn node(&mut self) -> Result<Node, GraphError> {
        let at = self.offset;
        Ok(match self.byte("a node")? {
            tag::NONE => Node::None,
            tag::FALSE => Node::Bool(false),
            tag::TRUE => Node::Bool(true),
            tag::INT => Node::Int(self.signed("an int")?),
            tag::BIG_INT => Node::BigInt(self.blob("an int")?),
            tag::FLOAT => Node::Float(self.float()?),
            tag::STR => Node::Str(self.text("a str")?),
            tag::BYTES => Node::Bytes(Blob::Inline(self.blob("bytes")?)),
            tag::BYTES_ARRAY => Node::Bytes(Blob::Array(self.array_id()?)),
            tag::BYTEARRAY => Node::ByteArray(Blob::Inline(self.blob("a bytearray")?)),
            tag::BYTEARRAY_ARRAY => Node::ByteArray(Blob::Array(self.array_id()?)),
            tag::TUPLE => Node::Tuple(self.ids("a tuple")?),
            tag::LIST => Node::List(self.ids("a list")?),
            tag::DICT => Node::Dict(self.pairs("a dict")?),
            tag::TERMS => Node::Terms(Box::new(self.terms(false)?)),
            tag::TERMS_OF_NUMPY => Node::Terms(Box::new(self.terms(true)?)),
            tag::SET => Node::Set(self.ids("a set")?),
            tag::FROZEN_SET => Node::FrozenSet(self.ids("a frozenset")?),
            tag::NAME => {
                Node::Name { module: self.text("a module")?, qualname: self.text("a qualified name")? }
            }
            tag::ARRAY => Node::Array(self.part()?),
            tag::RECORDS => Node::Records(Box::new(self.records()?)),
            tag::RECORDS_RUN => Node::Records(Box::new(self.records_run()?)),
            tag::INTEGERS => {
                Node::Quotients(Box::new(Quotients { numerators: self.part()?, denominators: None }))
            }
            tag::QUOTIENTS => {
                let (numerators, denominators) = (self.part()?, Some(self.part()?));
                Node::Quotients(Box::new(Quotients { numerators, denominators }))
            }
            tag::OBJECT_ARRAY_C => self.object_array(Order::C)?,
            tag::OBJECT_ARRAY_F => self.object_array(Order::F)?,
            tag::ARRAY_OF_CLASS => Node::ArrayOfClass {
                class: self.id("class of an array")?,
                array: self.id("array of a class")?,
            },
            tag::SCALAR => self.scalar()?,
            tag::DTYPE => Node::Dtype(self.dtype_index()?),
            tag::CALL => Node::Object(Box::new(self.object(Make::Call)?)),
            tag::NEW => Node::Object(Box::new(self.object(Make::New)?)),
            unknown => return Err(GraphError::Tag { offset: at, found: unknown }),
        })
    }

    fn float(&mut self) -> Result<f64, GraphError> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8, "a float")?);
        Ok(f64::from_le_bytes(word))
    }

    fn part(&mut self) -> Result<ArrayPart, GraphError> {
        Ok(ArrayPart { array: self.array_id()?, first_row: self.number("first row")?, shape: self.shape()? })
    }

    fn terms(&mut self, numpy: bool) -> Result<Terms, GraphError> {
        Ok(Terms {
            text: self.array_id()?,
            ends: self.array_id()?,
            values: self.array_id()?,
            slots: self.array_id()?,
            seed: self.number("seed of terms")?,
            numpy,
        })
    }

    fn records(&mut self) -> Result<Records, GraphError> {
        let (dtype, shape) = (self.dtype_index()?, self.shape()?);
        let len = self.len("number of columns", 3)?;
        let columns = (0..len).map(|_| self.part()).collect::<Result<_, _>>()?;
        Ok(Records { dtype, shape, columns })
    }

    fn records_run(&mut self) -> Result<Records, GraphError> {
        let (dtype, shape) = (self.dtype_index()?, self.shape()?);
        let Dtype::Record(record) = &dtype else {
            return Err(self.wrong("dtype of records", &dtype, "a record dtype"));
        };
        let (fields, dimensions) = (record.fields.len(), shape.len());
        if fields == 0 || fields > MAX_RUN_COLUMNS {
            return Err(self.wrong("fields of a run of columns", fields, format!("1 to {MAX_RUN_COLUMNS}")));
        }
        if dimensions > MAX_RUN_DIMENSIONS {
            let expected = format!("at most {MAX_RUN_DIMENSIONS}");
            return Err(self.wrong("dimensions of a run of columns", dimensions, expected));
        }
        let (first, first_row) = (self.array_id()?, self.number("first row")?);
        let column = |index: u32| {
            let array = first.0.checked_add(index).map(ArrayId);
            let array = array.ok_or_else(|| self.wrong("number of an array", first.0, "at most 32 bits"))?;
            Ok(ArrayPart { array, first_row, shape: shape.clone() })
        };
        let columns = (0..fields as u32).map(column).collect::<Result<_, GraphError>>()?;
        Ok(Records { dtype, shape, columns })
    }

    fn object_array(&mut self, order: Order) -> Result<Node, GraphError> {
        Ok(Node::ObjectArray { shape: self.shape()?, order, items: self.ids("an object array")? })
    }

    fn scalar(&mut self) -> Result<Node, GraphError> {
        let dtype = self.dtype_index()?;
        let bytes = self.take(dtype.itemsize() as usize, "a scalar")?.into();
        Ok(Node::Scalar { dtype, bytes })
    }

    fn object(&mut self, make: Make) -> Result<Object, GraphError> {
        let flags = self.byte("an object")?;
        if flags > 0b1111 {
            return Err(self.wrong("parts of an object", flags, "at most 15"));
        }
        let has = |bit: u8| flags & (1 << bit) != 0;
        Ok(Object {
            make,
            callable: self.id("callable")?,
            args: self.id("arguments")?,
            kwargs: if has(0) { Some(self.id("keyword arguments")?) } else { None },
            items: if has(1) { self.ids("items of an object")? } else { Vec::new() },
            pairs: if has(2) { self.pairs("pairs of an object")? } else { Vec::new() },
            state: if has(3) { Some(self.id("state")?) } else { None },
        })
    }

    fn dtype_index(&mut self) -> Result<Dtype, GraphError> {
        let index = self.number("number of a dtype")?;
        let dtype = usize::try_from(index).ok().and_then(|index| self.dtypes.get(index));
        dtype
            .cloned()
            .ok_or_else(|| self.wrong("number of a dtype", index, format!("below {}", self.dtypes.len())))
    }

    fn dtype(&mut self) -> Result<Dtype, GraphError> {
        let form = self.byte("a dtype")?;
        match form {
            0 => self.plain().map(Dtype::Plain),
            1 | 2 => {
                let itemsize = self.u32("item size")?;
                let len = self.len("number of fields", 6)?;
                let fields = (0..len).map(|_| self.field()).collect::<Result<_, _>>()?;
                Ok(Dtype::Record(Arc::new(Record { fields, itemsize, aligned: form == 2 })))
            }
            _ => Err(self.wrong("form of a dtype", form, "0, 1 or 2")),
        }
    }

    fn field(&mut self) -> Result<Field, GraphError> {
        let name = self.text("name of a field")?.into();
        let dtype = self.plain()?;
        let len = self.len("dimensions of a field", 1)?;
        let shape = (0..len).map(|_| self.u32("length of a dimension")).collect::<Result<_, _>>()?;
        Ok(Field { name, dtype, shape, offset: self.u32("offset of a field")? })
    }

    fn plain(&mut self) -> Result<Plain, GraphError> {
        let letter = self.byte("kind of a dtype")?;
        let big_endian = match self.byte("byte order")? {
            0 => false,
            1 => true,
            other => return Err(self.wrong("byte order", other, "0 or 1")),
        };
        let itemsize = self.u32("item size")?;
        let kind = match letter {
            b'b' => Kind::Bool,
            b'i' => Kind::Int,
            b'u' => Kind::Uint,
            b'f' => Kind::Float,
            b'c' => Kind::Complex,
            b'S' => Kind::Bytes,
            b'U' => Kind::Str,
            b'V' => Kind::Void,
            b'M' => Kind::DateTime(self.time_unit()?),
            b'm' => Kind::TimeDelta(self.time_unit()?),
            other => return Err(self.wrong("kind of a dtype", other, "one of `biufcSUVMm`")),
        };
        Ok(Plain { kind, itemsize, big_endian })
    }

    fn time_unit(&mut self) -> Result<TimeUnit, GraphError> {
        Ok(TimeUnit { base: self.byte("time unit")?, count: self.u32("count of a time unit")? })
    }
}
