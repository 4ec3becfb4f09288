//! Decoded bytes that are too long to hold: they go to a temporary file, addressed after the end of the source.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;

use crate::convert::source::ReadAt;

/// Gives an unlinked temporary file to write and read.
pub(crate) type Spool<'a> = &'a mut dyn FnMut() -> io::Result<File>;

/// Appends to a temporary file that is made when first needed.
pub(crate) struct Spill<'a> {
    spool: Spool<'a>,
    file: Option<File>,
    end: u64,
}

impl<'a> Spill<'a> {
    /// The first byte spilled has offset `source_len`.
    pub(crate) fn new(spool: Spool<'a>, source_len: u64) -> Self {
        Spill { spool, file: None, end: source_len }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<Range<u64>> {
        let file = match &mut self.file {
            Some(file) => file,
            slot => slot.insert((self.spool)()?),
        };
        file.write_all(bytes)?;
        let start = self.end;
        self.end += bytes.len() as u64;
        Ok(start..self.end)
    }

    pub(crate) fn into_file(self) -> Option<File> {
        self.file
    }
}

/// A source, followed by what was spilled.
pub(crate) struct Joined {
    pub(crate) source: Box<dyn ReadAt>,
    pub(crate) source_len: u64,
    pub(crate) spilled: File,
}

impl ReadAt for Joined {
    fn len_bytes(&self) -> u64 {
        self.source_len + self.spilled.len_bytes()
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match offset.checked_sub(self.source_len) {
            Some(offset) => ReadAt::read_exact_at(&self.spilled, offset, buf),
            None => self.source.read_exact_at(offset, buf),
        }
    }
}
