//! Reading a matrix from CSV.
//!
//! Cells are numbers; an empty one is missing (NaN). A first row without any number is a header. Where the model knows the names of
//! its features, the columns of a headed file are matched by name.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use csv::{ByteRecord, Reader, ReaderBuilder};
use ndarray::Array2;

use crate::out;

/// Whether the first row of a CSV file names the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Header {
    /// It does if none of its cells is a number.
    #[default]
    Auto,
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// Reads `path`; `names` are the model's feature names.
pub(crate) fn read(path: &Path, header: Header, names: Option<&[String]>) -> Result<Array2<f64>> {
    let file = File::open(path)?;
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let mut record = ByteRecord::new();
    ensure!(next(&mut reader, &mut record)?, "it is empty, expected rows of numbers separated by commas");
    strip_byte_order_mark(&mut record);
    let width = record.len();
    let columns = if is_header(&record, header)? {
        let found: Vec<String> = record.iter().map(text).collect();
        let columns = names.map(|names| match_names(&found, names)).transpose()?;
        if !next(&mut reader, &mut record)? {
            bail!("it has a header but no rows, expected at least one to predict from");
        }
        columns
    } else {
        None
    };
    let columns = columns.unwrap_or_else(|| (0..width).collect());
    let mut values = Vec::new();
    loop {
        let line = record.position().map_or(0, csv::Position::line);
        // The reader skips empty lines; in a file of one column they are missing cells, and would shift the rows.
        if width == 1 && reader.position().line().saturating_sub(line) > 1 {
            bail!("line {line} is empty; write `nan` for a missing value");
        }
        ensure!(
            record.len() == width,
            "line {line} has {} columns, expected {width} as in the first line",
            record.len()
        );
        for &column in &columns {
            values.push(number(&record[column], line, column)?);
        }
        if !next(&mut reader, &mut record)? {
            break;
        }
    }
    let rows = values.len() / columns.len();
    Ok(Array2::from_shape_vec((rows, columns.len()), values)?)
}

fn next(reader: &mut Reader<File>, record: &mut ByteRecord) -> Result<bool> {
    reader.read_byte_record(record).context("it cannot be read as CSV")
}

fn strip_byte_order_mark(record: &mut ByteRecord) {
    if record.get(0).is_some_and(|cell| cell.starts_with(b"\xef\xbb\xbf")) {
        let position = record.position().cloned();
        let cells: Vec<Vec<u8>> = record.iter().map(<[u8]>::to_vec).collect();
        *record =
            cells.iter().enumerate().map(|(at, cell)| if at == 0 { &cell[3..] } else { &cell[..] }).collect();
        record.set_position(position);
    }
}

fn is_header(record: &ByteRecord, header: Header) -> Result<bool> {
    let numbers = record.iter().filter(|cell| parse(cell).is_some()).count();
    let words = record.iter().filter(|cell| parse(cell).is_none()).count();
    match header {
        Header::Yes => Ok(true),
        Header::No => Ok(false),
        Header::Auto
            if words > 0
                && record.iter().all(|cell| cell.trim_ascii().is_empty() || parse(cell).is_none()) =>
        {
            Ok(true)
        }
        Header::Auto if words > 0 && numbers > 0 => bail!(
            "line 1 mixes numbers with words such as `{}`, so it is unclear whether it names the columns; say `--header yes` or `--header no`",
            record.iter().find(|cell| parse(cell).is_none()).map(text).unwrap_or_default()
        ),
        Header::Auto => Ok(false),
    }
}

/// Which column of the file each feature of the model is.
fn match_names(found: &[String], names: &[String]) -> Result<Vec<usize>> {
    let mut places = HashMap::new();
    for (at, name) in found.iter().enumerate() {
        if let Some(first) = places.insert(name.as_str(), at) {
            bail!("line 1 names columns {} and {} both `{name}`", first + 1, at + 1);
        }
    }
    let missing: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !places.contains_key(name)).collect();
    if let Some(first) = missing.first() {
        let more = if missing.len() > 1 { format!(" and {} more", missing.len() - 1) } else { String::new() };
        bail!(
            "column `{first}`{more} of the model is missing; the file has {} (`--header no` after removing line 1 goes by position)",
            listed(found.iter().map(String::as_str))
        );
    }
    let columns: Vec<usize> = names.iter().map(|name| places[name.as_str()]).collect();
    let extra = found.iter().map(String::as_str).filter(|name| !names.iter().any(|known| known == name));
    let extra: Vec<&str> = extra.collect();
    if !extra.is_empty() {
        out::note(&format!(
            "columns that the model does not know are left out: {}",
            listed(extra.iter().copied())
        ));
    }
    if !columns.is_sorted() {
        out::note("the columns are in another order than the model's features; they were matched by name");
    }
    Ok(columns)
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let count = names.len();
    let mut text = names.take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if count > SHOWN {
        text.push_str(&format!(" and {} more", count - SHOWN));
    }
    text
}

fn number(cell: &[u8], line: u64, column: usize) -> Result<f64> {
    parse(cell).with_context(|| {
        let shown: String = text(cell).chars().take(40).collect();
        let hint = if shown.contains([';', '\t']) { "; separate columns with commas" } else { "" };
        format!("line {line}, column {}: `{shown}` is not a number{hint}", column + 1)
    })
}

fn parse(cell: &[u8]) -> Option<f64> {
    match cell.trim_ascii() {
        b"" => Some(f64::NAN),
        cell => str::from_utf8(cell).ok()?.parse().ok(),
    }
}

fn text(cell: &[u8]) -> String {
    String::from_utf8_lossy(cell).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn table(content: &str, names: Option<&[&str]>) -> Result<Array2<f64>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let names: Option<Vec<String>> =
            names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        read(file.path(), Header::Auto, names.as_deref()).map_err(|error| crate::text::chain(&error))
    }

    #[test]
    fn numbers_come_in_order_and_an_empty_cell_is_missing() {
        let x = table("1,2.5\n,-3e2\ninf,nan\n", None).unwrap();
        assert_eq!((3, 2), x.dim());
        assert_eq!([1.0, 2.5], [x[[0, 0]], x[[0, 1]]]);
        assert!(x[[1, 0]].is_nan() && x[[2, 1]].is_nan() && x[[2, 0]] == f64::INFINITY);
    }

    #[test]
    fn a_header_is_seen_and_its_names_are_matched() {
        let x = table("\u{feff}b,extra,a\n1,2,3\n4,5,6\n", Some(&["a", "b"])).unwrap();
        assert_eq!(ndarray::array![[3.0, 1.0], [6.0, 4.0]], x);
        let x = table("b,a\n1,3\n", None).unwrap();
        assert_eq!(ndarray::array![[1.0, 3.0]], x);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let cases = [
            ("", "it is empty"),
            ("a,b\n", "a header but no rows"),
            ("1,2\n3\n", "line 2 has 1 columns, expected 2"),
            ("1,2\n3,x\n", "line 2, column 2: `x` is not a number"),
            ("1,2\n3;4,5\n", "separate columns with commas"),
            ("1,b\n2,3\n", "line 1 mixes numbers with words such as `b`"),
            ("1\n\n3\n", "line 2 is empty"),
        ];
        for (content, expected) in cases {
            let error = table(content, None).unwrap_err();
            assert!(error.contains(expected), "{content:?}: {error}");
        }
        let error = table("a,c\n1,2\n", Some(&["a", "b"])).unwrap_err();
        assert!(error.contains("column `b` of the model is missing; the file has `a`, `c`"), "{error}");
        let error = table("a,a\n1,2\n", Some(&["a"])).unwrap_err();
        assert!(error.contains("names columns 1 and 2 both `a`"), "{error}");
    }
}
