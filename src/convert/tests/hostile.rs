//! Files that try: `tests/hostile/pickle` holds them, with the answer each gets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::read_with;
use super::view::View;
use crate::convert::{ConvertError, Foreign, Limits, read_foreign};
use crate::model::graph::Graph;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/pickle")
}

/// Small limits, so that bombs may be small.
fn read_strictly(bytes: Vec<u8>) -> Result<Foreign, ConvertError> {
    let limits =
        Limits { held_bytes: 64 << 20, decoded_bytes: 2 << 20, ..Limits::for_source(bytes.len() as u64) };
    read_foreign(Box::new(bytes), &limits, &mut tempfile::tempfile, &|_| {})
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

fn answers() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder().join("answers.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_once(" => ").unwrap())
        .map(|(name, answer)| (name.into(), answer.into()))
        .collect()
}

#[test]
fn every_hostile_file_gets_the_written_answer_soon() {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        let start = Instant::now();
        let answer = match read_strictly(std::fs::read(&path).unwrap()) {
            Ok(foreign) => {
                let graph = Graph::decode(&foreign.graph.encode(), &foreign);
                assert!(graph.is_ok(), "{}: {graph:?}", path.display());
                format!("data: {} nodes, {} arrays", foreign.graph.nodes.len(), foreign.arrays.len())
            }
            Err(error) => chain(&error),
        };
        assert!(start.elapsed() < Duration::from_secs(10), "{} took {:?}", path.display(), start.elapsed());
        found.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), answer);
    }
    let shown = |answers: &BTreeMap<String, String>| {
        answers.iter().map(|(name, answer)| format!("{name} => {answer}\n")).collect::<String>()
    };
    let (expected, found) = (shown(&answers()), shown(&found));
    assert!(expected == found, "answers.txt should be:\n{found}");
}

/// A real model in a few protocols and containers.
fn real_models() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convert/seeds");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read(&path).unwrap());
    files.map(read).collect()
}

#[test]
fn a_model_cut_at_any_byte_is_refused() {
    for (name, bytes) in real_models() {
        assert!(read_strictly(bytes.clone()).is_ok(), "{name}");
        for len in 0..bytes.len() {
            let error = read_strictly(bytes[..len].to_vec()).err();
            assert!(error.is_some(), "{name} cut at {len} is read");
        }
    }
}

fn seed() -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::select(real_models()).prop_map(|(_, bytes)| bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn changed_bytes_never_panic_and_what_is_read_can_be_walked(
        bytes in seed(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = bytes;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(foreign) = read_strictly(bytes) {
            let _ = View::root(&foreign);
            let graph = Graph::decode(&foreign.graph.encode(), &foreign);
            prop_assert!(graph.is_ok(), "{:?}", graph);
        }
    }

    #[test]
    fn any_opcodes_never_panic(
        opcodes in proptest::collection::vec(proptest::sample::select(crate::convert::pickle::Opcode::ALL), 0..60),
        operands in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut bytes = vec![0x80, 4];
        let mut operands = operands.into_iter();
        for opcode in opcodes {
            bytes.push(opcode.byte());
            bytes.extend(operands.next().filter(|byte| *byte < 128));
        }
        if let Ok(foreign) = read_with(Box::new(bytes)) {
            let graph = Graph::decode(&foreign.graph.encode(), &foreign);
            prop_assert!(graph.is_ok(), "{:?}", graph);
        }
    }
}
