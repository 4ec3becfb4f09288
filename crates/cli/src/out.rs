//! Standard output: buffered, and quiet when its reader leaves.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};
use serde::Serialize;

/// Whoever read our output closed it; not a failure.
#[derive(Debug)]
pub(crate) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for Closed {}

/// Gives `write` standard output, and flushes it.
pub(crate) fn stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What is still buffered has no reader; writing it on drop would fail again.
            let _ = out.into_parts();
            Err(Closed.into())
        }
        other => other.context("cannot write to standard output"),
    }
}

/// Prints text.
pub(crate) fn print(text: &str) -> Result<()> {
    stdout(|out| out.write_all(text.as_bytes()))
}

/// Prints one JSON document.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("cannot write the report as JSON")?;
    print(&(text + "\n"))
}

/// A remark on standard error; nobody reading it is no failure.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "note: {}", crate::text::printable(text));
}
