//! NumPy's `.npy` files: a strict reader of the one dictionary that NumPy writes as their header.
#![forbid(unsafe_code)]

use std::ops::Range;

use crate::convert::error::{ConvertError, NpyProblem};
use crate::convert::pickle::fits;
use crate::convert::pickle::values::len_bytes;
use crate::convert::source::{Foreign, ForeignArray, ForeignData, ReadAt};
use crate::format::dtype::{Dtype, Field, Kind, Plain, Record, TimeUnit};
use crate::format::{ArrayId, ArrayInfo, Order};
use crate::model::graph::{ArrayPart, Graph, Node, NodeId};

const MAGIC: &[u8] = b"\x93NUMPY";
const MAX_HEADER: u64 = 65_536;
const UNITS: [&str; 14] = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic"];

/// Reads the header of an `.npy` file: what the array is, and where in the source its bytes lie.
///
/// # Errors
///
/// [`ConvertError::Npy`] if the header is not as NumPy writes it, or the source has fewer or more bytes than the array.
pub fn read_npy_header(source: &dyn ReadAt) -> Result<(ArrayInfo, Range<u64>), ConvertError> {
    let at = |offset| move |problem| ConvertError::Npy { offset, problem };
    let mut head = [0; 12];
    let have = source.len_bytes();
    if have < 12 {
        return Err(at(0)(NpyProblem::Ends { need: 12, have }));
    }
    let read = |offset, buf: &mut [u8]| {
        source.read_exact_at(offset, buf).map_err(|source| ConvertError::Read { offset, source })
    };
    read(0, &mut head)?;
    let (major, minor) = (head[6], head[7]);
    let (start, len) = match (head.starts_with(MAGIC), major, minor) {
        (true, 1, 0) => (10, u64::from(u16::from_le_bytes([head[8], head[9]]))),
        (true, 2 | 3, 0) => (12, u64::from(u32::from_le_bytes([head[8], head[9], head[10], head[11]]))),
        (true, ..) => return Err(at(6)(NpyProblem::Version { major, minor })),
        (false, ..) => {
            return Err(at(0)(NpyProblem::Syntax { expected: "the magic \\x93NUMPY", found: shown(&head) }));
        }
    };
    if len > MAX_HEADER {
        return Err(at(8)(NpyProblem::TooLong { len }));
    }
    if have - start < len {
        return Err(at(start)(NpyProblem::Ends { need: len, have: have - start }));
    }
    let mut text = vec![0; len as usize];
    read(start, &mut text)?;
    let info =
        Parser { text: &text, pos: 0 }.header().map_err(|(pos, problem)| at(start + pos as u64)(problem))?;
    let need = len_bytes(&info.dtype, &info.shape).ok_or_else(|| at(start)(NpyProblem::Shape))?;
    let (data, have) = (start + len, have - start - len);
    match have.checked_sub(need) {
        Some(0) => Ok((info, data..data + need)),
        Some(count) => Err(at(data + need)(NpyProblem::Trailing { count })),
        None => Err(at(data)(NpyProblem::Ends { need, have })),
    }
}

/// The one array of an `.npy` file as a graph.
pub(crate) fn read_npy(source: Box<dyn ReadAt>) -> Result<Foreign, ConvertError> {
    let (info, range) = read_npy_header(&*source)?;
    let part = ArrayPart { array: ArrayId(0), first_row: 0, shape: info.shape.clone().into() };
    let graph = Graph { nodes: vec![Node::Array(part)], root: NodeId(0) };
    let arrays = vec![ForeignArray { info, data: ForeignData::Source(range) }];
    Ok(Foreign { graph, arrays, source, container: "npy".to_owned() })
}

type Parsed<T> = Result<T, (usize, NpyProblem)>;

/// Reads `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }` and nothing else.
struct Parser<'a> {
    text: &'a [u8],
    pos: usize,
}

impl Parser<'_> {
    fn header(mut self) -> Parsed<ArrayInfo> {
        let (mut dtype, mut order, mut shape) = (None, None, None);
        self.take(b'{', "`{`")?;
        while !self.next_is(b'}') {
            let start = self.pos;
            let key = self.string()?;
            self.take(b':', "`:`")?;
            let twice = match key.as_str() {
                "descr" => dtype.replace(self.descr()?).is_some(),
                "fortran_order" => order.replace(self.order()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                _ => return Err((start, NpyProblem::Key { key, what: "unknown" })),
            };
            if twice {
                return Err((start, NpyProblem::Key { key, what: "there twice" }));
            }
            if !self.next_is(b',') {
                self.take(b'}', "`,` or `}`")?;
                self.pos -= 1;
            }
        }
        self.skip_space();
        if self.pos < self.text.len() {
            return Err(self.expected("spaces and a newline to the end"));
        }
        let missing = |key: &str| (0, NpyProblem::Key { key: key.to_owned(), what: "missing" });
        Ok(ArrayInfo {
            dtype: dtype.ok_or_else(|| missing("descr"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
            order: order.ok_or_else(|| missing("fortran_order"))?,
        })
    }

    fn skip_space(&mut self) {
        while self.text.get(self.pos).is_some_and(u8::is_ascii_whitespace) {
            self.pos += 1;
        }
    }

    fn expected(&self, expected: &'static str) -> (usize, NpyProblem) {
        let found = shown(self.text.get(self.pos..).unwrap_or(&[]));
        (self.pos, NpyProblem::Syntax { expected, found })
    }

    /// Passes over `byte` if it comes next.
    fn next_is(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.text.get(self.pos) == Some(&byte);
        self.pos += usize::from(found);
        found
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Parsed<()> {
        if self.next_is(byte) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn string(&mut self) -> Parsed<String> {
        self.skip_space();
        let error = self.expected("a plain string");
        let Some(quote @ (b'\'' | b'"')) = self.text.get(self.pos).copied() else { return Err(error) };
        let rest = self.text.get(self.pos + 1..).unwrap_or(&[]);
        let Some(len) = rest.iter().position(|byte| *byte == quote) else { return Err(error) };
        let text = std::str::from_utf8(&rest[..len]).ok().filter(|text| !text.contains(['\\', '\n']));
        let text = text.ok_or(error)?.to_owned();
        self.pos += len + 2;
        Ok(text)
    }

    fn order(&mut self) -> Parsed<Order> {
        self.skip_space();
        let rest = self.text.get(self.pos..).unwrap_or(&[]);
        let (order, len) = match rest {
            [b'F', b'a', b'l', b's', b'e', ..] => (Order::C, 5),
            [b'T', b'r', b'u', b'e', ..] => (Order::F, 4),
            _ => return Err(self.expected("True or False")),
        };
        self.pos += len;
        Ok(order)
    }

    fn number(&mut self) -> Parsed<u64> {
        self.skip_space();
        let rest = self.text.get(self.pos..).unwrap_or(&[]);
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&rest[..len]).ok().and_then(|digits| digits.parse().ok());
        let number = number.ok_or_else(|| self.expected("a length of at most 2^64"))?;
        self.pos += len;
        // Python 2 wrote its long ints so.
        self.pos += usize::from(self.text.get(self.pos) == Some(&b'L'));
        Ok(number)
    }

    fn shape(&mut self) -> Parsed<Vec<u64>> {
        self.take(b'(', "`(`")?;
        let mut shape = Vec::new();
        while !self.next_is(b')') {
            if shape.len() == 64 {
                return Err((self.pos, NpyProblem::Shape));
            }
            shape.push(self.number()?);
            if !self.next_is(b',') {
                self.take(b')', "`,` or `)`")?;
                return if shape.len() == 1 { Err(self.expected("a tuple")) } else { Ok(shape) };
            }
        }
        Ok(shape)
    }

    fn descr(&mut self) -> Parsed<Dtype> {
        self.skip_space();
        let start = self.pos;
        if !self.next_is(b'[') {
            return self.plain().map(Dtype::Plain);
        }
        let mut fields: Vec<Field> = Vec::new();
        let mut offset = 0u64;
        while !self.next_is(b']') {
            let (name, dtype, shape) = self.field()?;
            let size = shape
                .iter()
                .try_fold(u64::from(dtype.itemsize), |size, len| size.checked_mul(u64::from(*len)));
            let end =
                size.and_then(|size| offset.checked_add(size)).filter(|end| *end <= u64::from(u32::MAX));
            let end = end.ok_or((self.pos, NpyProblem::Shape))?;
            // NumPy writes the gaps of a record as fields without a name.
            if !(name.is_empty() && dtype.kind == Kind::Void) {
                if name.is_empty() || fields.iter().any(|field| field.name == name) || fields.len() == 1_000 {
                    return Err((self.pos, NpyProblem::Dtype { found: shown(&self.text[start..self.pos]) }));
                }
                fields.push(Field { name, dtype, shape, offset: offset as u32 });
            }
            offset = end;
            if !self.next_is(b',') {
                self.take(b']', "`,` or `]`")?;
                self.pos -= 1;
            }
        }
        if fields.is_empty() || !fits(&fields, offset as u32) {
            return Err((start, NpyProblem::Dtype { found: shown(&self.text[start..self.pos]) }));
        }
        Ok(Dtype::Record(Record { fields, itemsize: offset as u32, aligned: false }.into()))
    }

    fn field(&mut self) -> Parsed<(String, Plain, Vec<u32>)> {
        self.take(b'(', "`(`")?;
        let name = self.string()?;
        self.take(b',', "`,`")?;
        let dtype = self.plain()?;
        let mut shape = Vec::new();
        if self.next_is(b',') && !self.next_is(b')') {
            let dims: Option<_> = self.shape()?.into_iter().map(|len| u32::try_from(len).ok()).collect();
            shape = dims.ok_or((self.pos, NpyProblem::Shape))?;
            self.take(b')', "`)`")?;
        } else if self.text.get(self.pos.wrapping_sub(1)) != Some(&b')') {
            self.take(b')', "`)`")?;
        }
        Ok((name, dtype, shape))
    }

    fn plain(&mut self) -> Parsed<Plain> {
        let start = self.pos;
        let text = self.string()?;
        plain(&text).ok_or((start, NpyProblem::Dtype { found: text }))
    }
}

/// `<f8`, `|b1`, `<U5`, `<M8[ns]`
fn plain(text: &str) -> Option<Plain> {
    let (endian, rest) = (text.get(..1)?, text.get(1..)?);
    let (letter, rest) = (rest.get(..1)?, rest.get(1..)?);
    let (digits, unit) = match rest.split_once('[') {
        Some((digits, unit)) => (digits, Some(time_unit(unit.strip_suffix(']')?)?)),
        None => (rest, None),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let size: u32 = digits.parse().ok()?;
    let generic = TimeUnit { base: 13, count: 1 };
    let (kind, sizes): (Kind, &[u32]) = match letter {
        "b" => (Kind::Bool, &[1]),
        "i" => (Kind::Int, &[1, 2, 4, 8]),
        "u" => (Kind::Uint, &[1, 2, 4, 8]),
        "f" => (Kind::Float, &[2, 4, 8]),
        "c" => (Kind::Complex, &[8, 16]),
        "M" => (Kind::DateTime(unit.unwrap_or(generic)), &[8]),
        "m" => (Kind::TimeDelta(unit.unwrap_or(generic)), &[8]),
        "S" => (Kind::Bytes, &[]),
        "V" => (Kind::Void, &[]),
        "U" => (Kind::Str, &[]),
        _ => return None,
    };
    let itemsize = if kind == Kind::Str { size.checked_mul(4)? } else { size };
    let known = itemsize > 0 && (sizes.is_empty() || sizes.contains(&size));
    if !known || (unit.is_some() && !matches!(letter, "M" | "m")) {
        return None;
    }
    let swappable = itemsize > 1 && !matches!(kind, Kind::Bytes | Kind::Void);
    let big_endian = match endian {
        ">" => swappable,
        "<" => false,
        "|" if !swappable => false,
        _ => return None,
    };
    Some(Plain { kind, itemsize, big_endian })
}

fn time_unit(text: &str) -> Option<TimeUnit> {
    let letters = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.strip_suffix(letters)?;
    let count = if digits.is_empty() { 1 } else { digits.parse().ok().filter(|count| *count > 0)? };
    let base = UNITS.iter().position(|unit| *unit == letters)?;
    Some(TimeUnit { base: base as u8, count })
}

fn shown(text: &[u8]) -> String {
    text.get(..60).unwrap_or(text).trim_ascii_end().escape_ascii().to_string()
}
