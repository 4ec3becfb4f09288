//! Sequential reading of a [`ReadAt`] through a small buffer.
#![forbid(unsafe_code)]

use crate::convert::error::{Fault, Problem};
use crate::convert::source::ReadAt;

const CHUNK: u64 = 16 * 1024;

/// A position in a source. Nothing is allocated before the source is seen to be long enough.
pub(crate) struct Window<'a> {
    source: &'a dyn ReadAt,
    len: u64,
    buf: Vec<u8>,
    /// Offset of `buf[0]`.
    start: u64,
    /// Position within `buf`; never past its end.
    pos: usize,
}

impl<'a> Window<'a> {
    /// The first `len` bytes of `source`, which has as many.
    pub(crate) fn new(source: &'a dyn ReadAt, len: u64) -> Self {
        Window { source, len, buf: Vec::new(), start: 0, pos: 0 }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.start + self.pos as u64
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.len.saturating_sub(self.offset())
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Fault> {
        if let Some(&byte) = self.buf.get(self.pos) {
            self.pos += 1;
            return Ok(byte);
        }
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: u64) -> Result<Vec<u8>, Fault> {
        self.require(count)?;
        let mut out = vec![0; usize::try_from(count).map_err(|_| self.ends(count))?];
        self.fill(&mut out)?;
        Ok(out)
    }

    /// Passes over the next `count` bytes, and returns where they are.
    pub(crate) fn skip(&mut self, count: u64) -> Result<std::ops::Range<u64>, Fault> {
        self.require(count)?;
        let from = self.offset();
        let left = (self.buf.len() - self.pos) as u64;
        if count <= left {
            self.pos += count as usize;
        } else {
            self.start = from + count;
            self.buf.clear();
            self.pos = 0;
        }
        Ok(from..from + count)
    }

    /// The bytes up to the next newline, which is passed over; at most `limit` of them.
    pub(crate) fn line(&mut self, limit: u64) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        loop {
            if self.pos == self.buf.len() {
                if self.remaining() == 0 {
                    return Err(Problem::NoLineEnd.into());
                }
                self.refill()?;
            }
            let rest = self.buf.get(self.pos..).unwrap_or(&[]);
            let end = rest.iter().position(|&byte| byte == b'\n');
            out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            self.pos += end.map_or(rest.len(), |end| end + 1);
            if out.len() as u64 > limit {
                return Err(Problem::Limit { name: "held_bytes", limit, asked: out.len() as u64 }.into());
            }
            if end.is_some() {
                return Ok(out);
            }
        }
    }

    fn ends(&self, need: u64) -> Fault {
        Problem::Ends { need, have: self.remaining() }.into()
    }

    fn require(&self, count: u64) -> Result<(), Fault> {
        if count > self.remaining() { Err(self.ends(count)) } else { Ok(()) }
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), Fault> {
        self.require(out.len() as u64)?;
        let mut done = 0;
        while done < out.len() {
            if self.pos == self.buf.len() {
                let rest = &mut out[done..];
                if rest.len() as u64 >= CHUNK {
                    let at = self.offset();
                    self.source.read_exact_at(at, rest).map_err(Fault::Read)?;
                    self.start = at + rest.len() as u64;
                    self.buf.clear();
                    self.pos = 0;
                    return Ok(());
                }
                self.refill()?;
            }
            let count = (out.len() - done).min(self.buf.len() - self.pos);
            out[done..done + count].copy_from_slice(&self.buf[self.pos..self.pos + count]);
            self.pos += count;
            done += count;
        }
        Ok(())
    }

    /// Reads the next chunk; at least one byte is left.
    fn refill(&mut self) -> Result<(), Fault> {
        let at = self.offset();
        let count = CHUNK.min(self.remaining()) as usize;
        self.buf.resize(count, 0);
        self.source.read_exact_at(at, &mut self.buf).map_err(Fault::Read)?;
        self.start = at;
        self.pos = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lines_and_skips_cross_chunk_borders() {
        let data: Vec<u8> =
            (0..100_000u32).map(|i| if i % 20_011 == 20_010 { b'\n' } else { (i % 10) as u8 + 48 }).collect();
        let mut window = Window::new(&data, data.len() as u64);
        assert_eq!(data[..20_010], window.line(1 << 20).unwrap()[..]);
        assert_eq!(20_011..53_011, window.skip(33_000).unwrap());
        assert_eq!(data[53_011..83_011], window.bytes(30_000).unwrap()[..]);
        assert_eq!(data[83_011], window.byte().unwrap());
        assert_eq!(16_988, window.remaining());
        assert!(matches!(
            window.bytes(16_989),
            Err(Fault::Problem(Problem::Ends { need: 16_989, have: 16_988 }))
        ));
    }
}
