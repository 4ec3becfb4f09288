//! Dtypes in NumPy's spelling: `<f8`, `|b1`, `<U5`, `<M8[ns]`, and `numpy.dtype.descr` for records.
//!
//! A record without `align=True` whose fields lie in order is a list, with holes as fields without a name:
//! `[('a', '<f8'), ('', '|V4'), ('b', '<i4', (2, 3))]`. Others take the long form, which `numpy.dtype` accepts
//! as well: `{'names': [...], 'formats': [...], 'offsets': [...], 'itemsize': 16, 'aligned': True}`.
#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::format::dtype::{Dtype, DtypeError, Field, Kind, Plain, Record, TIME_UNITS, TimeUnit};

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match (self.has_byte_order(), self.big_endian) {
            (false, _) => '|',
            (true, false) => '<',
            (true, true) => '>',
        };
        let chars = if self.kind == Kind::Str { self.itemsize / 4 } else { self.itemsize };
        write!(f, "{order}{}{chars}", char::from(self.kind.letter()))?;
        let unit = self.kind.unit();
        match (TIME_UNITS.get(usize::from(unit.base)), unit.count) {
            (_, 0) | (None | Some(&"generic"), _) => Ok(()),
            (Some(name), 1) => write!(f, "[{name}]"),
            (Some(name), count) => write!(f, "[{count}{name}]"),
        }
    }
}

impl fmt::Display for Dtype {
    /// NumPy's spelling: `<f8`, `|b1`, `<U5`, `<M8[ns]`, or the fields of a record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dtype::Plain(plain) => plain.fmt(f),
            Dtype::Record(record) => record.fmt(f),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.aligned {
            return self.write_long(f);
        }
        let mut items = Vec::new();
        let mut end = 0;
        for field in &self.fields {
            let Some(hole) = field.offset.checked_sub(end) else {
                return self.write_long(f);
            };
            if hole > 0 {
                items.push(format!("('', '|V{hole}')"));
            }
            items.push(match &field.shape[..] {
                [] => format!("({}, '{}')", quoted(&field.name), field.dtype),
                shape => format!("({}, '{}', {})", quoted(&field.name), field.dtype, tuple(shape)),
            });
            end = field.offset.saturating_add(field.len_bytes().unwrap_or(u32::MAX));
        }
        match self.itemsize.checked_sub(end) {
            None => return self.write_long(f),
            Some(0) => {}
            Some(hole) => items.push(format!("('', '|V{hole}')")),
        }
        write!(f, "[{}]", items.join(", "))
    }
}

impl Record {
    fn write_long(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |texts: Vec<String>| texts.join(", ");
        let names = join(self.fields.iter().map(|field| quoted(&field.name)).collect());
        let formats = join(self.fields.iter().map(format_of).collect());
        let offsets = join(self.fields.iter().map(|field| field.offset.to_string()).collect());
        let itemsize = self.itemsize;
        write!(
            f,
            "{{'names': [{names}], 'formats': [{formats}], 'offsets': [{offsets}], 'itemsize': {itemsize}"
        )?;
        f.write_str(if self.aligned { ", 'aligned': True}" } else { "}" })
    }
}

fn format_of(field: &Field) -> String {
    match &field.shape[..] {
        [] => format!("'{}'", field.dtype),
        shape => format!("('{}', {})", field.dtype, tuple(shape)),
    }
}

fn tuple(shape: &[u32]) -> String {
    match shape {
        [n] => format!("({n},)"),
        _ => format!("({})", shape.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// A Python string literal.
fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for c in text.chars() {
        // Writing to a `String` cannot fail.
        let _ = match c {
            '\'' | '\\' => write!(literal, "\\{c}"),
            c if c.is_control() || (c as u32) > 0xffff => write!(literal, "\\U{:08x}", c as u32),
            c => write!(literal, "{c}"),
        };
    }
    literal.push('\'');
    literal
}

impl Dtype {
    /// Reads what `Display` writes, and the byte orders `=` and `|` in place of `<`.
    ///
    /// # Errors
    ///
    /// [`DtypeError`]: the text is not a dtype, or not one that a file can hold, such as `|O`.
    pub fn parse(text: &str) -> Result<Self, DtypeError> {
        let mut parser = Parser { text, at: 0 };
        let dtype = match parser.peek() {
            Some('[') => Dtype::Record(Arc::new(parser.list()?)),
            Some('{') => Dtype::Record(Arc::new(parser.long()?)),
            _ => return Ok(Dtype::Plain(Plain::parse(text)?)),
        };
        parser.end()?;
        dtype.validate()?;
        Ok(dtype)
    }
}

impl Plain {
    /// Reads `<f8` and the like.
    ///
    /// # Errors
    ///
    /// [`DtypeError`]: the text is not a dtype, or not one that a file can hold, such as `|O`.
    pub fn parse(text: &str) -> Result<Self, DtypeError> {
        let mut parser = Parser { text, at: 0 };
        let big_endian = parser.skip('>');
        if !big_endian {
            let _ = parser.skip('<') || parser.skip('|') || parser.skip('=');
        }
        let letter = parser.next().ok_or_else(|| parser.expected("a letter"))?;
        let size = if parser.peek().is_some_and(|c| c.is_ascii_digit()) { parser.number()? } else { 1 };
        let unit = if matches!(letter, 'M' | 'm') { parser.unit()? } else { TimeUnit { base: 0, count: 0 } };
        parser.end()?;
        let kind = match letter {
            '?' => Some(Kind::Bool),
            _ => u8::try_from(letter).ok().and_then(|letter| Kind::from_letter(letter, unit)),
        };
        let kind = kind.ok_or(DtypeError::Kind(letter))?;
        let itemsize = match kind {
            Kind::Str => size.checked_mul(4).ok_or(DtypeError::ItemSize { kind: 'U', itemsize: size })?,
            _ => size,
        };
        let mut plain = Plain { kind, itemsize, big_endian };
        plain.big_endian &= plain.has_byte_order();
        plain.validate()?;
        Ok(plain)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn space(&mut self) {
        while self.skip(' ') {}
    }

    fn take(&mut self, wanted: char, expected: &'static str) -> Result<(), DtypeError> {
        self.space();
        if self.skip(wanted) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn expected(&self, expected: &'static str) -> DtypeError {
        let text = self.text.chars().take(200).collect();
        DtypeError::Syntax { text, at: self.at, expected }
    }

    fn end(&mut self) -> Result<(), DtypeError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.expected("the end")) }
    }

    fn number(&mut self) -> Result<u32, DtypeError> {
        self.space();
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        digits.parse().map_err(|_| self.expected("a number below 2^32"))
    }

    fn unit(&mut self) -> Result<TimeUnit, DtypeError> {
        if !self.skip('[') {
            return Ok(TimeUnit { base: (TIME_UNITS.len() - 1) as u8, count: 1 });
        }
        let count = if self.peek().is_some_and(|c| c.is_ascii_digit()) { self.number()? } else { 1 };
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            self.at += 1;
        }
        let name = self.text.get(start..self.at).unwrap_or_default();
        let base =
            TIME_UNITS.iter().position(|unit| *unit == name).ok_or_else(|| self.expected("a time unit"))?;
        self.take(']', "`]`")?;
        Ok(TimeUnit { base: base as u8, count })
    }

    fn string(&mut self) -> Result<String, DtypeError> {
        self.space();
        let quote = match self.next() {
            Some(c @ ('\'' | '"')) => c,
            _ => return Err(self.expected("a string")),
        };
        let mut text = String::new();
        loop {
            match self.next() {
                Some(c) if c == quote => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(c) => text.push(c),
                None => return Err(self.expected("the end of the string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, DtypeError> {
        let digits = match self.next() {
            Some(c @ ('\'' | '"' | '\\')) => return Ok(c),
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err(self.expected("an escape")),
        };
        let hex =
            self.text.get(self.at..self.at + digits).ok_or_else(|| self.expected("hexadecimal digits"))?;
        let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
        self.at += digits;
        c.ok_or_else(|| self.expected("a character"))
    }

    /// `open item, item, ... close`, with or without a comma after the last.
    fn sequence<T>(
        &mut self,
        open: char,
        close: char,
        item: impl Fn(&mut Self) -> Result<T, DtypeError>,
    ) -> Result<Vec<T>, DtypeError> {
        self.take(open, "a bracket")?;
        let mut items = Vec::new();
        loop {
            self.space();
            if self.skip(close) {
                return Ok(items);
            }
            items.push(item(self)?);
            self.space();
            if !self.skip(',') && self.peek() != Some(close) {
                return Err(self.expected("`,` or a closing bracket"));
            }
        }
    }

    fn shape(&mut self) -> Result<Vec<u32>, DtypeError> {
        self.space();
        if self.peek() == Some('(') {
            self.sequence('(', ')', Self::number)
        } else {
            Ok(vec![self.number()?])
        }
    }

    fn list(&mut self) -> Result<Record, DtypeError> {
        let items = self.sequence('[', ']', |parser| {
            parser.take('(', "`(`")?;
            let name = parser.string()?;
            parser.take(',', "`,`")?;
            let dtype = Plain::parse(&parser.string()?)?;
            parser.space();
            let has_shape = parser.skip(',') && {
                parser.space();
                parser.peek() != Some(')')
            };
            let shape = if has_shape { parser.shape()? } else { Vec::new() };
            parser.take(')', "`)`")?;
            Ok(Field { name, dtype, shape, offset: 0 })
        })?;
        let mut itemsize = 0u32;
        let mut fields = Vec::with_capacity(items.len());
        for field in items {
            let len = field.len_bytes().and_then(|len| itemsize.checked_add(len));
            let end = len.ok_or_else(|| DtypeError::FieldShape(field.name.clone()))?;
            let hole = field.name.is_empty() && field.dtype.kind == Kind::Void;
            if !hole {
                fields.push(Field { offset: itemsize, ..field });
            }
            itemsize = end;
        }
        Ok(Record { fields, itemsize, aligned: false })
    }

    fn long(&mut self) -> Result<Record, DtypeError> {
        self.take('{', "`{`")?;
        self.key("names")?;
        let names = self.sequence('[', ']', Self::string)?;
        self.take(',', "`,`")?;
        self.key("formats")?;
        let formats = self.sequence('[', ']', Self::field_format)?;
        self.take(',', "`,`")?;
        self.key("offsets")?;
        let offsets = self.sequence('[', ']', Self::number)?;
        self.take(',', "`,`")?;
        self.key("itemsize")?;
        let itemsize = self.number()?;
        let aligned = self.skip(',');
        if aligned {
            self.key("aligned")?;
            for c in "True".chars() {
                self.take(c, "True")?;
            }
        }
        self.take('}', "`}`")?;
        if names.len() != formats.len() || names.len() != offsets.len() {
            return Err(self.expected("lists of one length"));
        }
        let fields = names.into_iter().zip(formats).zip(offsets);
        let fields = fields.map(|((name, (dtype, shape)), offset)| Field { name, dtype, shape, offset });
        Ok(Record { fields: fields.collect(), itemsize, aligned })
    }

    fn key(&mut self, key: &'static str) -> Result<(), DtypeError> {
        if self.string()? != key {
            return Err(self.expected(key));
        }
        self.take(':', "`:`")
    }

    fn field_format(&mut self) -> Result<(Plain, Vec<u32>), DtypeError> {
        self.space();
        if !self.skip('(') {
            return Ok((Plain::parse(&self.string()?)?, Vec::new()));
        }
        let dtype = Plain::parse(&self.string()?)?;
        self.take(',', "`,`")?;
        let shape = self.shape()?;
        self.take(')', "`)`")?;
        Ok((dtype, shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What NumPy 2.4 writes for the dtype that each text makes.
    const TEXTS: [(&str, &str); 12] = [
        ("<f8", "<f8"),
        ("?", "|b1"),
        ("=i4", "<i4"),
        (">u1", "|u1"),
        (">U5", ">U5"),
        ("|S0", "|S0"),
        ("<M8[ns]", "<M8[ns]"),
        ("<m8[25s]", "<m8[25s]"),
        ("<M8", "<M8"),
        ("[('a','<f8'),('b', '|u1', 3)]", "[('a', '<f8'), ('b', '|u1', (3,))]"),
        (
            "{'names': ['a'], 'formats': ['<f8'], 'offsets': [4], 'itemsize': 16}",
            "[('', '|V4'), ('a', '<f8'), ('', '|V4')]",
        ),
        (
            "{'names': ['b', 'a'], 'formats': [('<f4', (2,)), '|u1'], 'offsets': [4, 0], 'itemsize': 12, 'aligned': True}",
            "{'names': ['b', 'a'], 'formats': [('<f4', (2,)), '|u1'], 'offsets': [4, 0], 'itemsize': 12, 'aligned': True}",
        ),
    ];

    #[test]
    fn dtypes_are_spelled_as_numpy_spells_them() {
        for (text, expected) in TEXTS {
            assert_eq!(expected, Dtype::parse(text).unwrap().to_string());
        }
    }

    #[test]
    fn what_is_not_a_dtype_is_refused_with_the_place() {
        let refused = |text: &str| Dtype::parse(text).unwrap_err().to_string();
        assert_eq!("there is no dtype of kind `O`", refused("|O"));
        assert_eq!("a `f` item cannot have 3 bytes", refused("<f3"));
        assert_eq!("`<f8x` is not a dtype: the end expected at character 3", refused("<f8x"));
        assert_eq!(
            "`<M8[fortnight]` is not a dtype: a time unit expected at character 13",
            refused("<M8[fortnight]")
        );
        assert!(refused("[('a', '<f8'), ('a', '<f8')]").starts_with("field name `a` is empty"));
        assert!(refused("[('a', '<f8', (4294967295, 2))]").contains("shape of field `a` is too large"));
        assert!(refused("[('a', [('b', '<f8')])]").contains("a string expected"));
    }
}
