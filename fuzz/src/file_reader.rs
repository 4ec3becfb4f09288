//! What is done with bytes that may be a model file. The fuzzer calls it, and a plain test replays what it found.

use onecopy::{AlignedBytes, Model, VerifyOptions};

/// Reads `data` as it is, and once more with checksums and file length made to fit, so that what lies behind them
/// is reached.
pub(crate) fn read_all(data: &[u8]) {
    read(data);
    let mut resealed = data.to_vec();
    if reseal(&mut resealed).is_some() {
        read(&resealed);
    }
}

fn read(data: &[u8]) {
    let Ok(model) = Model::from_bytes(AlignedBytes::copy_from(data)) else { return };
    for array in model.arrays() {
        assert_eq!(array.id(), model.array(array.name()).expect("a listed name is found").id());
        let _ = array.info().dtype.to_string();
        let _ = array.view::<f64>();
        let _ = array.view::<u8>();
        let _ = array.records::<[u8; 16]>();
        if let Ok(bytes) = array.bytes() {
            assert_eq!(array.info().len_bytes(), Some(bytes.len() as u64));
        }
    }
    let _ = model.verify(VerifyOptions { digests: true }, &|_| {});
    let _ = model.checked_plan();
    if let Ok(Some(graph)) = model.graph() {
        let _ = graph.encode();
    }
}

/// Places of the prologue; see docs/format.md.
const FILE_LEN: usize = 32;
const INDEX_START: usize = 40;
const LENS: [(usize, usize); 4] = [(48, 8), (56, 8), (64, 4), (68, 4)];
const CRCS: usize = 72;
const OWN_CRC: usize = 124;

/// Sets file length and checksums to what the bytes call for; `None` if the parts do not lie in the file.
fn reseal(file: &mut [u8]) -> Option<()> {
    let len = file.len() as u64;
    file.get_mut(FILE_LEN..FILE_LEN + 8)?.copy_from_slice(&len.to_le_bytes());
    let mut start = number(file, INDEX_START, 8)?;
    for (i, (at, width)) in LENS.into_iter().enumerate() {
        let end = start.checked_add(number(file, at, width)?)?;
        let crc = crc32fast::hash(file.get(start..end)?);
        file.get_mut(CRCS + 4 * i..CRCS + 4 * i + 4)?.copy_from_slice(&crc.to_le_bytes());
        start = end.checked_add(7)? & !7;
    }
    let crc = crc32fast::hash(file.get(..OWN_CRC)?);
    file.get_mut(OWN_CRC..OWN_CRC + 4)?.copy_from_slice(&crc.to_le_bytes());
    Some(())
}

fn number(file: &[u8], at: usize, width: usize) -> Option<usize> {
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(file.get(at..at + width)?);
    usize::try_from(u64::from_le_bytes(bytes)).ok()
}
