//! Real pickles, written by a real Python, against Python's own view of the same objects.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::read_with;
use super::view::{View, difference};
use crate::convert::{ConvertError, Foreign};
use crate::model::graph::Graph;

/// The Python of `make setup`, or of `ONECOPY_PYTHON`.
pub(crate) fn python() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let python = std::env::var_os("ONECOPY_PYTHON").map_or(default, PathBuf::from);
    assert!(
        python.exists(),
        "{} does not exist; run `make setup`, or set ONECOPY_PYTHON to a Python with scikit-learn",
        python.display()
    );
    python
}

fn read_file(path: &Path) -> Result<Foreign, ConvertError> {
    read_with(Box::new(std::fs::File::open(path).unwrap()))
}

fn written_by_python(directory: &Path) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convert/pickles.py");
    let mut command = Command::new(python());
    command.arg(script).arg(directory);
    if std::env::var_os("ONECOPY_ALL_ESTIMATORS").is_some() {
        command.arg("--all");
    }
    assert!(command.status().unwrap().success());
    serde_json::from_slice(&std::fs::read(directory.join("index.json")).unwrap()).unwrap()
}

/// What is wrong with the graph, if it does not come back from its encoding as it was.
fn encoded_again(foreign: &Foreign) -> Option<String> {
    let encoded = foreign.graph.encode();
    match Graph::decode(&encoded, foreign) {
        Ok(graph) if graph.encode() == encoded => None,
        Ok(_) => Some("the graph comes back changed".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn every_protocol_and_container_is_read_as_python_sees_it() {
    let directory = tempfile::tempdir().unwrap();
    let cases = written_by_python(directory.path());
    assert!(cases.len() > 500, "{} cases", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let path = directory.path().join(case["file"].as_str().unwrap());
        let failure = match read_file(&path) {
            Err(error) => Some(error.to_string()),
            Ok(foreign) => match encoded_again(&foreign) {
                Some(error) => Some(error),
                None if case["view"].get("unseen").is_some() => None,
                None => difference(&case["view"], &View::root(&foreign), ""),
            },
        };
        failures.extend(failure.map(|failure| format!("{}: {failure}", case["name"])));
    }
    assert!(failures.is_empty(), "{} of {} differ:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// The folder in which the joblib package carries files that its old versions wrote.
fn joblib_test_data() -> PathBuf {
    let code =
        "import joblib, os; print(os.path.join(os.path.dirname(joblib.__file__), 'test', 'data'), end='')";
    let output = Command::new(python()).args(["-c", code]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap())
}

/// The arrays of joblib's test files: `[arange(5, '<i8'), arange(5, '<f8'), array([1, 'abc', {...}]), bytes, matrix, text]`.
fn assert_is_joblib_list(name: &str, foreign: &Foreign) {
    let view = View::root(foreign);
    let items = view["list"].as_array().unwrap_or_else(|| panic!("{name}: {view}"));
    let crc = |values: &[[u8; 8]]| crc32fast::hash(values.as_flattened());
    let ints: Vec<_> = (0..5i64).map(i64::to_le_bytes).collect();
    let floats: Vec<_> = (0..5).map(|value| f64::from(value).to_le_bytes()).collect();
    assert_eq!(crc(&ints), items[0]["crc"], "{name}: {view}");
    assert_eq!(crc(&floats), items[1]["crc"], "{name}: {view}");
    assert_eq!(3, items[2]["objects"].as_array().unwrap().len(), "{name}: {view}");
}

#[test]
fn files_of_joblib_0_10_and_newer_are_read_and_older_companions_refused() {
    let (mut read, mut refused) = (0, 0);
    for entry in std::fs::read_dir(joblib_test_data()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let old = name.starts_with("joblib_0.8") || name.starts_with("joblib_0.9");
        if !name.starts_with("joblib_") || name.contains(".npy") {
            continue;
        }
        match read_file(&path) {
            Ok(foreign) => {
                assert_is_joblib_list(&name, &foreign);
                read += 1;
            }
            Err(error) => {
                let error = error.to_string();
                assert!(old && error.contains("save it with joblib 0.10 or newer"), "{name}: {error}");
                refused += 1;
            }
        }
    }
    assert!(read >= 32 && refused >= 6, "{read} read, {refused} refused");
}
