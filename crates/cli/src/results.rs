//! Where predictions go: a file whose ending says how it is written, or CSV on standard output.
#![forbid(unsafe_code)]

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use onecopy::{Dtype, Kind, Output, OutputArray};

use crate::{npy, out};

/// A path whose ending says how predictions are written.
#[derive(Clone, Debug)]
pub(crate) struct OutputPath {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Npy,
    Npz,
    Csv,
}

impl FromStr for OutputPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let extension =
            path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let format = match extension.as_deref() {
            Some("npy") => Format::Npy,
            Some("npz") => Format::Npz,
            Some("csv") => Format::Csv,
            _ => return Err("expected a name that ends in .npy, .npz or .csv".to_owned()),
        };
        Ok(OutputPath { path, format })
    }
}

impl OutputPath {
    /// The path as given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes predictions to `path`, whole or not at all; without a path as CSV to standard output.
pub(crate) fn write(output: &Output, path: Option<&OutputPath>) -> Result<()> {
    let Some(OutputPath { path, format }) = path else {
        let table = csv_text(only(output)?)?;
        return out::stdout(|out| out.write_all(&table));
    };
    let table = match format {
        Format::Csv => csv_text(only(output)?)?,
        Format::Npy => npy::to_bytes(only(output)?)?,
        Format::Npz => Vec::new(),
    };
    let written = onecopy::publish(path, |file| match format {
        Format::Npz => npy::write_npz(&output.arrays, BufWriter::new(file)),
        Format::Npy | Format::Csv => file.write_all(&table),
    });
    written.with_context(|| format!("cannot write `{}`", path.display()))
}

fn only(output: &Output) -> Result<&OutputArray> {
    match output.arrays.as_slice() {
        [array] => Ok(array),
        arrays => bail!(
            "the model has {0} outputs and gives {0} arrays for this method, which do not fit into one table; \
             give `-o NAME.npz`, which holds `output_0` to `output_{1}`",
            arrays.len(),
            arrays.len().saturating_sub(1)
        ),
    }
}

/// One line per row, no header. Floats have as many digits as it takes to read the same bits back.
fn csv_text(array: &OutputArray) -> Result<Vec<u8>> {
    let info = array.info();
    let itemsize = info.dtype.itemsize() as usize;
    let columns = info.shape.iter().skip(1).product::<u64>();
    let row_bytes = usize::try_from(columns)?.saturating_mul(itemsize);
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in array.bytes().chunks_exact(row_bytes.max(1)) {
        let cells: Result<Vec<String>> =
            row.chunks_exact(itemsize).map(|cell| text(&info.dtype, cell)).collect();
        writer.write_record(cells?)?;
    }
    writer.into_inner().context("cannot write CSV")
}

fn text(dtype: &Dtype, cell: &[u8]) -> Result<String> {
    macro_rules! number {
        ($type:ty) => {
            <$type>::from_le_bytes(cell.try_into()?).to_string()
        };
    }
    let Dtype::Plain(plain) = dtype else {
        bail!("values of dtype `{dtype}` have no form in CSV; give `-o NAME.npy`")
    };
    let cell = &match plain.big_endian && plain.kind != Kind::Str {
        true => cell.iter().rev().copied().collect::<Vec<u8>>(),
        false => cell.to_vec(),
    }[..];
    Ok(match (plain.kind, plain.itemsize) {
        (Kind::Bool, 1) => if cell == [0] { "False" } else { "True" }.to_owned(),
        (Kind::Int, 1) => number!(i8),
        (Kind::Int, 2) => number!(i16),
        (Kind::Int, 4) => number!(i32),
        (Kind::Int, 8) => number!(i64),
        (Kind::Uint, 1) => number!(u8),
        (Kind::Uint, 2) => number!(u16),
        (Kind::Uint, 4) => number!(u32),
        (Kind::Uint, 8) => number!(u64),
        (Kind::Float, 4) => float(f32::from_le_bytes(cell.try_into()?), f32::is_nan),
        (Kind::Float, 8) => float(f64::from_le_bytes(cell.try_into()?), f64::is_nan),
        (Kind::Str, _) => characters(cell, plain.big_endian),
        _ => bail!("values of dtype `{dtype}` have no form in CSV; give `-o NAME.npy`"),
    })
}

/// As Python prints it: shortest digits that give the same bits.
fn float<T: Copy + std::fmt::Debug>(value: T, is_nan: impl Fn(T) -> bool) -> String {
    if is_nan(value) { "nan".to_owned() } else { format!("{value:?}") }
}

/// UCS-4 characters up to the padding.
fn characters(cell: &[u8], big_endian: bool) -> String {
    let codes = cell.chunks_exact(4).map(|code| {
        let code: [u8; 4] = code.try_into().expect("chunks of four");
        u32::from_le_bytes(if big_endian { [code[3], code[2], code[1], code[0]] } else { code })
    });
    let codes: Vec<u32> = codes.collect();
    let len = codes.iter().rposition(|&code| code != 0).map_or(0, |last| last + 1);
    codes[..len].iter().map(|&code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Writes predictions to `path` if there is one.
pub(crate) fn write_if_asked(output: &Output, path: Option<&OutputPath>) -> Result<()> {
    path.map_or(Ok(()), |path| write(output, Some(path)))
}
