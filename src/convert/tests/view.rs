//! A graph as the JSON that `tests/convert/pickles.py` makes of the same object.

use serde_json::{Value, json};

use crate::convert::Foreign;
use crate::format::dtype::{Dtype, Plain};
use crate::format::{ArrayId, Order};
use crate::model::array::ArraySource;
use crate::model::graph::{Blob, Make, Node, NodeId};

pub(crate) struct View<'a> {
    foreign: &'a Foreign,
    path: Vec<NodeId>,
}

impl<'a> View<'a> {
    pub(crate) fn root(foreign: &'a Foreign) -> Value {
        View { foreign, path: Vec::new() }.of(foreign.graph.root)
    }

    fn of(&mut self, id: NodeId) -> Value {
        match &self.foreign.graph.nodes[id.0 as usize] {
            Node::None => Value::Null,
            Node::Bool(value) => json!(value),
            Node::Int(value) => json!(value),
            Node::BigInt(bytes) => json!({"big": hex(bytes)}),
            Node::Float(value) => json!({"float": hex(&value.to_le_bytes())}),
            Node::Str(text) if text.chars().count() < 1000 => json!({"str": text}),
            Node::Str(text) => json!({"str": crc32fast::hash(text.as_bytes()), "len": text.len()}),
            Node::Bytes(blob) => self.blob("bytes", blob),
            Node::ByteArray(blob) => self.blob("bytearray", blob),
            Node::Name { module, qualname } => json!({"name": format!("{module}:{qualname}")}),
            Node::Scalar { dtype, bytes } => json!({"scalar": spelled(dtype), "hex": hex(bytes)}),
            Node::Dtype(dtype) => json!({"dtype": spelled(dtype)}),
            node => {
                if self.path.contains(&id) {
                    return json!({"cycle": true});
                }
                self.path.push(id);
                let value = self.compound(node);
                self.path.pop();
                value
            }
        }
    }

    fn compound(&mut self, node: &Node) -> Value {
        match node {
            Node::Tuple(items) => json!({"tuple": self.all(items)}),
            Node::List(items) => json!({"list": self.all(items)}),
            Node::Set(items) => json!({"set": self.all(items)}),
            Node::FrozenSet(items) => json!({"frozenset": self.all(items)}),
            Node::Dict(pairs) => json!({"dict": self.pairs(pairs)}),
            Node::Array(part) => {
                let info = self.foreign.info(part.array);
                let bytes = self.bytes(part.array);
                json!({
                    "array": spelled(&info.dtype), "shape": part.shape, "order": order(info.order),
                    "crc": crc32fast::hash(&bytes),
                })
            }
            Node::ObjectArray { shape, order: found, items } => {
                json!({"objects": self.all(items), "shape": shape, "order": order(*found)})
            }
            Node::ArrayOfClass { class, array } => {
                json!({"class": self.of(*class), "array": self.of(*array)})
            }
            Node::Object(object) => json!({
                "make": match object.make { Make::Call => "call", Make::New => "new" },
                "callable": self.of(object.callable),
                "args": self.of(object.args),
                "kwargs": object.kwargs.map(|id| self.of(id)),
                "items": self.all(&object.items),
                "pairs": self.pairs(&object.pairs),
                "state": object.state.map(|id| json!({"is": self.of(id)})),
            }),
            node => panic!("the reader makes no {node:?}"),
        }
    }

    fn all(&mut self, items: &[NodeId]) -> Vec<Value> {
        items.iter().map(|id| self.of(*id)).collect()
    }

    fn pairs(&mut self, pairs: &[(NodeId, NodeId)]) -> Vec<Value> {
        pairs.iter().map(|(key, value)| json!([self.of(*key), self.of(*value)])).collect()
    }

    fn bytes(&self, id: ArrayId) -> Vec<u8> {
        let info = self.foreign.info(id);
        let len = info.shape.iter().product::<u64>() * u64::from(info.dtype.itemsize());
        let mut bytes = vec![0; len as usize];
        self.foreign.read_at(id, 0, &mut bytes).unwrap();
        bytes
    }

    fn blob(&self, kind: &str, blob: &Blob) -> Value {
        let bytes = match blob {
            Blob::Inline(bytes) => bytes.to_vec(),
            Blob::Array(id) => self.bytes(*id),
        };
        json!({kind: crc32fast::hash(&bytes), "len": bytes.len()})
    }
}

fn order(order: Order) -> &'static str {
    match order {
        Order::C => "C",
        Order::F => "F",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spelled(dtype: &Dtype) -> Value {
    let plain = |plain: Plain| Dtype::Plain(plain).to_string();
    match dtype {
        Dtype::Plain(found) => json!(plain(*found)),
        Dtype::Record(record) => {
            let fields = record.fields.iter();
            let fields: Vec<_> = fields
                .map(|field| json!([field.name, plain(field.dtype), field.shape, field.offset]))
                .collect();
            json!({"fields": fields, "itemsize": record.itemsize, "aligned": record.aligned})
        }
    }
}

/// Where two views differ first, or `None`.
pub(crate) fn difference(expected: &Value, found: &Value, at: &str) -> Option<String> {
    match (expected, found) {
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let mut pairs = left.iter().zip(right).enumerate();
            pairs.find_map(|(index, (left, right))| difference(left, right, &format!("{at}[{index}]")))
        }
        (Value::Object(left), Value::Object(right)) if left.keys().eq(right.keys()) => {
            left.iter().find_map(|(key, left)| difference(left, &right[key], &format!("{at}.{key}")))
        }
        _ if expected == found => None,
        _ => {
            let short = |value: &Value| value.to_string().chars().take(300).collect::<String>();
            Some(format!("{at}: expected {}, found {}", short(expected), short(found)))
        }
    }
}
