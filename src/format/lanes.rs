//! Several arrays that are written side by side, because their bytes come by turns.
#![forbid(unsafe_code)]

use std::io;

use crate::format::chunk::{Chunk, Flush};
use crate::format::codec::{Codec, Trials};
use crate::format::digest::Digest;
use crate::format::sums::BlockSums;
use crate::format::table::{Stored, alignment};
use crate::format::writer::WriteError;
use crate::format::{ArrayInfo, Role};

/// What one of several arrays shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewArray<'a> {
    /// Unique in the file.
    pub(crate) name: &'a str,
    /// Type, shape and order.
    pub(crate) info: &'a ArrayInfo,
    /// Who touches it.
    pub(crate) role: Role,
}

/// Gives the next bytes of each of several arrays, some perhaps none; `None` after the last.
pub(crate) type Pull<'a> = dyn FnMut() -> io::Result<Option<Vec<Vec<u8>>>> + 'a;

/// Most bytes that are reserved for an array before they come.
const RESERVED: u64 = 8 << 20;

/// All bytes of arrays that are in memory otherwise.
pub(crate) fn gather(arrays: &[NewArray<'_>], pull: &mut Pull<'_>) -> io::Result<Vec<Vec<u8>>> {
    let room = |array: &NewArray<'_>| array.info.len_bytes().unwrap_or(0).min(RESERVED) as usize;
    let mut arrays: Vec<Vec<u8>> = arrays.iter().map(|array| Vec::with_capacity(room(array))).collect();
    while let Some(parts) = pull()? {
        arrays.iter_mut().zip(parts).for_each(|(array, part)| array.extend_from_slice(&part));
    }
    Ok(arrays)
}

/// Bytes that are hashed at once, soon enough to find them in the cache of a core.
const CHECKED: usize = 64 << 10;
/// BLAKE3 hashes multiples of these at full speed.
const TREE: usize = 16 << 10;

/// Bytes of a lane that are written at once. What all lanes fill together stays in the cache until it is written.
pub(super) const LANE_CHUNK: usize = 256 << 10;

/// One of several arrays whose bytes come by turns.
pub(super) struct Lane<'a> {
    array: &'a str,
    pub(super) chunk: Chunk,
    offset: u64,
    len: u64,
    left: u64,
    hasher: blake3::Hasher,
    sums: BlockSums,
    /// Bytes at the end of the chunk that are in no checksum yet.
    fresh: usize,
}

impl<'a> Lane<'a> {
    pub(super) fn new(
        array: &'a str,
        mut chunk: Chunk,
        len: u64,
        flush: Flush<'_>,
    ) -> Result<Self, WriteError> {
        let offset = chunk.align(alignment(Codec::Raw.storage(), len), flush)?;
        let (hasher, sums) = (blake3::Hasher::new(), BlockSums::default());
        Ok(Lane { array, chunk, offset, len, left: len, hasher, sums, fresh: 0 })
    }

    /// Offset behind the array.
    pub(super) fn end(&self) -> Result<u64, WriteError> {
        let full = || WriteError::Output { offset: self.offset, source: io::ErrorKind::FileTooLarge.into() };
        self.offset.checked_add(self.len).ok_or_else(full)
    }

    pub(super) fn into_stored(self) -> Stored {
        Stored {
            storage: Codec::Raw.storage(),
            offset: self.offset,
            stored_len: self.len,
            raw_len: self.len,
            digest: Digest(*self.hasher.finalize().as_bytes()),
            blocks: self.sums.finish(),
            trials: Trials::default(),
            copy_of: None,
        }
    }

    fn put(&mut self, mut bytes: &[u8], flush: Flush<'_>) -> Result<(), WriteError> {
        let too_much = || WriteError::TooMuchInput { array: self.array.to_owned(), expected: self.len };
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(too_much)?;
        while !bytes.is_empty() {
            if self.chunk.is_full() {
                self.check();
                flush(&mut self.chunk)?;
            }
            let room = self.chunk.room(bytes.len() as u64, flush)?.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.chunk.put(now, flush)?;
            self.fresh += now.len();
            if self.fresh >= CHECKED {
                self.check();
            }
            bytes = later;
        }
        if self.left == 0 {
            self.check();
        }
        Ok(())
    }

    /// Takes the fresh bytes into the checksums, many at a time, while they are still in a core's cache. Those that do not
    /// fill a part of the hash tree stay fresh, unless no others will follow them in the chunk.
    fn check(&mut self) {
        let ends = self.left == 0 || self.chunk.is_full();
        let now = if ends { self.fresh } else { self.fresh - self.fresh % TREE };
        let start = self.chunk.used - self.fresh;
        let bytes = &self.chunk.bytes[start..start + now];
        self.hasher.update(bytes);
        self.sums.update(bytes);
        self.fresh -= now;
    }
}

/// Fills all lanes.
pub(super) fn fill(lanes: &mut [Lane<'_>], pull: &mut Pull<'_>, flush: Flush<'_>) -> Result<(), WriteError> {
    let failed = |lane: &Lane<'_>, source| {
        Err(WriteError::Input { array: lane.array.to_owned(), offset: lane.len - lane.left, source })
    };
    loop {
        match (pull(), lanes.first()) {
            (Ok(None), _) => break,
            (Err(source), Some(first)) => return failed(first, source),
            (Err(_), None) => break,
            (Ok(Some(parts)), _) => {
                for (lane, part) in lanes.iter_mut().zip(parts) {
                    lane.put(&part, flush)?;
                }
            }
        }
    }
    if let Some(short) = lanes.iter().find(|lane| lane.left > 0) {
        return failed(short, io::ErrorKind::UnexpectedEof.into());
    }
    lanes.iter_mut().try_for_each(|lane| flush(&mut lane.chunk))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Seek, SeekFrom, Write};

    use super::*;
    use crate::format::dtype::Dtype;
    use crate::format::writer::{Parts, Writer};

    /// Lengths around those of blocks and chunks, 13 MiB in all.
    const LENS: [usize; 7] = [5 << 20, 0, 3, (1 << 20) + 1, 70_000, 1 << 21, (5 << 20) - 64];

    fn arrays() -> Vec<(String, ArrayInfo, Vec<u8>)> {
        let bytes = |salt: usize, len: usize| (0..len).map(|i| ((i * 31 + salt) % 251) as u8).collect();
        let array = |(salt, len): (usize, usize)| {
            (salt.to_string(), ArrayInfo::new(Dtype::U8, [len as u64]), bytes(salt, len))
        };
        LENS.into_iter().enumerate().map(array).collect()
    }

    fn together<W: Write + Seek + Send>(
        writer: &mut Writer<W>,
        arrays: &[(String, ArrayInfo, Vec<u8>)],
        change: impl Fn(usize, &mut Vec<Vec<u8>>),
    ) -> Result<(), WriteError> {
        let new = |(name, info, _): &'_ (String, ArrayInfo, Vec<u8>)| (name.clone(), info.clone());
        let owned: Vec<_> = arrays.iter().map(new).collect();
        let new: Vec<_> =
            owned.iter().map(|(name, info)| NewArray { name, info, role: Role::Rebuild }).collect();
        let mut round = 0;
        let mut pull = || {
            let part = |(_, _, bytes): &(String, ArrayInfo, Vec<u8>)| {
                let step = (bytes.len() / 7 + 1, bytes.len());
                bytes[(round * step.0).min(step.1)..((round + 1) * step.0).min(step.1)].to_vec()
            };
            let mut parts: Vec<Vec<u8>> = arrays.iter().map(part).collect();
            change(round, &mut parts);
            round += 1;
            Ok((round <= 7).then_some(parts))
        };
        writer.together(&new, &mut pull).map(drop)
    }

    #[test]
    fn arrays_written_together_lie_as_if_written_one_after_the_other() {
        let arrays = arrays();
        let write = |at_once: bool| {
            let mut writer = Writer::new(Cursor::new(Vec::new()), Codec::Raw).unwrap();
            let one = |writer: &mut Writer<_>, name: &str, info: &ArrayInfo, bytes: &[u8]| {
                writer.array(name, info, Role::Rebuild, &mut &bytes[..]).unwrap();
            };
            one(&mut writer, "before", &arrays[3].1, &arrays[3].2);
            if at_once {
                together(&mut writer, &arrays, |_, _| {}).unwrap();
            } else {
                arrays.iter().for_each(|(name, info, bytes)| one(&mut writer, name, info, bytes));
            }
            one(&mut writer, "after", &arrays[0].1, &arrays[0].2);
            writer.finish(&Parts::default()).unwrap().0.into_inner()
        };
        assert!(write(false) == write(true));
    }

    #[test]
    fn arrays_whose_bytes_failed_can_be_written_again() {
        let arrays = arrays();
        let write = |failures: &[(usize, usize)]| {
            let mut writer = Writer::new(Cursor::new(Vec::new()), Codec::Raw).unwrap();
            writer.array("before", &arrays[3].1, Role::Predict, &mut &arrays[3].2[..]).unwrap();
            for &(eighths, rounds) in failures {
                let narrow = |(name, _, bytes): &(String, ArrayInfo, Vec<u8>)| {
                    let bytes = bytes[..bytes.len() / 8 * eighths].to_vec();
                    (name.clone(), ArrayInfo::new(Dtype::U8, [bytes.len() as u64]), bytes)
                };
                let narrow: Vec<_> = arrays.iter().map(narrow).collect();
                let new: Vec<_> = narrow
                    .iter()
                    .map(|(name, info, _)| NewArray { name, info, role: Role::Rebuild })
                    .collect();
                let mut parts = (0..rounds).map(|round| {
                    let part = |(_, _, bytes): &(String, ArrayInfo, Vec<u8>)| {
                        bytes[bytes.len() / 8 * round..bytes.len() / 8 * (round + 1)].to_vec()
                    };
                    narrow.iter().map(part).collect()
                });
                let mut pull = || parts.next().map(Some).ok_or(io::ErrorKind::InvalidData.into());
                let error = writer.together(&new, &mut pull).unwrap_err();
                assert!(matches!(error, WriteError::Input { .. }), "{error:?}");
            }
            together(&mut writer, &arrays, |_, _| {}).unwrap();
            writer.array("after", &arrays[0].1, Role::Predict, &mut &arrays[0].2[..]).unwrap();
            writer.finish(&Parts::default()).unwrap().0.into_inner()
        };
        let once = write(&[]);
        // Few bytes are gathered, many are written as they come.
        for failures in [&[(4, 4)][..], &[(8, 0)], &[(8, 7)], &[(7, 3), (4, 0), (8, 5)]] {
            assert!(write(failures) == once, "after {failures:?}");
        }
    }

    #[test]
    fn too_many_and_too_few_bytes_are_errors() {
        let mut writer = Writer::new(Cursor::new(Vec::new()), Codec::Raw).unwrap();
        let error = together(&mut writer, &arrays(), |_, parts| parts[2].push(0)).unwrap_err();
        assert!(matches!(error, WriteError::TooMuchInput { array, expected: 3 } if array == "2"));
        let mut writer = Writer::new(Cursor::new(Vec::new()), Codec::Raw).unwrap();
        let short = |_, parts: &mut Vec<Vec<u8>>| parts[3].truncate(9);
        let error = together(&mut writer, &arrays(), short).unwrap_err();
        assert!(matches!(error, WriteError::Input { array, offset: 63, .. } if array == "3"));
    }

    /// A disk of 3 MiB.
    struct Full(Cursor<Vec<u8>>);

    impl Write for Full {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let fits = self.0.position() + buf.len() as u64 <= 3 << 20;
            if fits { self.0.write(buf) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Full {
        fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
            self.0.seek(pos)
        }
    }

    #[test]
    fn the_error_of_a_full_disk_comes_from_the_thread_that_writes() {
        let full = |result: Result<(), WriteError>| match result {
            Err(WriteError::Output { source, .. }) => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        };
        let new = || Writer::new(Full(Cursor::new(Vec::new())), Codec::Raw).unwrap();
        assert!(full(together(&mut new(), &arrays(), |_, _| {})));
        let (info, bytes) = (ArrayInfo::new(Dtype::U8, [12 << 20]), vec![7; 12 << 20]);
        assert!(full(new().array("a", &info, Role::Predict, &mut &bytes[..]).map(drop)));
    }
}
