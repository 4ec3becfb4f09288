//! Inputs that fuzzing the pickle reader once found, and the hostile ones: none may panic.

use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/pickle_reader.rs"]
mod pickle_reader;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[test]
fn nothing_that_fuzzing_found_panics() {
    for folder in ["fuzz/regressions/pickle_reader", "tests/hostile/pickle", "tests/convert/seeds"] {
        for path in files(folder) {
            pickle_reader::read_all(&std::fs::read(path).unwrap());
        }
    }
}
