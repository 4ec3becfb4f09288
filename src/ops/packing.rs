//! Arrays that are packed as they come, so that an archive needs no file beside it that could be mapped.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::format::lanes::{NewArray, Pull};
use crate::format::writer::{Pieces, WriteError, Writer};
use crate::format::{ArrayId, ArrayInfo, Role};
use crate::mapping::Mapping;
use crate::model::array::{ArraySink, as_io};

/// Bytes that are gathered in memory; more go to a file without a name.
const MEMORY: u64 = 64 << 20;

/// Packs arrays. Those that come as streams are gathered first: how an array is packed depends on samples of all of it.
pub(super) struct PackingSink<'a, W> {
    writer: &'a mut Writer<W>,
    /// Where there is room for what memory shall not hold.
    folder: &'a Path,
    memory: u64,
    /// Memory of arrays that have been packed.
    spare: Vec<Vec<u8>>,
}

/// Arrays whose bytes came by turns.
enum Gathered {
    Memory(Vec<Vec<u8>>),
    /// All of them in one file, and where each lies.
    File(Mapping, Vec<Range<usize>>),
}

impl<'a, W: Write + Seek + Send> PackingSink<'a, W> {
    /// Packs into `writer`; `folder` has room for files.
    pub(super) fn new(writer: &'a mut Writer<W>, folder: &'a Path) -> Self {
        PackingSink { writer, folder, memory: MEMORY, spare: Vec::new() }
    }

    fn pack(&mut self, array: &NewArray<'_>, bytes: &[u8]) -> io::Result<ArrayId> {
        self.add_slices(array.name, array.info, array.role, &|range| bytes.get(in_memory(&range)?))
    }

    fn gather(&mut self, arrays: &[NewArray<'_>], pull: &mut Pull<'_>) -> io::Result<Gathered> {
        let lens: Option<Vec<u64>> = arrays.iter().map(|array| array.info.len_bytes()).collect();
        let lens = lens.ok_or(io::ErrorKind::InvalidInput)?;
        let total = lens.iter().fold(0, |sum: u64, len| sum.saturating_add(*len));
        if total > self.memory {
            return spool(self.folder, arrays, &lens, pull);
        }
        let mut gathered: Vec<Vec<u8>> = Vec::with_capacity(arrays.len());
        for &len in &lens {
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            bytes.reserve_exact(len as usize);
            gathered.push(bytes);
        }
        while let Some(parts) = pull()? {
            for ((array, part), (bytes, &len)) in arrays.iter().zip(parts).zip(gathered.iter_mut().zip(&lens))
            {
                fits(array, bytes.len() as u64, part.len(), len)?;
                bytes.extend_from_slice(&part);
            }
        }
        let mut found = gathered.iter().map(|bytes| bytes.len() as u64);
        complete(lens.iter().all(|len| found.next() == Some(*len)))?;
        Ok(Gathered::Memory(gathered))
    }
}

/// Gathers arrays in a file without a name.
fn spool(folder: &Path, arrays: &[NewArray<'_>], lens: &[u64], pull: &mut Pull<'_>) -> io::Result<Gathered> {
    let file = tempfile::tempfile_in(folder)?;
    let mut ranges = Vec::with_capacity(lens.len());
    let mut end: u64 = 0;
    for len in lens {
        let start = end;
        end = start.checked_add(*len).ok_or(io::ErrorKind::FileTooLarge)?;
        ranges.push(start..end);
    }
    let mut filled: Vec<u64> = ranges.iter().map(|range| range.start).collect();
    while let Some(parts) = pull()? {
        for ((array, part), (at, range)) in arrays.iter().zip(parts).zip(filled.iter_mut().zip(&ranges)) {
            fits(array, *at - range.start, part.len(), range.end - range.start)?;
            file.write_all_at(&part, *at)?;
            *at += part.len() as u64;
        }
    }
    complete(filled.iter().zip(&ranges).all(|(at, range)| *at == range.end))?;
    let ranges: Option<Vec<Range<usize>>> = ranges.iter().map(in_memory).collect();
    Ok(Gathered::File(map(file, folder)?, ranges.ok_or(io::ErrorKind::FileTooLarge)?))
}

fn map(file: File, folder: &Path) -> io::Result<Mapping> {
    Mapping::of_file(file, folder).map_err(io::Error::other)
}

fn in_memory(range: &Range<u64>) -> Option<Range<usize>> {
    Some(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

fn fits(array: &NewArray<'_>, at: u64, more: usize, len: u64) -> io::Result<()> {
    if at + more as u64 > len {
        let array = array.name.to_owned();
        return Err(io::Error::other(WriteError::TooMuchInput { array, expected: len }));
    }
    Ok(())
}

fn complete(is_complete: bool) -> io::Result<()> {
    if is_complete { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

impl<W: Write + Seek + Send> ArraySink for PackingSink<'_, W> {
    fn add(&mut self, name: &str, info: &ArrayInfo, role: Role, data: &mut dyn Read) -> io::Result<ArrayId> {
        let array = NewArray { name, info, role };
        let len = info.len_bytes().ok_or(io::ErrorKind::InvalidInput)?;
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        let mapped = if len > self.memory {
            let mut file = tempfile::tempfile_in(self.folder)?;
            complete(io::copy(&mut data.take(len), &mut file)? == len)?;
            Some(map(file, self.folder)?)
        } else {
            bytes.reserve_exact(len as usize);
            data.take(len).read_to_end(&mut bytes)?;
            complete(bytes.len() as u64 == len)?;
            None
        };
        fits(&array, len, io::copy(&mut data.take(1), &mut io::sink())? as usize, len)?;
        let added = self.pack(&array, mapped.as_ref().map_or(&bytes, |mapped| mapped.as_ref()));
        self.spare.push(bytes);
        added
    }

    fn add_slices(
        &mut self,
        name: &str,
        info: &ArrayInfo,
        role: Role,
        piece: Pieces<'_, '_>,
    ) -> io::Result<ArrayId> {
        self.writer.packed_in_memory(&NewArray { name, info, role }, piece).map_err(as_io)
    }

    fn add_together(&mut self, arrays: &[NewArray<'_>], pull: &mut Pull<'_>) -> io::Result<Vec<ArrayId>> {
        match self.gather(arrays, pull)? {
            Gathered::Memory(gathered) => {
                let ids =
                    arrays.iter().zip(&gathered).map(|(array, bytes)| self.pack(array, bytes)).collect();
                self.spare.extend(gathered);
                ids
            }
            Gathered::File(mapping, ranges) => {
                let all = mapping.as_ref();
                let pack = |(array, range): (&NewArray<'_>, Range<usize>)| {
                    self.pack(array, all.get(range).unwrap_or_default())
                };
                arrays.iter().zip(ranges).map(pack).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::format::codec::{Codec, Level};
    use crate::format::dtype::Dtype;
    use crate::format::writer::Parts;
    use crate::ops::rewrite::{ArchiveOptions, archive};
    use crate::store::fs::publish;

    /// Lengths around that of a block, two of them of the same bytes.
    const LENS: [usize; 6] = [3 << 20, 0, 7, (1 << 20) + 1, 3 << 20, 1 << 20];

    fn arrays() -> Vec<(String, ArrayInfo, Vec<u8>)> {
        let bytes = |len: usize| (0..len).map(|i| (i / 7 * i % 251) as u8).collect();
        let array = |(name, len): (usize, usize)| {
            (name.to_string(), ArrayInfo::new(Dtype::U8, [len as u64]), bytes(len))
        };
        LENS.into_iter().enumerate().map(array).collect()
    }

    /// Some arrays together, each in pieces of a length of its own, the others one by one.
    fn fill(sink: &mut dyn ArraySink, arrays: &[(String, ArrayInfo, Vec<u8>)]) -> io::Result<()> {
        let (first, rest) = arrays.split_at(4);
        let new = |(name, info, _): &'_ (String, ArrayInfo, Vec<u8>)| (name.clone(), info.clone());
        let owned: Vec<_> = first.iter().map(new).collect();
        let new: Vec<_> =
            owned.iter().map(|(name, info)| NewArray { name, info, role: Role::Rebuild }).collect();
        let mut round = 0;
        sink.add_together(&new, &mut || {
            round += 1;
            let part =
                |bytes: &[u8]| bytes.chunks(bytes.len() / 7 + 1).nth(round - 1).unwrap_or(&[]).to_vec();
            Ok((round <= 7).then(|| first.iter().map(|(.., bytes)| part(bytes)).collect()))
        })?;
        for (name, info, bytes) in rest {
            sink.add(name, info, Role::Predict, &mut bytes.as_slice())?;
        }
        Ok(())
    }

    fn packed(memory: u64, arrays: &[(String, ArrayInfo, Vec<u8>)]) -> io::Result<Vec<u8>> {
        let dir = tempfile::tempdir()?;
        let mut writer = Writer::packing(Cursor::new(Vec::new()), Level::Fast).unwrap();
        let mut sink = PackingSink { memory, ..PackingSink::new(&mut writer, dir.path()) };
        fill(&mut sink, arrays)?;
        assert_eq!(0, std::fs::read_dir(dir.path())?.count());
        Ok(writer.finish(&Parts::default()).unwrap().0.into_inner())
    }

    #[test]
    fn arrays_packed_as_they_come_give_the_archive_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let [hot, cold] = ["hot", "cold"].map(|name| dir.path().join(name));
        publish(&hot, |file| {
            let mut writer = Writer::new(file, Codec::Raw)?;
            fill(&mut writer, &arrays()).unwrap();
            writer.finish(&Parts::default()).map(drop)
        })
        .unwrap();
        archive(&hot, &cold, &ArchiveOptions { level: Level::Fast }, &|_| {}).unwrap();
        let expected = std::fs::read(&cold).unwrap();
        for memory in [0, 2 << 20, 3 << 20, MEMORY] {
            assert!(expected == packed(memory, &arrays()).unwrap(), "{memory} bytes in memory");
        }
    }

    #[test]
    fn too_many_and_too_few_bytes_are_errors_wherever_they_are_gathered() {
        for memory in [0, MEMORY] {
            for (array, len) in [(0, 9), (0, 4 << 20), (4, 9), (4, 4 << 20)] {
                let mut arrays = arrays();
                arrays[array].2.resize(len, 0);
                let error = packed(memory, &arrays).unwrap_err();
                let expected = if len == 9 { "unexpected end of file" } else { "takes 3145728 bytes" };
                assert!(error.to_string().contains(expected), "{error}");
            }
        }
    }
}
