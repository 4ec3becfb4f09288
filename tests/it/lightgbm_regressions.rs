//! Inputs that fuzzing the reader of LightGBM's texts once found, and texts cut short: none may panic.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lightgbm_reader.rs"]
mod lightgbm_reader;

#[test]
fn nothing_that_fuzzing_found_panics() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions/lightgbm_reader");
    for entry in fs::read_dir(&folder).unwrap() {
        lightgbm_reader::convert_and_predict(&fs::read(entry.unwrap().path()).unwrap());
    }
}

#[test]
fn texts_cut_short_are_converted_or_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convert/lightgbm/booster.txt");
    let text = fs::read(path).unwrap();
    let head = b"tree\nversion=v".len();
    for end in (head..text.len()).step_by(97) {
        lightgbm_reader::convert_and_predict(&text[head..end]);
    }
    lightgbm_reader::convert_and_predict(&text[head..]);
}
