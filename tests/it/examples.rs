//! Every program in `examples/` runs, on small data.

use std::path::{Path, PathBuf};
use std::process::Command;

use onecopy::{ArrayInfo, Codec, Dtype, Parts, Role, WriteError, Writer};

/// Runs an example and gives what it printed.
fn run(name: &str, argument: &Path) -> String {
    let mut command = match built(name) {
        Some(binary) => Command::new(binary),
        // `cargo test --test it` does not build examples.
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--locked", "--example", name, "--"]);
            cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
            cargo
        }
    };
    let output = command.arg(argument).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `target/debug/examples/NAME`, beside the directory of this test's binary.
fn built(name: &str) -> Option<PathBuf> {
    let binary = std::env::current_exe().ok()?.parent()?.parent()?.join("examples").join(name);
    binary.exists().then_some(binary)
}

/// A linear model of 2 outputs over 4 features.
fn write_model(path: &Path) {
    let plan =
        br#"{ "plan": "native", "ops": [{ "op": "linear_regressor", "estimator": "Ridge", "n_features": 4,
        "n_outputs": 2, "coef": 0, "intercept": 1, "flat": false }] }"#;
    onecopy::publish(path, |file| -> Result<(), WriteError> {
        let mut writer = Writer::new(file, Codec::Raw)?;
        let mut add = |name, shape: &[u64], values: &[f64]| {
            let info = ArrayInfo::new(Dtype::F64, shape.to_vec());
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            writer.array(name, &info, Role::Predict, &mut bytes.as_slice())
        };
        add("coef", &[2, 4], &[1.0, 2.0, 3.0, 4.0, 0.5, 0.25, 0.125, 0.0625])?;
        add("intercept", &[2], &[10.0, 20.0])?;
        writer.finish(&Parts { graph: &[], plan, metadata: &[] }).map(drop)
    })
    .unwrap();
}

#[test]
fn open_and_predict_prints_answers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onecopy");
    write_model(&path);
    let printed = run("open_and_predict", &path);
    assert!(printed.contains("4 features in; it can predict"), "{printed}");
    // The first row is 0, 3, 6, 9.
    assert!(printed.contains("predict: <f8 of shape [3, 2]\n[70.0, 22.0625,"), "{printed}");
}

#[cfg(all(feature = "serve", target_os = "linux"))]
#[test]
fn prefork_pool_gives_the_answers_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onecopy");
    write_model(&path);
    let printed = run("prefork_pool", &path);
    assert!(printed.contains("worker 3 predicts rows 750..1000"), "{printed}");
    assert!(printed.contains("one process gives the same answers"), "{printed}");
}

#[test]
fn write_own_arrays_reads_them_back() {
    let dir = tempfile::tempdir().unwrap();
    let printed = run("write_own_arrays", &dir.path().join("embedding.onecopy"));
    assert!(printed.contains("as expected: array `counts` holds `<i8`"), "{printed}");
}

#[test]
fn archive_and_restore_gives_every_byte_back() {
    let dir = tempfile::tempdir().unwrap();
    let printed = run("archive_and_restore", dir.path());
    assert!(printed.contains("restored every byte"), "{printed}");
}
