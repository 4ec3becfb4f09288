//! What is done with bytes that may be a block of an archive. The fuzzer calls it, and a plain test replays what it found.

use std::io::Cursor;

use onecopy::{
    AlignedBytes, ArchiveOptions, ArrayInfo, Codec, Dtype, Level, Model, Parts, Role, VerifyOptions, Writer,
    archive, publish, restore,
};

/// The first byte says what shall be done with the others: decode them as a block, or archive and restore them.
pub(crate) fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    match choice % 16 {
        0 => round_trip(bytes),
        _ => decode(bytes),
    }
}

/// Reads a file of one array whose only block is `bytes`, after two that say how long it decodes to.
fn decode(bytes: &[u8]) {
    let Some((len, block)) = bytes.split_first_chunk() else { return };
    let len = 1 + u64::from(u16::from_le_bytes(*len));
    if block.is_empty() || block.len() as u64 >= len {
        return;
    }
    let file = file_of(block, len);
    let model =
        Model::from_bytes(AlignedBytes::copy_from(&file)).expect("the file around the block is whole");
    let _ = model.verify(VerifyOptions { digests: true }, &|_| {});
    let _ = model.inspect();
}

/// A file of one array of bytes in filtered blocks, after docs/format.md.
fn file_of(block: &[u8], len: u64) -> Vec<u8> {
    let mut file = vec![0; 128];
    file.extend_from_slice(block);
    file.resize(file.len().next_multiple_of(8), 0);
    let index_start = file.len() as u64;
    let mut entry = [0; 128];
    let mut put = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &128u64.to_le_bytes());
    put(8, &(block.len() as u64).to_le_bytes());
    put(16, &len.to_le_bytes());
    put(60, &1u32.to_le_bytes());
    put(72, &1u32.to_le_bytes());
    put(84, &1u32.to_le_bytes());
    put(92, &[1]);
    put(95, &[2, 0, b'u']);
    let mut counts = [0; 32];
    counts[0] = 1;
    counts[12] = 1;
    counts[16] = 1;
    let stored_crc = crc32fast::hash(block).to_le_bytes();
    let stored_len = (block.len() as u32).to_le_bytes();
    let index =
        [&counts[..], &entry, &len.to_le_bytes(), &[0; 4], &stored_crc, &stored_len, &[0; 4], b"a"].concat();
    file.extend_from_slice(&index);
    file.resize(file.len().next_multiple_of(8), 0);
    let file_len = file.len() as u64;
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x89ONC\r\n\x1a\n");
    put(8, &[1, 0, 1, 0, 128, 0, 128, 0, 2]);
    put(28, &1u32.to_le_bytes());
    put(32, &file_len.to_le_bytes());
    put(40, &index_start.to_le_bytes());
    put(48, &(index.len() as u64).to_le_bytes());
    put(72, &crc32fast::hash(&index).to_le_bytes());
    let crc = crc32fast::hash(&file[..124]);
    file[124..128].copy_from_slice(&crc.to_le_bytes());
    file
}

/// Archives an array of `bytes` and restores it.
fn round_trip(bytes: &[u8]) {
    let Some((&[level, shape], bytes)) = bytes.split_first_chunk() else { return };
    let kinds = [Dtype::U8, Dtype::F32, Dtype::I64, Dtype::F64];
    let dtype = kinds[usize::from(shape) % 4].clone();
    let row = u64::from(shape / 4 % 8) + 1;
    let rows = bytes.len() as u64 / (row * u64::from(dtype.itemsize()));
    let info = ArrayInfo::new(dtype, [rows, row]);
    let len = info.len_bytes().expect("there are as many bytes") as usize;
    let mut writer = Writer::new(Cursor::new(Vec::new()), Codec::Raw).expect("memory can seek");
    writer.array("a", &info, Role::Predict, &mut &bytes[..len]).expect("the array is valid");
    let (hot, _) = writer.finish(&Parts { graph: bytes, ..Parts::default() }).expect("the file is valid");
    let hot = hot.into_inner();
    let folder = tempfile::tempdir().expect("there is room");
    let [from, cold, back] = ["from", "cold", "back"].map(|name| folder.path().join(name));
    publish(&from, |file| std::io::Write::write_all(file, &hot)).expect("there is room");
    let options = ArchiveOptions { level: Level::ALL[usize::from(level) % 3] };
    archive(&from, &cold, &options, &|_| {}).expect("what is written can be archived");
    restore(&cold, &back, &|_| {}).expect("what is archived can be restored");
    assert_eq!(hot, std::fs::read(&back).expect("it has been written"));
}
