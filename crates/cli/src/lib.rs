//! The `onecopy` command: parses arguments, calls the library, prints.
#![forbid(unsafe_code)]

mod commands;
mod csv_input;
mod npy;
mod out;
mod paths;
mod progress;
mod results;
mod table;
mod text;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use nix::sys::signal::{SigSet, Signal};

use crate::commands::Command;

/// Load a trained scikit-learn model once; serve it from every process.
///
/// onecopy turns a model saved with joblib or pickle into a file that is mapped, not loaded: opening takes microseconds
/// whatever its size, and all processes of a machine share one copy of it. Converting runs no code of the model file.
#[derive(Parser)]
#[command(name = "onecopy", version, max_term_width = 110, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  onecopy convert forest.joblib                 write forest.onecopy
  onecopy inspect forest.onecopy                what is inside
  onecopy verify forest.onecopy                 check every byte
  onecopy predict forest.onecopy x.npy -o y.npy
  onecopy pool forest.onecopy x.npy --workers 4
  onecopy archive forest.onecopy                a smaller file for storage
  onecopy bench forest.joblib                   compare with joblib on this machine

Exit codes: 0 done, 1 the input or the machine is at fault (one line on stderr says how), 2 wrong usage.";

/// Runs the command line `args`, whose first element is the name of the program.
///
/// Errors are printed as one line on stderr. The exit code is 0, 1 for bad input and failures, 2 for wrong usage.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // A write past `ulimit -f` then fails with EFBIG instead of ending the process with half a file.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", text::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whether whoever read our output (`| head`) has seen enough.
fn reader_left(error: &anyhow::Error) -> bool {
    error.downcast_ref::<out::Closed>().is_some()
}
