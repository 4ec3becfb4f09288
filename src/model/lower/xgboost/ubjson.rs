//! Universal Binary JSON as XGBoost writes it, for serde.
//!
//! Recursion follows the types that are read, never the input: what no type asks for is passed over with a stack of
//! bounded depth. A length is believed only if as many bytes are there.
#![forbid(unsafe_code)]
#![allow(clippy::big_endian_bytes, reason = "numbers of UBJSON are big-endian")]

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Nesting of values that are passed over.
const MAX_DEPTH: usize = 128;

/// Why bytes are not such a value.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct UbjsonError {
    what: String,
}

impl Error for UbjsonError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        UbjsonError { what: message.to_string() }
    }
}

type Read<T> = Result<T, UbjsonError>;

/// Reads all of `bytes` as one value.
pub(super) fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Read<T> {
    let mut reader = Reader { bytes, at: 0 };
    let read = T::deserialize(Value { marker: None, reader: &mut reader });
    let value = read.map_err(|error| UbjsonError { what: format!("{error} at byte {}", reader.at) })?;
    match bytes.len() - reader.at {
        0 => Ok(value),
        count => Err(UbjsonError { what: format!("{count} bytes follow the value at byte {}", reader.at) }),
    }
}

/// Bytes of a number with this marker.
fn size_of_number(marker: u8) -> Option<usize> {
    match marker {
        b'i' | b'U' => Some(1),
        b'I' => Some(2),
        b'l' | b'd' => Some(4),
        b'L' | b'D' => Some(8),
        _ => None,
    }
}

/// What follows the marker of an array or object.
#[derive(Clone, Copy)]
struct Items {
    /// The marker of every value, which then has none of its own.
    marker: Option<u8>,
    /// How many are to come; without it an end mark follows the last one.
    left: Option<usize>,
}

struct Reader<'de> {
    bytes: &'de [u8],
    at: usize,
}

impl<'de> Reader<'de> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, len: usize) -> Read<&'de [u8]> {
        let taken = self.at.checked_add(len).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken
            .ok_or_else(|| Error::custom(format!("{len} bytes are expected, {} are there", self.left())))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn next_is(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// A length with its marker; bytes for at least so many values of `size` are there.
    fn len(&mut self, size: usize) -> Read<usize> {
        let found = match self.byte()? {
            b'i' => i64::from(i8::from_be_bytes(self.array()?)),
            b'U' => i64::from(self.byte()?),
            b'I' => i64::from(i16::from_be_bytes(self.array()?)),
            b'l' => i64::from(i32::from_be_bytes(self.array()?)),
            b'L' => i64::from_be_bytes(self.array()?),
            marker => return Err(unexpected(marker, "a length")),
        };
        let len = usize::try_from(found).ok();
        len.filter(|len| len.checked_mul(size).is_some_and(|bytes| bytes <= self.left())).ok_or_else(|| {
            Error::custom(format!("a length is {found}, but only {} bytes are there", self.left()))
        })
    }

    fn text(&mut self) -> Read<&'de str> {
        let len = self.len(1)?;
        std::str::from_utf8(self.take(len)?).map_err(|_| Error::custom("a text is not UTF-8"))
    }

    fn items(&mut self) -> Read<Items> {
        if self.next_is(b'$') {
            let marker = self.byte()?;
            let size = size_of_number(marker).ok_or_else(|| unexpected(marker, "a type of numbers"))?;
            if !self.next_is(b'#') {
                return Err(Error::custom("a type without a length"));
            }
            return Ok(Items { marker: Some(marker), left: Some(self.len(size)?) });
        }
        let left = if self.next_is(b'#') { Some(self.len(1)?) } else { None };
        Ok(Items { marker: None, left })
    }

    /// Whether another item follows.
    fn more(&mut self, items: &mut Items, end: u8) -> bool {
        match &mut items.left {
            None => !self.next_is(end),
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// Passes over a value.
    fn skip(&mut self, marker: u8) -> Read<()> {
        let mut open: Vec<(Items, u8)> = Vec::new();
        let mut marker = Some(marker);
        loop {
            if let Some(marker) = marker.take() {
                match marker {
                    b'{' | b'[' if open.len() == MAX_DEPTH => {
                        return Err(Error::custom(format!("values are nested more than {MAX_DEPTH} deep")));
                    }
                    b'{' => open.push((self.items()?, b'}')),
                    b'[' => open.push((self.items()?, b']')),
                    b'S' => self.text().map(|_| ())?,
                    b'C' => self.byte().map(|_| ())?,
                    b'T' | b'F' | b'Z' => {}
                    number => {
                        let size = size_of_number(number).ok_or_else(|| unexpected(number, "a value"))?;
                        self.take(size)?;
                    }
                }
            }
            let Some((items, end)) = open.last_mut() else { return Ok(()) };
            if !self.more(items, *end) {
                open.pop();
                continue;
            }
            if *end == b'}' {
                self.text()?;
            }
            marker = Some(match items.marker {
                Some(marker) => marker,
                None => self.byte()?,
            });
        }
    }
}

fn unexpected(marker: u8, expected: &str) -> UbjsonError {
    Error::custom(format!("{expected} is expected, found {:?}", char::from(marker)))
}

/// A value; its marker is read already, or comes first.
struct Value<'r, 'de> {
    marker: Option<u8>,
    reader: &'r mut Reader<'de>,
}

impl<'de> Value<'_, 'de> {
    fn marker(&mut self) -> Read<u8> {
        match self.marker {
            Some(marker) => Ok(marker),
            None => self.reader.byte(),
        }
    }
}

impl<'de> Deserializer<'de> for Value<'_, 'de> {
    type Error = UbjsonError;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Read<V::Value> {
        let marker = self.marker()?;
        let reader = self.reader;
        match marker {
            b'{' => visitor.visit_map(Container { items: reader.items()?, reader }),
            b'[' => visitor.visit_seq(Container { items: reader.items()?, reader }),
            b'S' => visitor.visit_borrowed_str(reader.text()?),
            b'C' => visitor.visit_char(char::from(reader.byte()?)),
            b'T' => visitor.visit_bool(true),
            b'F' => visitor.visit_bool(false),
            b'Z' => visitor.visit_unit(),
            b'i' => visitor.visit_i8(i8::from_be_bytes(reader.array()?)),
            b'U' => visitor.visit_u8(reader.byte()?),
            b'I' => visitor.visit_i16(i16::from_be_bytes(reader.array()?)),
            b'l' => visitor.visit_i32(i32::from_be_bytes(reader.array()?)),
            b'L' => visitor.visit_i64(i64::from_be_bytes(reader.array()?)),
            b'd' => visitor.visit_f32(f32::from_be_bytes(reader.array()?)),
            b'D' => visitor.visit_f64(f64::from_be_bytes(reader.array()?)),
            marker => Err(unexpected(marker, "a value")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Read<V::Value> {
        match self.marker()? {
            b'Z' => visitor.visit_none(),
            marker => visitor.visit_some(Value { marker: Some(marker), reader: self.reader }),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(mut self, visitor: V) -> Read<V::Value> {
        let marker = self.marker()?;
        self.reader.skip(marker)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// The items of an array or object.
struct Container<'r, 'de> {
    items: Items,
    reader: &'r mut Reader<'de>,
}

impl<'de> SeqAccess<'de> for Container<'_, 'de> {
    type Error = UbjsonError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Read<Option<T::Value>> {
        if !self.reader.more(&mut self.items, b']') {
            return Ok(None);
        }
        seed.deserialize(Value { marker: self.items.marker, reader: self.reader }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        self.items.left
    }
}

impl<'de> MapAccess<'de> for Container<'_, 'de> {
    type Error = UbjsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Read<Option<K::Value>> {
        if !self.reader.more(&mut self.items, b'}') {
            return Ok(None);
        }
        seed.deserialize(BorrowedStrDeserializer::new(self.reader.text()?)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Read<V::Value> {
        seed.deserialize(Value { marker: self.items.marker, reader: self.reader })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Known {
        floats: Vec<f32>,
        ints: Vec<i64>,
        text: Option<String>,
    }

    fn key(name: &str) -> Vec<u8> {
        [&b"L"[..], &(name.len() as i64).to_be_bytes(), name.as_bytes()].concat()
    }

    fn object(pairs: &[(&str, &[u8])]) -> Vec<u8> {
        let pairs = pairs.iter().flat_map(|(name, value)| [key(name), value.to_vec()].concat());
        [b"{".to_vec(), pairs.collect(), b"}".to_vec()].concat()
    }

    fn known() -> Vec<u8> {
        let floats = [&b"[$d#i\x02"[..], &1.5f32.to_be_bytes(), &(-0.0f32).to_be_bytes()].concat();
        let ints = b"[#i\x05i\xffU\xffI\x01\x00l\x00\x01\x00\x00L\x7f\xff\xff\xff\xff\xff\xff\xff";
        let text = [&b"S"[..], &key("h\u{e4}")].concat();
        object(&[
            ("nested", b"[{i\x01a[$U#i\x02\x07\x07i\x01bZ}[[T]FC+]]"),
            ("floats", &floats),
            ("ints", ints),
            ("more", b"{#i\x01i\x01kD\0\0\0\0\0\0\0\0"),
            ("text", &text),
        ])
    }

    fn error<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> String {
        from_slice::<T>(bytes).err().expect("no value").to_string()
    }

    #[test]
    fn numbers_texts_and_containers_of_every_form_are_read_and_others_passed_over() {
        let expected = Known {
            floats: vec![1.5, -0.0],
            ints: vec![-1, 255, 256, 65536, i64::MAX],
            text: Some("h\u{e4}".to_owned()),
        };
        assert_eq!(expected, from_slice(&known()).unwrap());
        let objects: BTreeMap<String, bool> = from_slice(b"{i\x01aTi\x01bF}").unwrap();
        assert_eq!(vec![true, false], objects.into_values().collect::<Vec<_>>());
        assert_eq!(None, from_slice::<Option<i64>>(b"Z").unwrap());
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = known();
        for len in 0..whole.len() {
            assert!(from_slice::<Known>(&whole[..len]).is_err(), "{len} bytes");
        }
        let longer = [whole, b"Z".to_vec()].concat();
        assert!(error::<Known>(&longer).starts_with("1 bytes follow the value"));
    }

    #[test]
    fn lengths_are_believed_only_if_the_bytes_are_there() {
        for bytes in [
            &b"[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff"[..],
            b"[$L#L\x20\x00\x00\x00\x00\x00\x00\x00\0\0\0\0\0\0\0\0",
            b"[#L\x7f\xff\xff\xff\xff\xff\xff\xffi\x01",
            b"[$d#i\xff",
            b"[#l\xff\xff\xff\xff",
        ] {
            assert!(error::<Vec<f32>>(bytes).starts_with("a length is"), "{bytes:?}");
        }
        assert!(error::<String>(b"SL\x00\x00\x00\x00\x00\x00\x00\x02a").starts_with("a length is 2"));
        assert!(
            error::<Vec<bool>>(b"[$T#L\x7f\xff\xff\xff\xff\xff\xff\xff").starts_with("a type of numbers")
        );
        assert!(error::<Vec<f32>>(b"[$dd").starts_with("a type without a length"));
    }

    #[test]
    fn nesting_beyond_what_is_asked_for_is_bounded() {
        let deep = |depth: usize| object(&[("x", &[vec![b'['; depth], vec![b']'; depth]].concat())]);
        #[derive(Deserialize)]
        struct Nothing {}
        from_slice::<Nothing>(&deep(MAX_DEPTH)).unwrap();
        assert!(error::<Nothing>(&deep(MAX_DEPTH + 1)).contains("nested more than 128"));
        assert!(error::<Nothing>(&deep(1 << 20)).contains("nested more than 128"));
    }

    #[test]
    fn what_is_no_value_is_named() {
        assert_eq!("a value is expected, found 'x' at byte 1", error::<i64>(b"x"));
        assert!(error::<String>(b"Si\x01\xff").contains("not UTF-8"));
        assert!(error::<BTreeMap<String, i64>>(b"{S").contains("a length is expected"));
    }
}
