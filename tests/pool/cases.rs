//! The cases, each run by [`run`] one after another on the main thread.

#![allow(clippy::print_stderr, reason = "this is the test harness")]

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, exit};
use std::thread;
use std::time::{Duration, Instant};

use ndarray::Array2;
use onecopy::serve::{self, PoolError, PoolEvent, PoolOptions, PoolRun};
use onecopy::{
    ArrayInfo, Codec, Dtype, Mapping, Method, Model, Parts, PredictError, Role, RunOptions, WriteError,
    Writer,
};

const OUTPUTS: u64 = 20_000;
const FEATURES: u64 = 100;

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("a_pool_answers_what_one_process_answers", a_pool_answers_what_one_process_answers),
    ("more_workers_than_rows_fork_one_per_row", more_workers_than_rows_fork_one_per_row),
    ("a_worker_killed_in_the_middle_is_replaced", a_worker_killed_in_the_middle_is_replaced),
    ("a_share_that_kills_every_worker_is_an_error", a_share_that_kills_every_worker_is_an_error),
    (
        "workers_share_the_model_and_hold_little_of_their_own",
        workers_share_the_model_and_hold_little_of_their_own,
    ),
    ("no_worker_is_left_when_a_pool_fails", no_worker_is_left_when_a_pool_fails),
    ("a_wrong_question_is_found_before_any_fork", a_wrong_question_is_found_before_any_fork),
    (
        "a_bad_value_is_named_by_its_row_in_the_whole_input",
        a_bad_value_is_named_by_its_row_in_the_whole_input,
    ),
    ("a_damaged_model_is_not_served", a_damaged_model_is_not_served),
    ("a_process_with_threads_does_not_fork", a_process_with_threads_does_not_fork),
];

/// Runs the cases whose names contain the first argument, as `cargo test NAME` passes it.
pub(crate) fn run() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let mut failed = 0;
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(&filter)) {
        let passed = catch_unwind(AssertUnwindSafe(case)).is_ok();
        eprintln!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u32::from(!passed);
    }
    exit(i32::from(failed > 0));
}

fn a_pool_answers_what_one_process_answers() {
    let (model, x) = (model(), rows(37));
    let expected = model.run(Method::Predict, &x, &one_thread()).unwrap();
    for workers in [1, 2, 3, 8] {
        let run = pool(&model, &x, workers).unwrap();
        assert_eq!(expected.arrays[0].info(), run.output.arrays[0].info());
        assert!(expected.arrays[0].bytes() == run.output.arrays[0].bytes(), "{workers} workers");
        assert_eq!(workers, run.workers.len());
        assert!(
            run.workers
                .iter()
                .all(|worker| worker.attempts == 1 && worker.first_prediction <= worker.finished)
        );
    }
}

fn more_workers_than_rows_fork_one_per_row() {
    let (model, x) = (model(), rows(2));
    let run = pool(&model, &x, 5).unwrap();
    assert_eq!(vec![0..1, 1..2], run.workers.into_iter().map(|worker| worker.rows).collect::<Vec<_>>());
}

fn a_worker_killed_in_the_middle_is_replaced() {
    let (model, x) = (model(), rows(60));
    let expected = model.run(Method::Predict, &x, &one_thread()).unwrap();
    let mut deaths = Vec::new();
    let run = serve::predict(&model, &x, &options(3), &mut |event| match event {
        PoolEvent::Started { worker: 1, pid, attempt: 1, .. } => kill(pid),
        PoolEvent::Died { worker, how, .. } => deaths.push((worker, how)),
        _ => {}
    })
    .unwrap();
    assert_eq!(vec![(1, "killed by SIGKILL".to_owned())], deaths);
    assert_eq!(vec![1, 2, 1], run.workers.iter().map(|worker| worker.attempts).collect::<Vec<_>>());
    assert!(expected.arrays[0].bytes() == run.output.arrays[0].bytes());
}

fn a_share_that_kills_every_worker_is_an_error() {
    let (model, x) = (model(), rows(60));
    let result = serve::predict(&model, &x, &options(2), &mut |event| {
        if let PoolEvent::Started { worker: 1, pid, .. } = event {
            kill(pid);
        }
    });
    let Err(PoolError::Died { worker: 1, rows, attempts: 3, .. }) = &result else { panic!("{result:?}") };
    assert_eq!(&(30..60), rows);
}

fn workers_share_the_model_and_hold_little_of_their_own() {
    let (model, x) = (model(), rows(8));
    let run = pool(&model, &x, 4).unwrap();
    let one_copy = OUTPUTS * FEATURES * 8;
    for worker in &run.workers {
        let memory = worker.memory.unwrap();
        assert!(memory.rss > one_copy, "the worker has read the whole model: {memory:?}");
        assert!(memory.private_dirty < 5 << 20, "{memory:?}");
    }
    // Only pages of files: what the parent has on its heap from writing the model is not the pool's.
    let total: u64 =
        run.workers.iter().filter_map(|worker| worker.memory).map(|memory| memory.pss_file).sum();
    assert!(total < one_copy + 4 * (4 << 20), "one copy of {one_copy} bytes, together {total}");
}

fn no_worker_is_left_when_a_pool_fails() {
    let (model, x) = (model(), rows(60));
    let mut pids = Vec::new();
    let result = serve::predict(&model, &x, &PoolOptions { max_attempts: 1, ..options(4) }, &mut |event| {
        if let PoolEvent::Started { worker, pid, .. } = event {
            pids.push(pid);
            if worker == 0 {
                kill(pid);
            }
        }
    });
    assert!(matches!(result, Err(PoolError::Died { worker: 0, .. })), "{result:?}");
    assert_eq!(4, pids.len());
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
    }
}

fn a_wrong_question_is_found_before_any_fork() {
    let (model, x) = (model(), Array2::<f64>::zeros((4, 3)));
    let mut events = 0;
    let result = serve::predict(&model, &x, &options(2), &mut |_| events += 1);
    assert!(
        matches!(result, Err(PoolError::Predict { source: PredictError::Columns { found: 3, .. } })),
        "{result:?}"
    );
    assert_eq!(0, events);
}

fn a_bad_value_is_named_by_its_row_in_the_whole_input() {
    let (model, mut x) = (model(), rows(10));
    x[[7, 2]] = f64::NAN;
    let error = pool(&model, &x, 2).unwrap_err().to_string();
    assert!(error.contains("rows 5..10") && error.contains("row 7, column 2"), "{error}");
}

fn a_damaged_model_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.onecopy");
    write_model(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1 << 20] ^= 1;
    let model = Model::from_bytes(onecopy::AlignedBytes::copy_from(&bytes)).unwrap();
    let result = serve::predict(&model, &rows(4), &options(2), &mut |_| ());
    assert!(matches!(result, Err(PoolError::Damaged { .. })), "{result:?}");
}

fn a_process_with_threads_does_not_fork() {
    let (model, x) = (model(), rows(4));
    let thread = thread::spawn(|| thread::sleep(Duration::from_secs(1)));
    let result = pool(&model, &x, 2);
    assert!(matches!(&result, Err(PoolError::Fork { .. })), "{result:?}");
    thread.join().unwrap();
}

/// A linear model of 16 MB, so that sharing shows.
fn model() -> Model<Mapping> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onecopy");
    write_model(&path);
    // The mapping outlives the name.
    Model::open(path).unwrap()
}

fn write_model(path: &std::path::Path) {
    let coef: Vec<u8> =
        (0..OUTPUTS * FEATURES).flat_map(|at| ((at % 1009) as f64 - 500.0).to_le_bytes()).collect();
    let intercept: Vec<u8> = (0..OUTPUTS).flat_map(|at| (at as f64).to_le_bytes()).collect();
    let plan = serde_json::json!({ "plan": "native", "ops": [{
        "op": "linear_regressor", "estimator": "Ridge", "n_features": FEATURES, "n_outputs": OUTPUTS,
        "coef": 0, "intercept": 1, "flat": false,
    }] });
    onecopy::publish(path, |file| write_parts(file, &coef, &intercept, plan.to_string().as_bytes())).unwrap();
}

fn write_parts(
    file: &mut File,
    mut coef: &[u8],
    mut intercept: &[u8],
    plan: &[u8],
) -> Result<(), WriteError> {
    let mut writer = Writer::new(file, Codec::Raw)?;
    let coef_info = ArrayInfo::new(Dtype::F64, [OUTPUTS, FEATURES]);
    writer.array("coef", &coef_info, Role::Predict, &mut coef)?;
    let intercept_info = ArrayInfo::new(Dtype::F64, [OUTPUTS]);
    writer.array("intercept", &intercept_info, Role::Predict, &mut intercept)?;
    writer.finish(&Parts { graph: &[], plan, metadata: &[] }).map(drop)
}

fn rows(count: usize) -> Array2<f64> {
    Array2::from_shape_fn((count, FEATURES as usize), |(row, column)| (row * 31 + column * 7) as f64 / 13.0)
}

fn one_thread() -> RunOptions {
    RunOptions { threads: Some(1), ..RunOptions::default() }
}

fn options(workers: usize) -> PoolOptions {
    PoolOptions { workers, ..PoolOptions::default() }
}

fn pool(model: &Model<Mapping>, x: &Array2<f64>, workers: usize) -> Result<PoolRun, PoolError> {
    serve::predict(model, x, &options(workers), &mut |_| ())
}

/// `kill -9`, at once: the worker has just been forked and has rows to predict.
fn kill(pid: u32) {
    let start = Instant::now();
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success() && start.elapsed() < Duration::from_secs(5));
}
