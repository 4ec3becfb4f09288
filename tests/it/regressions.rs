//! Inputs that fuzzing once found, and those of the hostile folders: none may panic.

use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/file_reader.rs"]
mod file_reader;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn no_file_that_fuzzing_found_panics() {
    for path in [files("fuzz/regressions/file_reader"), files("tests/hostile/format")].concat() {
        file_reader::read_all(&std::fs::read(path).unwrap());
    }
}
