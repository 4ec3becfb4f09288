//! The small language in which `trusted.tsv` says what arguments and states may look like.
//!
//! `call(int, array|none, numpy.ndarray, 'C', any*)`: atoms separated by commas, alternatives by `|`, `*` for any number of
//! the last one. An atom is a kind (`int`, `str`, `array`, `any`, ...), a quoted text, a tuple in parentheses, `by:NAME` for an
//! object that a name made, or a dotted name, which then may stand there and need not be trusted anywhere else.
#![forbid(unsafe_code)]

use onecopy::{Blob, Graph, Node, NodeId};

/// Arguments: one pattern each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Arguments {
    each: Vec<Pattern>,
    /// Any number of the last one.
    repeated: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Pattern(Vec<Atom>);

#[derive(Clone, Debug, PartialEq)]
enum Atom {
    Kind(Kind),
    Text(String),
    Number(i64),
    Tuple(Arguments),
    Name(String),
    /// An object that this name made.
    By(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    None,
    Bool,
    Int,
    Float,
    Str,
    Bytes,
    Tuple,
    List,
    Dict,
    Set,
    Array,
    Dtype,
    Scalar,
    Object,
    Shape,
    Numeral,
    Void,
}

const KINDS: [(&str, Kind); 18] = [
    ("any", Kind::Any),
    ("none", Kind::None),
    ("bool", Kind::Bool),
    ("int", Kind::Int),
    ("float", Kind::Float),
    ("str", Kind::Str),
    ("bytes", Kind::Bytes),
    ("tuple", Kind::Tuple),
    ("list", Kind::List),
    ("dict", Kind::Dict),
    ("set", Kind::Set),
    ("array", Kind::Array),
    ("dtype", Kind::Dtype),
    ("scalar", Kind::Scalar),
    ("object", Kind::Object),
    ("shape", Kind::Shape),
    ("numeral", Kind::Numeral),
    ("void", Kind::Void),
];

/// Longest text that is read as a number.
const LONGEST_NUMERAL: usize = 400;

impl Arguments {
    /// Reads what stands between the parentheses.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut arguments = Arguments::default();
        let parts = split(text, ',');
        for (at, part) in parts.iter().enumerate() {
            let part = part.trim();
            if part.is_empty() && parts.len() == 1 {
                break;
            }
            let part = match part.strip_suffix('*') {
                Some(part) if at + 1 == parts.len() => {
                    arguments.repeated = true;
                    part
                }
                _ => part,
            };
            let atoms: Result<Vec<Atom>, String> =
                split(part, '|').iter().map(|atom| Atom::parse(atom)).collect();
            arguments.each.push(Pattern(atoms?));
        }
        Ok(arguments)
    }

    /// The names that the patterns ask for.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let mut todo: Vec<&Atom> = self.each.iter().flat_map(|pattern| &pattern.0).collect();
        while let Some(atom) = todo.pop() {
            match atom {
                Atom::Name(name) => names.push(name.as_str()),
                Atom::Tuple(inner) => todo.extend(inner.each.iter().flat_map(|pattern| &pattern.0)),
                _ => {}
            }
        }
        names
    }

    /// Whether `items` fit; names that stand where exactly they are asked for go into `permitted`.
    pub(super) fn fit(&self, graph: &Graph, items: &[NodeId], permitted: &mut Vec<NodeId>) -> bool {
        let enough =
            if self.repeated { items.len() + 1 >= self.each.len() } else { items.len() == self.each.len() };
        enough
            && items.iter().enumerate().all(|(at, item)| {
                self.each
                    .get(at)
                    .or(self.each.last())
                    .is_some_and(|pattern| pattern.fits(graph, *item, permitted))
            })
    }
}

impl Pattern {
    fn fits(&self, graph: &Graph, item: NodeId, permitted: &mut Vec<NodeId>) -> bool {
        self.0.iter().any(|atom| atom.fits(graph, item, permitted))
    }
}

impl Atom {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == text) {
            return Ok(Atom::Kind(*kind));
        }
        if let Some(text) = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            return Ok(Atom::Text(text.to_owned()));
        }
        if let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
            return Arguments::parse(inner.strip_suffix(',').unwrap_or(inner)).map(Atom::Tuple);
        }
        if let Some(name) = text.strip_prefix("by:") {
            return Ok(Atom::By(name.to_owned()));
        }
        if let Ok(number) = text.parse() {
            return Ok(Atom::Number(number));
        }
        if text.contains('.') {
            Ok(Atom::Name(text.to_owned()))
        } else {
            Err(format!("unknown kind `{text}`"))
        }
    }

    fn fits(&self, graph: &Graph, item: NodeId, permitted: &mut Vec<NodeId>) -> bool {
        let node = graph.node(item);
        match self {
            Atom::Kind(kind) => kind.fits(graph, node),
            Atom::Text(text) => match node {
                Node::Str(found) => **found == **text,
                Node::Bytes(Blob::Inline(found)) => **found == *text.as_bytes(),
                _ => false,
            },
            Atom::Number(number) => *node == Node::Int(*number),
            Atom::Tuple(inner) => match node {
                Node::Tuple(items) => inner.fit(graph, items, permitted),
                _ => false,
            },
            Atom::By(name) => match node {
                Node::Object(object) => graph
                    .name_at(object.callable)
                    .is_some_and(|(module, qualname)| super::list::dotted(module, qualname) == *name),
                _ => false,
            },
            Atom::Name(name) => match node {
                Node::Name { module, qualname } => {
                    let fits = super::list::dotted(module, qualname) == *name;
                    if fits {
                        permitted.push(item);
                    }
                    fits
                }
                _ => false,
            },
        }
    }
}

impl Kind {
    fn fits(self, graph: &Graph, node: &Node) -> bool {
        match self {
            Kind::Any => true,
            Kind::None => matches!(node, Node::None),
            Kind::Bool => matches!(node, Node::Bool(_)),
            Kind::Int => matches!(node, Node::Int(_) | Node::BigInt(_)),
            Kind::Float => matches!(node, Node::Float(_)),
            Kind::Str => matches!(node, Node::Str(_)),
            Kind::Bytes => matches!(node, Node::Bytes(_) | Node::ByteArray(_)),
            Kind::Tuple => matches!(node, Node::Tuple(_)),
            Kind::List => matches!(node, Node::List(_)),
            Kind::Dict => matches!(node, Node::Dict(_) | Node::Terms(_)),
            Kind::Set => matches!(node, Node::Set(_) | Node::FrozenSet(_)),
            Kind::Array => matches!(
                node,
                Node::Array(_)
                    | Node::Records(_)
                    | Node::Quotients(_)
                    | Node::ObjectArray { .. }
                    | Node::ArrayOfClass { .. }
            ),
            Kind::Dtype => matches!(node, Node::Dtype(_)),
            Kind::Scalar => matches!(node, Node::Scalar { .. }),
            Kind::Object => matches!(node, Node::Object(_)),
            Kind::Shape => is_shape(graph, node),
            Kind::Numeral => is_numeral(node),
            Kind::Void => is_void(node),
        }
    }
}

/// A tuple of lengths whose product no machine reaches, but no multiplication overflows.
fn is_shape(graph: &Graph, node: &Node) -> bool {
    let Node::Tuple(items) = node else { return false };
    let lengths = items.iter().map(|item| match graph.node(*item) {
        Node::Int(length) => u64::try_from(*length).ok(),
        _ => None,
    });
    let product = lengths.into_iter().try_fold(1u64, |product, length| product.checked_mul(length?.max(1)));
    items.len() <= 32 && product.is_some_and(|product| product < 1 << 40)
}

/// `V16`: the type string of a record.
fn is_void(node: &Node) -> bool {
    let Node::Str(text) = node else { return false };
    text.strip_prefix('V')
        .is_some_and(|size| (1..=6).contains(&size.len()) && size.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A short text that is a plain decimal number or fraction.
fn is_numeral(node: &Node) -> bool {
    let Node::Str(text) = node else { return false };
    text.len() <= LONGEST_NUMERAL
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'/'))
        || matches!(&**text, "NaN" | "Infinity" | "-Infinity")
        || exponent_is_small(text)
}

fn exponent_is_small(text: &str) -> bool {
    let Some((digits, exponent)) = text.split_once(['E', 'e']) else { return false };
    text.len() <= LONGEST_NUMERAL
        && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.'))
        && exponent.parse::<i32>().is_ok_and(|exponent| exponent.abs() <= 10_000)
}

/// Splits at `at` outside of quotes and parentheses.
pub(super) fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0u32, false);
    for (index, character) in text.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ if character == at && !quoted && depth == 0 => {
                parts.push(&text[start..index]);
                start = index + at.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
