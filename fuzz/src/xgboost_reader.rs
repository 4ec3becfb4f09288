//! What is done with bytes that may be a model of XGBoost. The fuzzer calls it, and a plain test replays what it found.

use ndarray::Array2;
use onecopy::{Dump, DumpOptions, Method, Model, Pickled, RunOptions};

/// More columns than this make predictions slow, not different.
const MAX_FEATURES: u32 = 1 << 10;

/// Stores a booster that was saved as `data`; what is covered must be sound, and predict.
pub(crate) fn read_all(data: &[u8]) {
    let mut stream = b"\x80\x05cxgboost.core\nBooster\n(NN\x96".to_vec();
    stream.extend((data.len() as u64).to_le_bytes());
    stream.extend_from_slice(data);
    stream.extend_from_slice(b"tR.");
    let pickled = Pickled { stream: Box::new(stream), buffers: vec![], terms: vec![] };
    let dump = Dump::read(pickled, &|_| {}).expect("any bytes can be pickled");
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("model.onecopy");
    let options = DumpOptions { sync: false, ..DumpOptions::default() };
    dump.write(&path, &options, &|_| {}).expect("any bytes can be stored");
    let model = Model::open(&path).expect("what was written is a model file");
    model.checked_plan().expect("a plan that was made is sound");
    let Some(n_features) = model.n_features().filter(|n| *n <= MAX_FEATURES) else { return };
    let odd = [0.0, -1.5, f32::NAN, 1e9, 3.0];
    let x = Array2::from_shape_fn((9, n_features as usize), |(row, column)| odd[(row + column) % odd.len()]);
    let options = RunOptions { threads: Some(1), ..RunOptions::default() };
    for method in [Method::Predict, Method::Apply, Method::RawScores] {
        model.run(method, &x, &options).expect("a covered model predicts");
    }
}
