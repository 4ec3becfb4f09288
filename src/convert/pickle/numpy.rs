//! How NumPy pickles arrays, scalars and dtypes, recognised exactly; whatever differs stays a plain object.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::convert::error::Fault;
use crate::convert::pickle::python::object;
use crate::convert::pickle::values::{Raw, Values};
use crate::convert::source::ForeignData;
use crate::format::Order;
use crate::format::dtype::{Dtype, Field, Kind, Plain, Record, TimeUnit};
use crate::model::graph::{Make, Node, NodeId, Object};

const UNITS: [&str; 14] = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic"];

/// What calling `module.qualname(*args)` gives, for the functions with which NumPy pickles.
pub(crate) fn call(
    values: &mut Values<'_>,
    (module, qualname): (&str, &str),
    args: &[NodeId],
) -> Result<Option<Node>, Fault> {
    match (module, qualname) {
        ("numpy._core.numeric" | "numpy.core.numeric", "_frombuffer") => from_buffer(values, args),
        ("numpy._core.multiarray" | "numpy.core.multiarray", "scalar") => Ok(scalar(values, args)),
        _ => Ok(None),
    }
}

/// What giving `state` to `object` makes of it, if it is an array or a dtype in the making.
pub(crate) fn build(values: &mut Values<'_>, object: &Object, state: NodeId) -> Result<Option<Node>, Fault> {
    let Some(name) = values.name_at(object.callable) else { return Ok(None) };
    match name {
        ("numpy", "dtype") => Ok(dtype(values, object, state).map(Node::Dtype)),
        ("numpy._core.multiarray" | "numpy.core.multiarray", "_reconstruct") => array(values, object, state),
        _ => Ok(None),
    }
}

/// `_frombuffer(buffer, dtype, shape, order)`; with order `'K'` and, last, the axes to transpose to.
fn from_buffer(values: &mut Values<'_>, args: &[NodeId]) -> Result<Option<Node>, Fault> {
    let (buffer, dtype, shape, order, axes) = match *args {
        [buffer, dtype, shape, order] => (buffer, dtype, shape, order, None),
        [buffer, dtype, shape, order, axes] => (buffer, dtype, shape, order, Some(axes)),
        _ => return Ok(None),
    };
    let Node::Dtype(dtype) = values.node(dtype) else { return Ok(None) };
    let (order, axes) = match (values.str_at(order), axes) {
        (Some("C"), None) => (Order::C, None),
        (Some("F"), None) => (Order::F, None),
        (Some("K"), Some(axes)) => (Order::C, Some(axes)),
        _ => return Ok(None),
    };
    let dtype = dtype.clone();
    let (Some(shape), Some(data)) = (values.shape_at(shape), data(values, buffer)) else { return Ok(None) };
    let ndim = shape.len();
    let node = values.array_node(dtype, shape, order, data)?;
    match (node, axes) {
        (Some(node), Some(axes)) if is_permutation(values, axes, ndim) => {
            transposed(values, node, axes).map(Some)
        }
        (_, Some(_)) => Ok(None),
        (node, None) => Ok(node),
    }
}

fn is_permutation(values: &Values<'_>, axes: NodeId, ndim: usize) -> bool {
    let Some(axes) = values.shape_at(axes) else { return false };
    (0..ndim as u64).all(|axis| axes.contains(&axis)) && axes.len() == ndim
}

/// `numpy.transpose(array, axes)`: how an array whose axes lie in another order in memory keeps that order, on which
/// the order of sums depends.
fn transposed(values: &mut Values<'_>, array: Node, axes: NodeId) -> Result<Node, Fault> {
    let array = values.add(array)?;
    let callable = values.add(Node::Name { module: "numpy".into(), qualname: "transpose".into() })?;
    let args = values.add(Node::Tuple(vec![array, axes]))?;
    Ok(object(Make::Call, callable, args))
}

/// `scalar(dtype, bytes)`
fn scalar(values: &Values<'_>, args: &[NodeId]) -> Option<Node> {
    let &[dtype, bytes] = args else { return None };
    let Node::Dtype(dtype) = values.node(dtype) else { return None };
    let bytes = match data(values, bytes)? {
        ForeignData::Owned(bytes) => bytes,
        ForeignData::Source(_) | ForeignData::Beside(_) => return None,
    };
    (bytes.len() as u64 == u64::from(dtype.itemsize())).then(|| Node::Scalar { dtype: dtype.clone(), bytes })
}

/// `_reconstruct(class, (0,), b'b')` with state `(1, shape, dtype, is_fortran, data)`.
fn array(values: &mut Values<'_>, object: &Object, state: NodeId) -> Result<Option<Node>, Fault> {
    let Some(&[class, zero, kind]) = values.tuple_at(object.args) else { return Ok(None) };
    let Some(&[version, shape, dtype, fortran, bytes]) = values.tuple_at(state) else { return Ok(None) };
    let empty = values.shape_at(zero).is_some_and(|shape| shape == [0]);
    if !empty || !is_b(values, kind) || values.int_at(version) != Some(1) || values.name_at(class).is_none() {
        return Ok(None);
    }
    let (Some(shape), Some(fortran)) = (values.shape_at(shape), values.int_at(fortran)) else {
        return Ok(None);
    };
    let order = if fortran == 0 { Order::C } else { Order::F };
    let node = match (values.node(dtype), values.node(bytes)) {
        (Node::Dtype(dtype), _) => {
            let dtype = dtype.clone();
            let Some(data) = data(values, bytes) else { return Ok(None) };
            values.array_node(dtype, shape, order, data)?
        }
        (Node::Object(_), Node::List(items)) if is_object_dtype(values, dtype) => {
            let items = items.clone();
            object_array(shape, order, items)
        }
        _ => None,
    };
    node.map(|node| of_class(values, class, node)).transpose()
}

/// `node` itself for an ndarray; a wrapper around it for a subclass. A memory map becomes an ndarray, as joblib does it.
pub(crate) fn of_class(values: &mut Values<'_>, class: NodeId, node: Node) -> Result<Node, Fault> {
    match values.name_at(class) {
        Some(("numpy", "ndarray" | "memmap") | ("numpy.core.memmap" | "numpy._core.memmap", "memmap")) => {
            Ok(node)
        }
        _ => Ok(Node::ArrayOfClass { class, array: values.add(node)? }),
    }
}

fn object_array(shape: Vec<u64>, order: Order, items: Vec<NodeId>) -> Option<Node> {
    let count = shape.iter().try_fold(1u64, |count, len| count.checked_mul(*len));
    (count == Some(items.len() as u64)).then(|| Node::ObjectArray { shape: shape.into(), order, items })
}

fn is_b(values: &Values<'_>, id: NodeId) -> bool {
    match values.node(id) {
        Node::Str(text) => &**text == "b",
        Node::Bytes(blob) => matches!(values.raw(blob), Some(Raw::Here(b"b"))),
        _ => false,
    }
}

/// Bytes of a `bytes`, `bytearray`, or `str` of Latin-1 characters (Python 2).
fn data(values: &Values<'_>, id: NodeId) -> Option<ForeignData> {
    match values.node(id) {
        Node::Bytes(blob) | Node::ByteArray(blob) => Some(match values.raw(blob)? {
            Raw::Source(range) => ForeignData::Source(range),
            Raw::Here(bytes) => ForeignData::Owned(bytes.into()),
        }),
        Node::Str(_) => {
            let text = values.str_at(id)?;
            text.chars()
                .map(|c| u8::try_from(u32::from(c)).ok())
                .collect::<Option<_>>()
                .map(ForeignData::Owned)
        }
        _ => None,
    }
}

/// The type string of an unfinished or unrepresentable `numpy.dtype`, and its state.
fn dtype_parts<'v>(values: &'v Values<'_>, id: NodeId) -> Option<(Option<&'v str>, &'v [NodeId])> {
    let Node::Object(object) = values.node(id) else { return None };
    if values.name_at(object.callable) != Some(("numpy", "dtype")) {
        return None;
    }
    let text = values.tuple_at(object.args)?.first().and_then(|id| values.str_at(*id));
    Some((text, values.tuple_at(object.state?)?))
}

/// Whether `id` is `numpy.dtype('O')`.
fn is_object_dtype(values: &Values<'_>, id: NodeId) -> bool {
    matches!(dtype_parts(values, id), Some((Some("O" | "O4" | "O8"), _)))
}

/// Whether elements of dtype `id` hold references to objects; `None` if it is no dtype that is understood.
pub(crate) fn holds_objects(values: &Values<'_>, id: NodeId) -> Option<bool> {
    if let Node::Dtype(_) = values.node(id) {
        return Some(false);
    }
    if let Node::Object(object) = values.node(id)
        && let Some(("numpy._core._internal", "_convert_to_stringdtype_kwargs")) =
            values.name_at(object.callable)
    {
        return Some(true);
    }
    let (_, state) = dtype_parts(values, id)?;
    Some(is_object_dtype(values, id) || values.int_at(*state.get(7)?)? & 1 != 0)
}

/// Bytes of one element of a dtype, also of one that [`Dtype`] cannot express.
pub(crate) fn itemsize(values: &Values<'_>, id: NodeId) -> Option<u64> {
    if let Node::Dtype(dtype) = values.node(id) {
        return Some(u64::from(dtype.itemsize()));
    }
    let (text, state) = dtype_parts(values, id)?;
    match values.int_at(*state.get(5)?)? {
        -1 => text?.get(1..)?.parse().ok(),
        size => u64::try_from(size).ok(),
    }
}

/// `dtype(text, False, True)` with state `(3, endian, subarray, names, fields, itemsize, alignment, flags)`, or version 4
/// with metadata.
fn dtype(values: &Values<'_>, object: &Object, state: NodeId) -> Option<Dtype> {
    let &[text, _, _] = values.tuple_at(object.args)? else { return None };
    let text = values.str_at(text)?;
    let (&[version, endian, subarray, names, fields, itemsize, _, flags], metadata) =
        match values.tuple_at(state)? {
            [state @ .., metadata] if state.len() == 8 => {
                (<&[NodeId; 8]>::try_from(state).ok()?, Some(*metadata))
            }
            state => (<&[NodeId; 8]>::try_from(state).ok()?, None),
        };
    if !matches!(values.int_at(version)?, 3 | 4) || *values.node(subarray) != Node::None {
        return None;
    }
    let stated = values.int_at(itemsize)?;
    if *values.node(names) != Node::None {
        let itemsize = u32::try_from(stated).ok().filter(|_| text == format!("V{stated}"))?;
        let aligned = values.int_at(flags)? & 0x80 != 0;
        if metadata.is_some() {
            return None;
        }
        return record(values, names, fields, itemsize, aligned);
    }
    let mut plain = plain(text, metadata.and_then(|metadata| time_unit(values, metadata)))?;
    let has_unit = matches!(plain.kind, Kind::DateTime(_) | Kind::TimeDelta(_));
    if *values.node(fields) != Node::None || (metadata.is_some() && !has_unit) {
        return None;
    }
    if stated != -1 && stated != i64::from(plain.itemsize) {
        return None;
    }
    plain.big_endian = match values.str_at(endian)? {
        "<" | "|" => false,
        ">" => plain.itemsize > 1 && !matches!(plain.kind, Kind::Bool | Kind::Bytes | Kind::Void),
        _ => return None,
    };
    Some(Dtype::Plain(plain))
}

/// The type string without byte order: `f8`, `U5`.
fn plain(text: &str, unit: Option<TimeUnit>) -> Option<Plain> {
    let size = text.get(1..).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    let size: u32 = if size.is_empty() { 0 } else { size.parse().ok()? };
    let (kind, sizes): (Kind, &[u32]) = match text.get(..1)? {
        "b" => (Kind::Bool, &[1]),
        "i" => (Kind::Int, &[1, 2, 4, 8]),
        "u" => (Kind::Uint, &[1, 2, 4, 8]),
        "f" => (Kind::Float, &[2, 4, 8]),
        "c" => (Kind::Complex, &[8, 16]),
        "M" => (Kind::DateTime(unit?), &[8]),
        "m" => (Kind::TimeDelta(unit?), &[8]),
        "S" | "a" => (Kind::Bytes, &[]),
        "V" => (Kind::Void, &[]),
        "U" => return Some(Plain::new(Kind::Str, size.checked_mul(4)?)),
        _ => return None,
    };
    (sizes.is_empty() || sizes.contains(&size)).then(|| Plain::new(kind, size))
}

/// `(None, (b'ns', count, 1, 1))`
fn time_unit(values: &Values<'_>, metadata: NodeId) -> Option<TimeUnit> {
    let &[other, unit] = values.tuple_at(metadata)? else { return None };
    let empty = match values.node(other) {
        Node::None => true,
        Node::Dict(pairs) => pairs.is_empty(),
        _ => false,
    };
    let &[name, count, denominator, _] = values.tuple_at(unit)? else { return None };
    let name = match data(values, name)? {
        ForeignData::Owned(name) => name,
        ForeignData::Source(_) | ForeignData::Beside(_) => return None,
    };
    let base = UNITS.iter().position(|unit| unit.as_bytes() == &*name)?;
    let count = u32::try_from(values.int_at(count)?).ok().filter(|count| *count > 0)?;
    (empty && values.int_at(denominator) == Some(1)).then_some(TimeUnit { base: base as u8, count })
}

fn record(values: &Values<'_>, names: NodeId, fields: NodeId, itemsize: u32, aligned: bool) -> Option<Dtype> {
    let names = values.tuple_at(names)?;
    let Node::Dict(pairs) = values.node(fields) else { return None };
    let by_name: HashMap<&str, NodeId> =
        pairs.iter().map(|(name, field)| Some((values.str_at(*name)?, *field))).collect::<Option<_>>()?;
    if by_name.len() != names.len() || pairs.len() != names.len() || names.is_empty() {
        return None;
    }
    let fields = names.iter().map(|name| {
        let name = values.str_at(*name)?;
        field(values, name, *by_name.get(name)?)
    });
    let fields = fields.collect::<Option<Vec<_>>>()?;
    fits(&fields, itemsize).then(|| Dtype::Record(Record { fields, itemsize, aligned }.into()))
}

/// `(dtype, offset)`; a sub-array's dtype has state `(3, '|', (base, shape), ...)`.
fn field(values: &Values<'_>, name: &str, field: NodeId) -> Option<Field> {
    let &[dtype, offset] = values.tuple_at(field)? else { return None };
    let offset = u32::try_from(values.int_at(offset)?).ok()?;
    let (dtype, shape) = match values.node(dtype) {
        Node::Dtype(Dtype::Plain(plain)) => (*plain, Vec::new()),
        Node::Dtype(Dtype::Record(_)) => return None,
        _ => {
            let (_, state) = dtype_parts(values, dtype)?;
            let &[base, shape] = values.tuple_at(*state.get(2)?)? else { return None };
            let Node::Dtype(Dtype::Plain(plain)) = values.node(base) else { return None };
            let shape = values.shape_at(shape)?;
            (*plain, shape.into_iter().map(|len| u32::try_from(len).ok()).collect::<Option<_>>()?)
        }
    };
    Some(Field { name: name.to_owned(), dtype, shape, offset })
}

/// Whether fields lie within the record, have distinct names (their map has as many) and do not overlap.
pub(crate) fn fits(fields: &[Field], itemsize: u32) -> bool {
    let mut spans: Vec<(u64, u64)> = Vec::with_capacity(fields.len());
    for field in fields {
        let size = field
            .shape
            .iter()
            .try_fold(u64::from(field.dtype.itemsize), |size, len| size.checked_mul(u64::from(*len)));
        let Some(end) = size.and_then(|size| size.checked_add(u64::from(field.offset))) else { return false };
        spans.push((u64::from(field.offset), end));
    }
    spans.sort_unstable();
    spans.last().is_none_or(|_| spans.iter().all(|span| span.1 <= u64::from(itemsize)))
        && spans.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}
