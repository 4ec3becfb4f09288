//! What is done with bytes that may be a model file. The fuzzer calls it, and a plain test replays what it found.

use ndarray::Array2;
use onecopy::{AlignedBytes, Model, RunOptions, VerifyOptions};

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
    if model.checked_plan().is_ok() {
        predict(&model);
    }
    if let Ok(Some(graph)) = model.graph() {
        let _ = graph.encode();
    }
}

/// Asks an accepted plan for every answer it has: whatever the arrays hold, no kernel may leave them or never end. One row,
/// a few and enough for a vector of rows take different kernels.
fn predict(model: &Model<AlignedBytes>) {
    let n_features = model.n_features().unwrap_or(0) as usize;
    if n_features > 512 {
        return;
    }
    let options = RunOptions { threads: Some(1), check_finite: false };
    for n_rows in [1, 7, 70] {
        let x =
            Array2::from_shape_fn((n_rows, n_features), |(row, column)| odd_number(row * 31 + column * 7));
        for method in model.methods() {
            let _ = model.run(method, &x, &options);
            let _ = model.run(method, &x.mapv(|value| value as f32), &options);
        }
        for member in 0..model.plan().members().len().min(4) as u32 {
            for method in model.methods() {
                let _ = model.run_member(member, method, &x, &options);
            }
        }
    }
}

fn odd_number(i: usize) -> f64 {
    const ODD: [f64; 8] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, 1e-310, -1.0, 3.0];
    ODD.get(i % 16).copied().unwrap_or((i % 97) as f64 * 0.25 - 12.0)
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
