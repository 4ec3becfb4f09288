//! Words and numbers for people.
#![forbid(unsafe_code)]

use std::time::Duration;

/// The error and its causes in one line. Control characters, which a file may have brought in, are escaped.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let part = cause.to_string();
        // Some foreign errors repeat their source.
        if parts.last().is_none_or(|last| !last.ends_with(&part)) {
            parts.push(part);
        }
    }
    printable(&parts.join(": "))
}

/// `text` with control characters escaped.
pub(crate) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// `281.5 MB`: decimal units, as `ls -l` and disks count.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Reads a size: `123`, `500MB`, `4GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("", 1),
    ];
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = UNITS.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(&text[digits.len()..]));
    let count = digits.trim().parse::<u64>().ok();
    let size = unit.zip(count).and_then(|((_, unit), count)| count.checked_mul(*unit));
    size.ok_or_else(|| "expected a size such as 4GiB, 500MB or a number of bytes".to_owned())
}

/// `17 us`, `3.4 ms`, `2.10 s`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// `text` in columns: the first left-aligned, the others right-aligned, two spaces between.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
            if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_a_file_brought_into_it() {
        let error = anyhow::anyhow!("array `a\nb\u{1b}[31m` is damaged").context("cannot read `x`");
        assert_eq!("cannot read `x`: array `a\\nb\\u{1b}[31m` is damaged", chain(&error));
    }

    #[test]
    fn sizes_are_read_with_either_kind_of_unit() {
        assert_eq!(Ok(4 << 30), size("4GiB"));
        assert_eq!(Ok(500_000_000), size("500 MB"));
        assert_eq!(Ok(17), size("17"));
        assert!(size("4 lightyears").is_err() && size("GB").is_err() && size("99999999999TB").is_err());
    }

    #[test]
    fn sizes_are_decimal() {
        assert_eq!(
            ["999 bytes", "1.0 kB", "281.5 MB"],
            [bytes(999), bytes(1000), bytes(281_511_977)].map(|s| s).each_ref().map(String::as_str)
        );
    }
}
