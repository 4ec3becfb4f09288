//! The identity of a file: a hash of its content, the same for the hot and the cold form.
#![forbid(unsafe_code)]

use std::fmt;

use crate::format::dtype::{Dtype, Plain};
use crate::format::{ArrayInfo, Order, Role};

/// A BLAKE3 hash. `Display` gives 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Hashes what a file says, not how it is stored: offsets, codecs and checksums are left out.
pub(crate) struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    pub(crate) fn new() -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"onecopy content 1\0");
        ContentHasher(hasher)
    }

    /// The next array, in the order of ids.
    pub(crate) fn array(&mut self, name: &str, info: &ArrayInfo, role: Role, digest: &Digest) {
        self.bytes(name.as_bytes());
        self.dtype(&info.dtype);
        self.number(info.shape.len() as u64);
        for &n in &info.shape {
            self.number(n);
        }
        self.0.update(&[u8::from(info.order == Order::F), u8::from(role == Role::Rebuild)]);
        self.0.update(&digest.0);
    }

    /// Graph, plan and metadata close the file.
    pub(crate) fn finish(mut self, graph: &[u8], plan: &[u8], metadata: &[u8]) -> Digest {
        self.0.update(b"parts");
        self.bytes(graph);
        self.bytes(plan);
        self.bytes(metadata);
        Digest(*self.0.finalize().as_bytes())
    }

    fn dtype(&mut self, dtype: &Dtype) {
        match dtype {
            Dtype::Plain(plain) => self.plain(plain),
            Dtype::Record(record) => {
                self.0.update(&[b'r', u8::from(record.aligned)]);
                self.number(u64::from(record.itemsize));
                self.number(record.fields.len() as u64);
                for field in &record.fields {
                    self.bytes(field.name.as_bytes());
                    self.plain(&field.dtype);
                    self.number(u64::from(field.offset));
                    self.number(field.shape.len() as u64);
                    for &n in &field.shape {
                        self.number(u64::from(n));
                    }
                }
            }
        }
    }

    fn plain(&mut self, plain: &Plain) {
        let unit = plain.kind.unit();
        self.0.update(&[plain.kind.letter(), u8::from(plain.big_endian), unit.base]);
        self.number(u64::from(unit.count));
        self.number(u64::from(plain.itemsize));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn number(&mut self, n: u64) {
        self.0.update(&n.to_le_bytes());
    }
}
