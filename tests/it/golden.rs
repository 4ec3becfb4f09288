//! Small models, and the answers that scikit-learn gave: through every reader and every method.

use std::path::{Path, PathBuf};

use ndarray::{ArrayView2, ShapeBuilder};
use onecopy::{ConvertOptions, Dtype, Input, Method, Model, OutputArray, RunOptions, convert};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    source: String,
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    files: Vec<String>,
    /// Arrays in npy form, one after the other.
    arrays: String,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    method: String,
    /// Number of the input array.
    input: usize,
    /// Numbers of the answers.
    expected: Vec<usize>,
    /// How far off a value may be, relative to the largest of the answer; 0: equal in every bit.
    #[serde(default)]
    rtol: f64,
    #[serde(default = "yes")]
    check_finite: bool,
}

fn yes() -> bool {
    true
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn cases() -> Cases {
    let text = std::fs::read_to_string(golden().join("cases.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

fn converted(file: &str, dir: &Path) -> Model<onecopy::Mapping> {
    let (src, dst) = (golden().join("files").join(file), dir.join(format!("{file}.onecopy")));
    convert(&src, &dst, &ConvertOptions::default(), &|_| {}).unwrap();
    Model::open(&dst).unwrap()
}

/// An array of an `.npys` file.
struct Npy {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
    /// In words, so that every element type is aligned.
    words: Vec<u64>,
    len: usize,
}

impl Npy {
    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    fn input(&self) -> Input<'_> {
        let shape = (self.shape[0], self.shape[1]).set_f(self.fortran);
        match self.descr.as_str() {
            "<f4" => ArrayView2::<f32>::from_shape(shape, bytemuck::cast_slice(self.bytes())).unwrap().into(),
            "<f8" => ArrayView2::<f64>::from_shape(shape, bytemuck::cast_slice(self.bytes())).unwrap().into(),
            other => panic!("an input of {other}"),
        }
    }
}

/// Reads npy version 1 arrays until the bytes end.
fn read_npys(mut bytes: &[u8]) -> Vec<Npy> {
    let mut arrays = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(b"\x93NUMPY\x01\x00", &bytes[..8]);
        let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = std::str::from_utf8(&bytes[10..end]).unwrap();
        let after = |key: &str| header.split_once(key).unwrap().1;
        let descr = after("'descr': '").split_once('\'').unwrap().0.to_owned();
        let fortran = after("'fortran_order': ").starts_with("True");
        let shape = after("'shape': (").split_once(')').unwrap().0;
        let shape: Vec<usize> = shape.split(',').filter_map(|len| len.trim().parse().ok()).collect();
        let itemsize = Dtype::parse(&descr).unwrap().itemsize() as usize;
        let len = shape.iter().product::<usize>() * itemsize;
        let mut words = vec![0u64; len.div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..len].copy_from_slice(&bytes[end..end + len]);
        arrays.push(Npy { descr, fortran, shape, words, len });
        bytes = &bytes[end + len..];
    }
    arrays
}

/// What is different, if anything is.
fn difference(expected: &Npy, found: &OutputArray, rtol: f64) -> Option<String> {
    let shape: Vec<usize> = found.info().shape.iter().map(|&len| len as usize).collect();
    let dtype = found.info().dtype.to_string();
    let both_text = expected.descr.starts_with("<U") && dtype.starts_with("<U");
    if expected.fortran || shape != expected.shape || (dtype != expected.descr && !both_text) {
        return Some(format!("expected {} {:?}, found {dtype} {shape:?}", expected.descr, expected.shape));
    }
    if both_text {
        let same = texts(&expected.descr, expected.bytes()) == texts(&dtype, found.bytes());
        return (!same).then(|| "other labels".to_owned());
    }
    if rtol == 0.0 {
        return (expected.bytes() != found.bytes()).then(|| "other bits".to_owned());
    }
    let wanted: &[f64] = bytemuck::cast_slice(expected.bytes());
    let largest = wanted.iter().filter(|value| value.is_finite()).fold(0.0, |a: f64, b| a.max(b.abs()));
    // NaN is near to nothing.
    let near = |a: f64, b: f64| a == b || (a - b).abs() <= rtol * largest;
    let (a, b) = wanted.iter().zip(found.values::<f64>()?).find(|(a, b)| !near(**a, **b))?;
    Some(format!("expected {a}, found {b}"))
}

/// The labels without padding: how wide a text dtype is, does not matter.
fn texts(dtype: &str, bytes: &[u8]) -> Vec<Vec<u8>> {
    let width: usize = dtype.strip_prefix("<U").unwrap().parse().unwrap();
    let trimmed = |label: &[u8]| {
        let used = label.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        label[..used].to_vec()
    };
    bytes.chunks_exact(width * 4).map(trimmed).collect()
}

#[test]
fn every_method_gives_the_answers_of_scikit_learn() {
    let dir = tempfile::tempdir().unwrap();
    let cases = cases();
    assert!(cases.source.starts_with("scikit-learn "));
    let (mut checked, mut wrong) = (0, Vec::new());
    for case in &cases.case {
        let arrays = read_npys(&std::fs::read(golden().join("files").join(&case.arrays)).unwrap());
        for file in &case.files {
            let model = converted(file, dir.path());
            for (check, threads) in case.checks.iter().flat_map(|check| [(check, 1), (check, 2)]) {
                if let Err(problem) = answers(&model, check, threads, &arrays) {
                    wrong.push(format!("{file}: {} of array {}: {problem}", check.method, check.input));
                }
                checked += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} checks failed:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 1_500, "only {checked} checks");
}

fn answers(
    model: &Model<onecopy::Mapping>,
    check: &Check,
    threads: usize,
    arrays: &[Npy],
) -> Result<(), String> {
    let method = Method::from_name(&check.method).ok_or("no such method")?;
    let options = RunOptions { threads: Some(threads), check_finite: check.check_finite };
    let output =
        model.run(method, arrays[check.input].input(), &options).map_err(|error| format!("{error:?}"))?;
    if output.arrays.len() != check.expected.len() {
        return Err(format!("expected {} arrays, found {}", check.expected.len(), output.arrays.len()));
    }
    let pairs = check.expected.iter().zip(&output.arrays);
    let differences = pairs.filter_map(|(&expected, found)| difference(&arrays[expected], found, check.rtol));
    differences.into_iter().next().map_or(Ok(()), Err)
}

#[test]
fn a_model_has_the_methods_that_scikit_learn_gives_it() {
    let dir = tempfile::tempdir().unwrap();
    for (file, expected) in [
        ("forest-binary.pkl", "predict predict_proba predict_log_proba apply"),
        ("forest-regressor.pkl", "predict apply"),
        ("ridge.pkl", "predict"),
        ("logistic-binary.pkl", "predict predict_proba predict_log_proba decision_function"),
        ("standard.pkl", "transform"),
        ("pipeline-standard-forest.pkl", "predict predict_proba predict_log_proba"),
        ("pipeline-of-scalers.pkl", "transform"),
    ] {
        let methods = converted(file, dir.path()).methods();
        let names: Vec<&str> = methods.into_iter().map(Method::name).collect();
        assert_eq!(expected, names.join(" "), "{file}");
    }
}

#[test]
fn pickle_and_joblib_of_one_model_convert_to_the_same_prediction_arrays() {
    let dir = tempfile::tempdir().unwrap();
    for case in cases().case {
        let [a, b] = [0, 1].map(|i| converted(&case.files[i], dir.path()));
        assert_eq!(a.plan(), b.plan(), "{}", case.name);
        for (a, b) in a.arrays().zip(b.arrays()).filter(|(a, _)| a.name().starts_with("predict.")) {
            assert_eq!((a.name(), a.info()), (b.name(), b.info()), "{}", case.name);
            assert_eq!(a.bytes().unwrap(), b.bytes().unwrap(), "{}: {}", case.name, a.name());
        }
    }
}
