//! Models that scikit-learn trained and saved, converted and asked for the same answers.

use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::{Array2, ArrayViewD};
use onecopy::{ConvertOptions, Kind, Mapping, Method, Model, Native, Output, OutputArray, Plan, RunOptions};
use serde_json::Value;

/// The Python of `make setup`, or of `ONECOPY_PYTHON`.
fn python() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let python = std::env::var_os("ONECOPY_PYTHON").map_or(default, PathBuf::from);
    assert!(python.exists(), "{} does not exist; run `make setup`, or set ONECOPY_PYTHON", python.display());
    python
}

struct Models {
    dir: tempfile::TempDir,
    x: Array2<f64>,
    cases: Vec<Value>,
}

fn models() -> Models {
    let dir = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convert/models.py");
    assert!(Command::new(python()).arg(script).arg(dir.path()).status().unwrap().success());
    let index: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("index.json")).unwrap()).unwrap();
    let rows = index["x"].as_array().unwrap();
    let values: Vec<f64> =
        rows.iter().flat_map(|row| row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap())).collect();
    let x = Array2::from_shape_vec((rows.len(), values.len() / rows.len()), values).unwrap();
    Models { dir, x, cases: index["cases"].as_array().unwrap().clone() }
}

fn converted(src: &Path) -> (Model<Mapping>, onecopy::ConvertReport) {
    let dst = src.with_extension("onecopy");
    let report = onecopy::convert(src, &dst, &ConvertOptions::default(), &|_| {}).unwrap();
    let model = Model::open(&dst).unwrap();
    model.verify(onecopy::VerifyOptions::default(), &|_| {}).unwrap();
    (model, report)
}

/// The largest difference of an output to what scikit-learn said, relative to the largest value.
fn difference(found: &OutputArray, expected: &Value) -> f64 {
    let expected: Vec<&Value> = flat(expected);
    if let Some(found) = texts(found) {
        return f64::from(u8::from(expected.iter().map(|v| v.as_str().unwrap()).ne(found.iter())));
    }
    let number = |value: &Value| match value {
        Value::Bool(value) => f64::from(u8::from(*value)),
        value => value.as_f64().unwrap_or(f64::NEG_INFINITY),
    };
    let expected: Vec<f64> = expected.into_iter().map(number).collect();
    let found: Vec<f64> = if let Some(view) = found.view::<f64>() {
        view.iter().copied().collect()
    } else if let Some(view) = found.view::<i64>() {
        view.iter().map(|value| *value as f64).collect()
    } else {
        found.bytes().iter().map(|byte| f64::from(*byte)).collect()
    };
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().filter(|v| v.is_finite()).fold(1.0f64, |scale, value| scale.max(value.abs()));
    let differences = found.iter().zip(&expected).map(|(f, e)| if f == e { 0.0 } else { (f - e).abs() });
    differences.fold(0.0, f64::max) / scale
}

fn flat(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        value => vec![value],
    }
}

fn texts(array: &OutputArray) -> Option<Vec<String>> {
    let onecopy::Dtype::Plain(dtype) = array.info().dtype else { return None };
    let text = |element: &[u8]| {
        let chars = element.chunks(4).map(|c| u32::from_le_bytes(c.try_into().unwrap()));
        chars.filter(|c| *c != 0).map(|c| char::from_u32(c).unwrap()).collect()
    };
    (dtype.kind == Kind::Str).then(|| array.bytes().chunks(dtype.itemsize as usize).map(text).collect())
}

fn shape_of(value: &Value) -> Vec<u64> {
    let mut shape = Vec::new();
    let mut value = value;
    while let Value::Array(items) = value {
        shape.push(items.len() as u64);
        value = &items[0];
    }
    shape
}

fn check(case: &Value, model: &Model<Mapping>, x: &Array2<f64>) -> Result<(), String> {
    for (method, expected) in case["answers"].as_object().unwrap() {
        let Some(method) = Method::from_name(method) else { continue };
        let run = model.run(method, x, &RunOptions::default());
        let Output { arrays, .. } = run.map_err(|error| format!("{method}: {error}"))?;
        let expected: Vec<&Value> = match arrays.len() {
            1 => vec![expected],
            _ => expected.as_array().unwrap().iter().collect(),
        };
        for (found, expected) in arrays.iter().zip(expected) {
            if found.info().shape != shape_of(expected) {
                return Err(format!("{method}: {:?}, expected {:?}", found.info().shape, shape_of(expected)));
            }
            let difference = difference(found, expected);
            let name = case["name"].as_str().unwrap();
            let exact = ["tree", "forest", "extra_trees"].contains(&name);
            let most = if exact { 0.0 } else { 1e-12 };
            if difference.is_nan() || difference > most {
                return Err(format!("{method}: differs by {difference}"));
            }
        }
    }
    Ok(())
}

/// The trees that `load()` would rebuild are those that were saved, bit for bit.
fn check_trees(case: &Value, model: &Model<Mapping>) -> Result<(), String> {
    let expected = case["trees"].as_array().map_or(&[][..], Vec::as_slice);
    let graph = model.graph().unwrap().unwrap();
    let estimators = graph.attr(graph.root, "estimators_").and_then(|id| graph.items(id)).unwrap_or_default();
    assert_eq!(estimators.len(), expected.len());
    for (tree, expected) in estimators.iter().zip(expected) {
        let tree = graph.attr(*tree, "tree_").unwrap();
        for (part, expected) in ["nodes", "values"].into_iter().zip(expected.as_array().unwrap()) {
            let node = graph.node(graph.attr(tree, part).unwrap());
            let found = crc32fast::hash(&model.node_bytes(node).unwrap().unwrap());
            if u64::from(found) != expected.as_u64().unwrap() {
                return Err(format!("{}: {part} of a tree differ", case["name"]));
            }
        }
    }
    Ok(())
}

#[test]
fn converted_models_answer_as_scikit_learn_does() {
    let models = models();
    let mut failures = Vec::new();
    for case in models.cases.iter().filter(|case| case.get("answers").is_some()) {
        let (model, report) = converted(&models.dir.path().join(case["file"].as_str().unwrap()));
        let result = match &report.plan {
            Plan::Native { .. } => check(case, &model, &models.x),
            Plan::Uncovered { what, why, .. } => Err(format!("{what}: {why}")),
        };
        failures.extend(result.err().map(|failure| format!("{}: {failure}", case["name"])));
        failures.extend(check_trees(case, &model).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    for case in models.cases.iter().filter(|case| case.get("uncovered").is_some()) {
        let (model, _) = converted(&models.dir.path().join(case["file"].as_str().unwrap()));
        let Native::No { what, why } = model.inspect().unwrap().native else { panic!("{case}") };
        assert_eq!(what, case["uncovered"], "{why}");
        assert!(!why.is_empty());
    }
    sharing(&models);
    metadata(&models);
    determinism(&models);
}

/// Coefficients that prediction uses as they are lie in the file once, under the name of the attribute.
fn sharing(models: &Models) {
    let (model, _) = converted(&models.dir.path().join("ridge.joblib"));
    let coef: ArrayViewD<'_, f64> = model.array("coef_").unwrap().view().unwrap();
    assert_eq!(coef.len(), models.x.ncols());
    let names: Vec<&str> = model.arrays().map(|array| array.name()).collect();
    assert_eq!(names.iter().filter(|name| name.contains("coef")).count(), 1, "{names:?}");
}

fn metadata(models: &Models) {
    let src = models.dir.path().join("logistic_words.joblib");
    let src = if src.exists() { src } else { src.with_extension("pkl") };
    let options =
        ConvertOptions { metadata: Some(serde_json::json!({ "auc": 0.91 })), ..ConvertOptions::default() };
    let dst = models.dir.path().join("metadata.onecopy");
    onecopy::convert(&src, &dst, &options, &|_| {}).unwrap();
    let model = Model::open(&dst).unwrap();
    let metadata = model.metadata();
    assert_eq!(metadata["user"]["auc"], 0.91);
    assert_eq!(metadata["model"]["type"], "sklearn.linear_model._logistic.LogisticRegression");
    assert_eq!(metadata["model"]["classes"], serde_json::json!(["maybe", "no", "yes"]));
    assert_eq!(metadata["model"]["n_features_in"], 5);
    assert!(metadata["model"]["scikit_learn"].as_str().unwrap().contains('.'));
    let inspection = model.inspect().unwrap();
    let names: Vec<String> = inspection
        .object
        .unwrap()
        .audit
        .names
        .iter()
        .map(|name| format!("{}.{}", name.module, name.qualname))
        .collect();
    assert!(names.contains(&"sklearn.linear_model._logistic.LogisticRegression".to_owned()), "{names:?}");
}

fn determinism(models: &Models) {
    let src = models.dir.path().join("forest.joblib");
    let src = if src.exists() { src } else { src.with_extension("pkl") };
    let one = models.dir.path().join("one.onecopy");
    let two = models.dir.path().join("two.onecopy");
    for dst in [&one, &two] {
        onecopy::convert(&src, dst, &ConvertOptions::default(), &|_| {}).unwrap();
    }
    assert!(std::fs::read(one).unwrap() == std::fs::read(two).unwrap());
}

fn error(src: &Path, dst: &Path) -> String {
    let error = onecopy::convert(src, dst, &ConvertOptions::default(), &|_| {}).unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[test]
fn what_cannot_be_converted_leaves_the_target_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, bytes: &[u8]| {
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(path(name)).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    };
    write("old", b"what was here");
    write("none.pkl", b"N.");
    write("cut.pkl", b"\x80\x04\x95\x10");
    write("text.txt", b"hello, this is not a model at all");
    write("empty", b"");
    let old = path("old");
    for name in ["cut.pkl", "text.txt", "empty"] {
        let text = error(&path(name), &old);
        assert!(text.contains(name), "{text}");
    }
    assert!(error(&path("missing"), &old).contains("missing"));
    assert!(error(dir.path(), &old).contains("not a file"));
    assert!(error(&path("none.pkl"), &path("none.pkl")).contains("onto itself"));
    assert_eq!(std::fs::read(&old).unwrap(), b"what was here");
    onecopy::convert(&path("none.pkl"), &old, &ConvertOptions::default(), &|_| {}).unwrap();
    assert!(error(&old, &path("again")).contains("already"));
    assert!(error(&path("none.pkl"), &path("nowhere/new")).contains("nowhere"));
    assert!(error(&path("none.pkl"), dir.path()).contains("directory"));
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
}
