//! Files that break one rule each, written by `tests/hostile/format/make.py` without the crate's writer.

use std::fs;
use std::path::{Path, PathBuf};

use onecopy::{AlignedBytes, Model};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/format")
}

fn refusal(name: &str) -> Option<String> {
    let path = folder().join(name).with_extension("onecopy");
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let error = Model::from_bytes(AlignedBytes::copy_from(&bytes)).err()?;
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    Some(error.to_string() + &source.unwrap_or_default())
}

#[test]
fn every_hostile_file_is_refused_with_what_is_wrong_with_it() {
    let cases = fs::read_to_string(folder().join("cases.tsv")).unwrap();
    let mut wrong = Vec::new();
    for line in cases.lines() {
        let (name, expected) = line.split_once('\t').unwrap();
        match refusal(name) {
            None => wrong.push(format!("{name}: was opened")),
            Some(text) if text.contains(expected) => {}
            Some(text) => wrong.push(format!("{name}\n    expected: {expected}\n    found:    {text}")),
        }
    }
    assert!(cases.lines().count() > 90);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_hostile_file_is_listed() {
    let cases = fs::read_to_string(folder().join("cases.tsv")).unwrap();
    let listed = |name: &str| cases.lines().any(|line| line.split('\t').next() == Some(name));
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|extension| extension == "onecopy") && name != "valid" {
            assert!(listed(name), "{name} is not in cases.tsv");
        }
    }
}

#[test]
fn the_file_that_they_are_made_from_is_read() {
    let model =
        Model::from_bytes(AlignedBytes::copy_from(&fs::read(folder().join("valid.onecopy")).unwrap()));
    let model = model.unwrap();
    assert_eq!([1.0, 2.0, 3.0, 4.0], model.array("a").unwrap().values::<f64>().unwrap());
    assert_eq!("[('x', '<i8'), ('yz', '<f4', (2,))]", model.array("rows").unwrap().info().dtype.to_string());
}
