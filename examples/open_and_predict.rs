//! Opens a model file and predicts a few rows.
//!
//! ```text
//! onecopy convert forest.joblib
//! cargo run --example open_and_predict forest.onecopy
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use ndarray::Array2;
use onecopy::{Method, Model, Plan};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: open_and_predict MODEL.onecopy")?;

    // Opening maps the file and checks its index; it reads none of the arrays, so it takes
    // microseconds for a model of any size.
    let start = Instant::now();
    let model = Model::open(&path)?;
    println!("opened {} bytes in {:?}", model.len_bytes(), start.elapsed());

    // Not every estimator can be predicted from natively. The file says so before anyone tries.
    if let Plan::Uncovered { what, why, .. } = model.plan() {
        println!("{what} is stored, but not predicted from natively: {why}");
        return Ok(());
    }
    let n_features = model.n_features().ok_or("the model does not say how many features it has")?;
    let methods: Vec<&str> = model.methods().into_iter().map(Method::name).collect();
    println!("{n_features} features in; it can {}", methods.join(", "));

    // Rows are an ndarray view of f32 or f64. Here: three rows of made-up numbers.
    let x =
        Array2::from_shape_fn((3, n_features as usize), |(row, column)| (row * 7 + column * 3) as f32 % 16.0);
    let method = model.methods()[0];
    let output = model.run(method, &x, &Default::default())?;

    // The answer has NumPy's dtype: numbers for most models, `<U..` for labels that are strings.
    for array in &output.arrays {
        println!("{method}: {} of shape {:?}", array.info().dtype, array.info().shape);
        if let Some(values) = array.values::<f64>() {
            println!("{values:?}");
        } else if let Some(values) = array.values::<i64>() {
            println!("{values:?}");
        }
    }
    Ok(())
}
