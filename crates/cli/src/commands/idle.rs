//! `onecopy idle`: does nothing until standard input ends; what measurements subtract as the cost of a process.
#![forbid(unsafe_code)]

use std::io;

use anyhow::{Context, Result};
use clap::Args;

use crate::out;

/// Print one JSON line, then wait until standard input ends.
#[derive(Args)]
pub(crate) struct Idle {}

impl Idle {
    pub(crate) fn run(&self) -> Result<()> {
        out::print(&format!("{{\"pid\":{}}}\n", std::process::id()))?;
        wait_for_end_of_input()
    }
}

/// Waits until standard input ends.
pub(crate) fn wait_for_end_of_input() -> Result<()> {
    io::copy(&mut io::stdin().lock(), &mut io::sink()).context("cannot read standard input")?;
    Ok(())
}
