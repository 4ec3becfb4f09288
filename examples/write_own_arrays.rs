//! Writes a file of one's own arrays, and reads them back without copying.
//!
//! ```text
//! cargo run --example write_own_arrays /tmp/embedding.onecopy
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;

use ndarray::{Array1, Array2};
use onecopy::{FileWriter, Model};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: write_own_arrays OUTPUT.onecopy")?;

    let embedding = Array2::from_shape_fn((1000, 64), |(word, axis)| (word as f32).sin() * axis as f32);
    let counts: Array1<i64> = (0..1000).rev().collect();

    // The file appears at its path when `finish` returns, whole and on disk. Until then, and after
    // any error, the path keeps what it held.
    let mut file = FileWriter::create(&path)?;
    file.metadata(&serde_json::json!({ "language": "en", "words": 1000 }));
    file.array("embedding", &embedding)?;
    file.array("counts", &counts)?;
    let digest = file.finish()?;
    println!("wrote {path}, content {digest}");

    // A view is a window on the mapped file: no bytes are copied, and other processes see the same pages.
    let model = Model::open(&path)?;
    let view = model.array("embedding")?.view::<f32>()?;
    assert_eq!(view, embedding.into_dyn());
    println!("row 3 starts with {:?}", &model.array("embedding")?.values::<f32>()?[3 * 64..3 * 64 + 4]);

    // Asking for the wrong type is an error that says what is there.
    if let Err(error) = model.array("counts")?.view::<f32>() {
        println!("as expected: {error}");
    }
    println!("metadata: {}", model.metadata());
    Ok(())
}
