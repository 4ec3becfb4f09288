//! Inputs that fuzzing the reader of XGBoost's models once found, and real ones: none may panic.

use std::path::Path;

#[path = "../../fuzz/src/xgboost_reader.rs"]
mod xgboost_reader;

#[test]
fn no_model_that_fuzzing_found_panics() {
    for folder in ["fuzz/regressions/xgboost_reader", "tests/convert/xgboost"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(&folder).unwrap() {
            xgboost_reader::read_all(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
}
