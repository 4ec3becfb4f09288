//! NumPy's files: `.npy` in, `.npy` and `.npz` out.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Result, bail, ensure};
use ndarray::{Array2, ShapeBuilder};
use onecopy::{ArrayInfo, Dtype, Kind, Order, OutputArray};

use crate::table::Table;

/// Reads a two-dimensional array of numbers.
pub(crate) fn read(path: &Path) -> Result<Table> {
    let bytes = fs::read(path)?;
    let (info, range) = onecopy::read_npy_header(&bytes)?;
    let data = usize::try_from(range.start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    to_table(&info, data)
}

fn to_table(info: &ArrayInfo, data: &[u8]) -> Result<Table> {
    let shape = shape_of(info)?;
    let Dtype::Plain(plain) = &info.dtype else {
        bail!("its dtype is a record, expected numbers; save the fields as columns of one array");
    };
    let cells = shape.0.checked_mul(shape.1).and_then(|cells| cells.checked_mul(plain.itemsize as usize));
    ensure!(cells == Some(data.len()), "its header calls for {cells:?} bytes of data, found {}", data.len());
    macro_rules! values {
        ($raw:ty, $to:ty, $convert:expr) => {
            data.chunks_exact(size_of::<$raw>())
                .map(|chunk| {
                    let chunk = chunk.try_into().expect("chunks_exact gives chunks of this size");
                    let value = if plain.big_endian { big::<{ size_of::<$raw>() }>(chunk) } else { chunk };
                    $convert(<$raw>::from_le_bytes(value))
                })
                .collect::<Vec<$to>>()
        };
    }
    let narrow = match (plain.kind, plain.itemsize) {
        (Kind::Float, 4) => Some(values!(f32, f32, |value| value)),
        (Kind::Float, 2) => Some(values!(u16, f32, half)),
        _ => None,
    };
    if let Some(values) = narrow {
        return Ok(Table::F32(matrix(values, shape, info.order)?));
    }
    let wide = match (plain.kind, plain.itemsize) {
        (Kind::Float, 8) => values!(f64, f64, |value| value),
        (Kind::Bool | Kind::Uint, 1) => values!(u8, f64, f64::from),
        (Kind::Uint, 2) => values!(u16, f64, f64::from),
        (Kind::Uint, 4) => values!(u32, f64, f64::from),
        (Kind::Int, 1) => values!(i8, f64, f64::from),
        (Kind::Int, 2) => values!(i16, f64, f64::from),
        (Kind::Int, 4) => values!(i32, f64, f64::from),
        (Kind::Uint, 8) => exact(values!(u64, i128, i128::from))?,
        (Kind::Int, 8) => exact(values!(i64, i128, i128::from))?,
        _ => bail!(
            "its dtype is `{}`, expected float, integer or bool; convert it with `x.astype(float)`",
            info.dtype
        ),
    };
    Ok(Table::F64(matrix(wide, shape, info.order)?))
}

fn shape_of(info: &ArrayInfo) -> Result<(usize, usize)> {
    match info.shape.as_slice() {
        [rows, columns] => Ok((usize::try_from(*rows)?, usize::try_from(*columns)?)),
        [len] => bail!(
            "it has one dimension of {len} values, expected rows and columns; save `x.reshape(1, -1)` for one sample or `x.reshape(-1, 1)` for one feature"
        ),
        other => bail!("it has {} dimensions, expected rows and columns", other.len()),
    }
}

fn matrix<T>(values: Vec<T>, shape: (usize, usize), order: Order) -> Result<Array2<T>> {
    Ok(Array2::from_shape_vec(shape.set_f(order == Order::F), values)?)
}

fn big<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    bytes.reverse();
    bytes
}

fn exact(values: Vec<i128>) -> Result<Vec<f64>> {
    const LIMIT: i128 = 1 << 53;
    match values.iter().find(|value| value.abs() > LIMIT) {
        Some(value) => bail!("it holds {value}, which a float64 cannot hold exactly; scale that column"),
        None => Ok(values.into_iter().map(|value| value as f64).collect()),
    }
}

/// An IEEE 754 half-precision number.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10) & 31, u32::from(bits) & 1023);
    match exponent {
        0 => f32::from_bits(sign | (fraction as f32 / (1 << 24) as f32).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}

fn write(array: &OutputArray, out: &mut dyn Write) -> io::Result<()> {
    let info = array.info();
    write_header(&info.dtype.to_string(), &info.shape, info.order, out)?;
    out.write_all(array.bytes())
}

fn write_header(dtype: &str, shape: &[u64], order: Order, out: &mut dyn Write) -> io::Result<()> {
    const BEFORE: usize = 10;
    let shape: String = shape.iter().map(|len| format!("{len}, ")).collect();
    let descr = if dtype.starts_with('[') { dtype.to_owned() } else { format!("'{dtype}'") };
    let fortran = if order == Order::F { "True" } else { "False" };
    let mut header =
        format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': ({}), }}", shape_text(&shape));
    let padding = (BEFORE + header.len() + 1).next_multiple_of(64) - (BEFORE + header.len() + 1);
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let len = u16::try_from(header.len())
        .map_err(|_| io::Error::other("the dtype is too long for an .npy file"))?;
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(header.as_bytes())
}

/// As Python prints a tuple: `3,` and `3, 4`.
fn shape_text(shape: &str) -> &str {
    let text = shape.trim_end();
    match text.matches(',').count() {
        0 | 1 => text,
        _ => text.trim_end_matches(','),
    }
}

/// Writes a table as an `.npy` file, C order.
pub(crate) fn write_table(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    let (rows, columns) = table.dim();
    let (dtype, bytes): (&str, Vec<u8>) = match table {
        Table::F32(x) => ("<f4", x.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Table::F64(x) => ("<f8", x.iter().flat_map(|value| value.to_le_bytes()).collect()),
    };
    write_header(dtype, &[rows as u64, columns as u64], Order::C, out)?;
    out.write_all(&bytes)
}

/// One array as the bytes of an `.npy` file.
pub(crate) fn to_bytes(array: &OutputArray) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(array.bytes().len() + 128);
    write(array, &mut bytes)?;
    Ok(bytes)
}

/// Writes arrays as an `.npz` file, named `output_0`, `output_1` and so on.
pub(crate) fn write_npz(arrays: &[OutputArray], out: impl Write + io::Seek) -> io::Result<()> {
    let mut archive = zip::ZipWriter::new(out);
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .large_file(true);
    for (at, array) in arrays.iter().enumerate() {
        archive.start_file(format!("output_{at}.npy"), options)?;
        write(array, &mut archive)?;
    }
    archive.finish()?.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(dtype: Dtype, shape: &[u64], order: Order) -> ArrayInfo {
        ArrayInfo { dtype, shape: shape.to_vec(), order }
    }

    #[test]
    fn every_number_type_becomes_the_same_matrix() {
        let expected = ndarray::array![[1.0, 2.0], [3.0, 4.0]];
        let f8: Vec<u8> = [1.0f64, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let i2: Vec<u8> = [1i16, 2, 3, 4].iter().flat_map(|value| value.to_le_bytes()).collect();
        let i8: Vec<u8> = [1i64, 3, 2, 4].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(
            Table::F64(expected.clone()),
            to_table(&info(Dtype::F64, &[2, 2], Order::C), &f8).unwrap()
        );
        assert_eq!(
            Table::F64(expected.clone()),
            to_table(&info(Dtype::I16, &[2, 2], Order::C), &i2).unwrap()
        );
        assert_eq!(
            Table::F64(expected.clone()),
            to_table(&info(Dtype::I64, &[2, 2], Order::F), &i8).unwrap()
        );
        let swapped: Vec<u8> = i2.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
        let mut big = onecopy::Plain::new(Kind::Int, 2);
        big.big_endian = true;
        let big = info(Dtype::Plain(big), &[2, 2], Order::C);
        assert_eq!(Table::F64(expected), to_table(&big, &swapped).unwrap());
    }

    #[test]
    fn half_precision_keeps_its_value() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x7c00, f32::INFINITY),
        ];
        for (bits, expected) in cases {
            assert_eq!(expected, half(bits));
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn what_is_not_a_matrix_of_numbers_is_refused_with_a_hint() {
        let error = to_table(&info(Dtype::F64, &[4], Order::C), &[0; 32]).unwrap_err().to_string();
        assert!(error.contains("one dimension of 4 values") && error.contains("reshape(1, -1)"), "{error}");
        let error = to_table(&info(Dtype::C64, &[1, 1], Order::C), &[0; 8]).unwrap_err().to_string();
        assert!(error.contains("expected float, integer or bool"), "{error}");
        let big = (1i64 << 53) + 1;
        let error =
            to_table(&info(Dtype::I64, &[1, 1], Order::C), &big.to_le_bytes()).unwrap_err().to_string();
        assert!(error.contains("9007199254740993"), "{error}");
    }
}
