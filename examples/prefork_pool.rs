//! Predicts with four processes that share one copy of a model.
//!
//! ```text
//! onecopy convert forest.joblib
//! cargo run --release --example prefork_pool forest.onecopy
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;

use ndarray::Array2;
use onecopy::serve::{self, PoolEvent, PoolOptions};
use onecopy::{Model, Role};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: prefork_pool MODEL.onecopy")?;

    // The parent maps the file. Nothing here may start a thread: a forked child would inherit the locks of threads
    // that it does not have. `serve::predict` checks that and refuses otherwise.
    let model = Model::open(&path)?;
    let n_features = model.n_features().ok_or("this model is not predicted from natively")?;
    let x = Array2::from_shape_fn((1000, n_features as usize), |(row, column)| {
        ((row * 31 + column * 17) % 97) as f32 / 6.0
    });

    // Each worker predicts 250 rows from the inherited mapping; answers come back in the order of the rows.
    let options = PoolOptions { workers: 4, method: model.methods()[0], ..PoolOptions::default() };
    let run = serve::predict(&model, &x, &options, &mut |event| match event {
        PoolEvent::Started { worker, rows, .. } => println!("worker {worker} predicts rows {rows:?}"),
        PoolEvent::Died { worker, how, .. } => println!("worker {worker} died ({how}) and is replaced"),
        _ => {}
    })?;

    // A page that n processes map counts 1/n in the PSS of each, so the sum is what the machine really spends.
    let pss: u64 = run.workers.iter().filter_map(|worker| worker.memory).map(|memory| memory.pss).sum();
    let one_copy: u64 =
        model.arrays().filter(|array| array.role() == Role::Predict).map(|array| array.len_bytes()).sum();
    println!("{:?} answers of {}", run.output.arrays[0].info().shape, run.output.arrays[0].info().dtype);
    println!("4 workers hold {pss} bytes together; what prediction reads is {one_copy} bytes");

    // One process gives the same answers, bit for bit.
    let alone = model.run(options.method, &x, &Default::default())?;
    assert_eq!(alone.arrays[0].bytes(), run.output.arrays[0].bytes());
    println!("one process gives the same answers");
    Ok(())
}
