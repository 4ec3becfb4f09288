//! The `onecopy` command: parses arguments, calls the library, prints.
#![forbid(unsafe_code)]

mod commands;
mod csv_input;
mod npy;
mod out;
mod paths;
mod place;
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
pub use crate::paths::{archived_name, converted_name, restored_name};

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
  onecopy archive v2.onecopy --base shelf       one of many versions, which share what they have in common
  onecopy bench forest.joblib                   compare with joblib on this machine

Exit codes: 0 done, 1 the input or the machine is at fault (one line on stderr says how), 2 wrong usage.";

/// Runs the command line `args`, whose first element is the name of the program.
///
/// Errors are printed as one line on stderr. The exit code is 0, 1 for bad input and failures, 2 for wrong usage.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(exit_code(args))
}

/// [`run`] with the exit code as a number.
pub fn exit_code(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    // A write past `ulimit -f` then fails with EFBIG instead of ending the process with half a file.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
    match cli.command.run() {
        Ok(()) => 0,
        Err(error) if reader_left(&error) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", text::chain(&error));
            1
        }
    }
}

/// Whether whoever read our output (`| head`) has seen enough.
fn reader_left(error: &anyhow::Error) -> bool {
    error.downcast_ref::<out::Closed>().is_some()
}
