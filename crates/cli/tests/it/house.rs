//! A folder with models and tables, and a way to run the command in it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use onecopy::{ArrayInfo, Codec, Dtype, Parts, Role, WriteError, Writer};
use tempfile::TempDir;

/// A folder to run the command in.
pub(crate) struct House {
    dir: TempDir,
    /// Where archives are restored that the command uses.
    cache: TempDir,
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl House {
    pub(crate) fn new() -> Self {
        House { dir: tempfile::tempdir().unwrap(), cache: tempfile::tempdir().unwrap() }
    }

    /// With `scaler.onecopy` of three named features.
    pub(crate) fn with_model() -> Self {
        let house = House::new();
        house.scaler("scaler.onecopy");
        house
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        onecopy::publish(&self.path(name), |file| std::io::Write::write_all(file, bytes)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Names in the folder, sorted, hidden ones too.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onecopy"));
        command.current_dir(self.dir.path()).stdin(Stdio::null()).env("ONECOPY_CACHE", self.cache.path());
        command
    }

    /// Runs `onecopy` with these words.
    pub(crate) fn run(&self, words: &str) -> Ended {
        ended(self.command().args(words.split_whitespace()).output().unwrap())
    }

    /// Runs a script in which `onecopy` is the command.
    pub(crate) fn shell(&self, script: &str) -> Ended {
        let script = format!("onecopy() {{ '{}' \"$@\"; }}\n{script}", env!("CARGO_BIN_EXE_onecopy"));
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output();
        ended(output.unwrap())
    }

    /// A model that subtracts 1, 2, 3 from its three columns.
    pub(crate) fn scaler(&self, name: &str) {
        let plan = serde_json::json!({ "plan": "native", "ops": [{
            "op": "standard_scaler", "n_features": 3, "mean": 0, "scale": null,
        }] });
        let metadata = serde_json::json!({ "model": { "feature_names_in": ["a", "b", "c"] } });
        let means: Vec<u8> = [1.0f64, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        self.model(name, &[(vec![3], means)], &plan, &metadata);
    }

    /// A linear model of `outputs` outputs over 100 features.
    pub(crate) fn linear(&self, name: &str, outputs: u64) {
        let plan = serde_json::json!({ "plan": "native", "ops": [{
            "op": "linear_regressor", "estimator": "Ridge", "n_features": 100, "n_outputs": outputs,
            "coef": 0, "intercept": 1, "flat": false,
        }] });
        let coef = (0..outputs * 100).flat_map(|at| ((at % 1009) as f64).to_le_bytes()).collect();
        let intercept = (0..outputs).flat_map(|at| (at as f64).to_le_bytes()).collect();
        let metadata = serde_json::Value::Null;
        self.model(name, &[(vec![outputs, 100], coef), (vec![outputs], intercept)], &plan, &metadata);
    }

    fn model(
        &self,
        name: &str,
        arrays: &[(Vec<u64>, Vec<u8>)],
        plan: &serde_json::Value,
        metadata: &serde_json::Value,
    ) {
        let write = |file: &mut File| -> Result<(), WriteError> {
            let mut writer = Writer::new(file, Codec::Raw)?;
            for (at, (shape, bytes)) in arrays.iter().enumerate() {
                let info = ArrayInfo::new(Dtype::F64, shape.clone());
                writer.array(&format!("array{at}"), &info, Role::Predict, &mut bytes.as_slice())?;
            }
            let (plan, metadata) = (plan.to_string(), metadata.to_string());
            writer
                .finish(&Parts { graph: &[], plan: plan.as_bytes(), metadata: metadata.as_bytes() })
                .map(drop)
        };
        onecopy::publish(&self.path(name), write).unwrap();
    }

    /// An `.npy` file of float64 that counts up.
    pub(crate) fn npy(&self, name: &str, shape: &[usize]) {
        let shape_text: String = shape.iter().map(|len| format!("{len}, ")).collect();
        let mut header =
            format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}), }}", shape_text.trim_end());
        if shape.len() > 1 {
            header = header.replace(",), }", "), }");
        }
        let padded = (10 + header.len() + 1).next_multiple_of(64) - 11;
        header = format!("{header:padded$}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend((0..shape.iter().product::<usize>()).flat_map(|at| (at as f64).to_le_bytes()));
        self.put(name, bytes);
    }
}

fn ended(output: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Ended {
    /// Checks that it went well and said nothing on stderr.
    #[track_caller]
    pub(crate) fn quiet(self) -> String {
        assert_eq!((Some(0), ""), (self.code, self.stderr.as_str()), "stdout: {}", self.stdout);
        self.stdout
    }

    /// Checks that it failed with exit code 1 and one line that holds all of `parts`.
    #[track_caller]
    pub(crate) fn error(self, parts: &[&str]) {
        assert_eq!((Some(1), ""), (self.code, self.stdout.as_str()), "stderr: {}", self.stderr);
        assert!(
            self.stderr.starts_with("error: ") && self.stderr.matches('\n').count() == 1,
            "{}",
            self.stderr
        );
        for part in parts {
            assert!(self.stderr.contains(part), "expected `{part}` in: {}", self.stderr);
        }
    }
}
