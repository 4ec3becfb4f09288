//! The text forms of protocol 0 and the byte forms of ints and strings.
#![forbid(unsafe_code)]

use crate::convert::error::Problem;
use crate::model::graph::Node;

const MAX_DIGITS: usize = 4_300;

/// Two's complement little-endian bytes, as LONG1 and LONG4 hold them.
pub(crate) fn int_from_le(bytes: &[u8]) -> Node {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let mut len = bytes.len();
    while len > 1 && bytes[len - 1] == fill && (bytes[len - 2] & 0x80 != 0) == negative {
        len -= 1;
    }
    if len > 8 {
        return Node::BigInt(bytes[..len].into());
    }
    let mut wide = [fill; 8];
    wide[..len].copy_from_slice(&bytes[..len]);
    Node::Int(i64::from_le_bytes(wide))
}

/// The line of INT or LONG: decimal digits, perhaps with a sign and a final `L`.
pub(crate) fn int_from_decimal(line: &[u8]) -> Result<Node, Problem> {
    let text = line.strip_suffix(b"L").unwrap_or(line);
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix(b"+").unwrap_or(text)),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad_text(line, "a decimal int"));
    }
    if digits.len() > MAX_DIGITS {
        return Err(Problem::LongInt { digits: digits.len() });
    }
    let small = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    Ok(small.map_or_else(|| big_decimal(negative, digits), Node::Int))
}

fn big_decimal(negative: bool, digits: &[u8]) -> Node {
    let mut bytes: Vec<u8> = Vec::new();
    for digit in digits {
        let mut carry = u16::from(digit - b'0');
        for byte in &mut bytes {
            carry += u16::from(*byte) * 10;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.push(0);
    if negative {
        let mut carry = true;
        for byte in &mut bytes {
            let (value, over) = (!*byte).overflowing_add(u8::from(carry));
            *byte = value;
            carry = over;
        }
    }
    int_from_le(&bytes)
}

/// The line of FLOAT, as Python's `repr` writes it.
pub(crate) fn float_from_text(line: &[u8]) -> Result<f64, Problem> {
    let text = std::str::from_utf8(line).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| bad_text(line, "a float"))
}

/// The line of PUT and GET.
pub(crate) fn index_from_text(line: &[u8]) -> Result<u64, Problem> {
    let text = std::str::from_utf8(line).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| bad_text(line, "a memo number"))
}

/// UTF-8, with a clear word for surrogates, which Python's pickler passes through.
pub(crate) fn utf8(bytes: Vec<u8>) -> Result<Box<str>, Problem> {
    String::from_utf8(bytes).map(String::into_boxed_str).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        match error.as_bytes().get(at..at + 2) {
            Some([0xed, 0xa0..=0xbf]) => Problem::Surrogate { at },
            _ => Problem::NotUtf8 { at },
        }
    })
}

/// One byte per character; `None` if there are characters beyond Latin-1.
pub(crate) fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// Python 2's `str`: text if it is ASCII, else bytes.
pub(crate) fn python2_string(bytes: Vec<u8>) -> Result<Box<str>, Vec<u8>> {
    if bytes.is_ascii() {
        String::from_utf8(bytes).map(String::into_boxed_str).map_err(std::string::FromUtf8Error::into_bytes)
    } else {
        Err(bytes)
    }
}

/// The line of UNICODE: Latin-1 with `\uXXXX` and `\UXXXXXXXX` (Python's `raw-unicode-escape`).
pub(crate) fn raw_unicode_escape(line: &[u8]) -> Result<Box<str>, Problem> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digits = match (byte, rest.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            (b'\\', Some(&next)) => {
                out.push('\\');
                out.push(char::from(next));
                rest = &rest[1..];
                continue;
            }
            _ => {
                out.push(char::from(byte));
                continue;
            }
        };
        let code = hex(rest.get(1..=digits)).ok_or_else(|| bad_text(line, "text with \\u escapes"))?;
        rest = &rest[digits + 1..];
        out.push(char::from_u32(code).ok_or(match code {
            0xd800..=0xdfff => Problem::Surrogate { at: out.len() },
            _ => bad_text(line, "text with \\u escapes"),
        })?);
    }
    Ok(out.into_boxed_str())
}

/// The line of STRING: a quoted Python 2 string with escapes.
pub(crate) fn quoted_string(line: &[u8]) -> Result<Vec<u8>, Problem> {
    let bad = || bad_text(line, "a quoted string");
    let line_end = line.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |at| at + 1);
    let inner = match &line[..line_end] {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err(bad()),
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&escape, after) = rest.split_first().ok_or_else(bad)?;
        rest = after;
        match escape {
            b'\n' => {}
            b'\\' | b'\'' | b'"' => out.push(escape),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b't' => out.push(b'\t'),
            b'n' => out.push(b'\n'),
            b'v' => out.push(11),
            b'f' => out.push(12),
            b'r' => out.push(b'\r'),
            b'x' => {
                out.push(hex(rest.get(..2)).ok_or_else(bad)? as u8);
                rest = &rest[2..];
            }
            b'0'..=b'7' => {
                let mut code = u32::from(escape - b'0');
                for _ in 0..2 {
                    if let Some((digit @ b'0'..=b'7', after)) = rest.split_first() {
                        code = code * 8 + u32::from(digit - b'0');
                        rest = after;
                    } else {
                        break;
                    }
                }
                out.push(code as u8);
            }
            other => out.extend([b'\\', other]),
        }
    }
    Ok(out)
}

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    let digits = digits?;
    digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
}

pub(crate) fn bad_text(found: &[u8], expected: &'static str) -> Problem {
    let short = found.get(..40).unwrap_or(found);
    Problem::Text { found: short.escape_ascii().to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_ints_of_any_size_give_the_shortest_two_complement() {
        assert_eq!(Node::Int(i64::MIN), int_from_decimal(b"-9223372036854775808L").unwrap());
        let two_63 = int_from_decimal(b"9223372036854775808").unwrap();
        assert_eq!(Node::BigInt([0, 0, 0, 0, 0, 0, 0, 0x80, 0].into()), two_63);
        let minus = int_from_decimal(b"-9223372036854775809").unwrap();
        assert_eq!(Node::BigInt([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff].into()), minus);
        assert_eq!(Problem::LongInt { digits: 4301 }, int_from_decimal(&[b'1'; 4301]).unwrap_err());
        for bad in [&b""[..], b"-", b"1_0", b" 1", b"0x10", b"1LL"] {
            assert!(matches!(int_from_decimal(bad), Err(Problem::Text { .. })), "{bad:?}");
        }
    }

    #[test]
    fn byte_ints_are_sign_extended_and_shortened() {
        assert_eq!(Node::Int(0), int_from_le(b""));
        assert_eq!(Node::Int(255), int_from_le(&[255, 0]));
        assert_eq!(Node::Int(-1), int_from_le(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 255]));
        assert_eq!(Node::Int(-128), int_from_le(&[128]));
        assert_eq!(
            Node::BigInt([0, 0, 0, 0, 0, 0, 0, 0, 1].into()),
            int_from_le(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
        );
    }

    #[test]
    fn escapes_are_those_of_python() {
        assert_eq!(
            "a\u{e9}\u{20ac}\u{1f600}\\n",
            &*raw_unicode_escape(b"a\xe9\\u20ac\\U0001f600\\n").unwrap()
        );
        assert_eq!("\\\\u0041", &*raw_unicode_escape(b"\\\\u0041").unwrap());
        assert_eq!(Problem::Surrogate { at: 1 }, raw_unicode_escape(b"a\\ud800").unwrap_err());
        assert!(matches!(raw_unicode_escape(b"\\u12"), Err(Problem::Text { .. })));
        assert!(matches!(raw_unicode_escape(b"\\Uffffffff"), Err(Problem::Text { .. })));
        assert_eq!(b"a'\n\x80\x01\x07\\q".to_vec(), quoted_string(b"'a\\'\\n\\x80\\1\\007\\q'").unwrap());
        assert!(quoted_string(b"'a").is_err());
        assert!(quoted_string(b"'").is_err());
        assert!(quoted_string(b"'\\x1'").is_err());
    }

    #[test]
    fn surrogates_are_told_from_other_bad_text() {
        assert_eq!(Problem::Surrogate { at: 1 }, utf8(b"a\xed\xa0\x80".to_vec()).unwrap_err());
        assert_eq!(Problem::NotUtf8 { at: 0 }, utf8(b"\xff".to_vec()).unwrap_err());
    }
}
