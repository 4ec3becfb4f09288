//! Inputs that fuzzing the codecs once found, and one of each kind: none may panic.

use std::path::Path;

#[path = "../../fuzz/src/codecs.rs"]
mod codecs;

#[test]
fn no_block_that_fuzzing_found_panics() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions/codecs");
    for entry in std::fs::read_dir(&folder).unwrap() {
        codecs::run(&std::fs::read(entry.unwrap().path()).unwrap());
    }
}
