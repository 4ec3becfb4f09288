//! What is done with bytes that may be a text of LightGBM. The fuzzer calls it, and a plain test replays what it found.

use std::io::Write;

use onecopy::{ConvertOptions, Limits, Method, Model, RunOptions};

/// Converts `data` behind the first bytes of a text within small limits, opens the model and predicts from it.
pub(crate) fn convert_and_predict(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for two files");
    let mut from = tempfile::NamedTempFile::new_in(&folder).expect("a file for the text");
    from.write_all(&[b"tree\nversion=v", data].concat()).expect("the text fits");
    let to = folder.path().join("model.onecopy");
    let limits = Limits { held_bytes: 64 << 20, ..Limits::for_source(data.len() as u64) };
    let options = ConvertOptions { limits: Some(limits), metadata: None };
    if onecopy::convert(from.path(), &to, &options, &|_| {}).is_err() {
        return;
    }
    let model = Model::open(&to).expect("what was converted can be opened");
    let Some(n_features) = model.n_features() else { return };
    let values = [0.0, -0.0, 1.0, -1e-36, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300];
    let x =
        ndarray::Array2::from_shape_fn((8, n_features as usize), |(row, column)| values[(row + column) % 8]);
    for method in model.methods().into_iter().chain([Method::RawScores]) {
        model.run(method, &x, &RunOptions::default()).expect("a converted model predicts");
    }
}
