//! Compresses a file for storage, and gets every byte of it back.
//!
//! ```text
//! cargo run --release --example archive_and_restore /tmp/some-directory
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;

use ndarray::Array2;
use onecopy::{ArchiveOptions, FileWriter, Level, Model, VerifyOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args().nth(1).ok_or("usage: archive_and_restore DIRECTORY")?.into();
    let (hot, cold, back) =
        (folder.join("grid.onecopy"), folder.join("grid.cold.onecopy"), folder.join("back.onecopy"));

    let mut file = FileWriter::create(&hot)?;
    file.array("grid", &Array2::from_shape_fn((512, 512), |(row, column)| (row / 16 + column / 16) as f64))?;
    file.finish()?;

    // An archive holds the same content in compressed blocks. `progress` is told how far the work is; here nobody listens.
    let report = onecopy::archive(&hot, &cold, &ArchiveOptions { level: Level::Best }, &|_| ())?;
    println!("{} bytes became {}", report.source_bytes, report.bytes);

    // It is the same model by identity, and can be inspected and verified, but not mapped as arrays.
    let archived = Model::open(&cold)?;
    assert_eq!(Model::open(&hot)?.digest(), archived.digest());
    archived.verify(VerifyOptions { digests: true }, &|_| ())?;
    if let Err(error) = archived.array("grid")?.view::<f64>() {
        println!("as expected: {error}");
    }

    // Restoring gives the file back, byte for byte.
    onecopy::restore(&cold, &back, &|_| ())?;
    assert_eq!(std::fs::read(&hot)?, std::fs::read(&back)?);
    println!("restored every byte of {}", hot.display());
    Ok(())
}
