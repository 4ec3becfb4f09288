//! One file per command.
#![forbid(unsafe_code)]

mod archive;
mod bench;
mod cache;
mod convert;
mod idle;
mod inspect;
mod pool;
mod predict;
mod prune;
mod restore;
mod sign;
mod verify;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    Convert(convert::Convert),
    Inspect(inspect::Inspect),
    Verify(verify::Verify),
    Predict(predict::Predict),
    Pool(pool::Pool),
    Archive(archive::Archive),
    Restore(restore::Restore),
    Prune(prune::Prune),
    Sign(sign::Sign),
    Cache(cache::Cache),
    Bench(bench::Bench),
    #[command(hide = true)]
    Idle(idle::Idle),
}

impl Command {
    /// Does it.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Command::Convert(command) => command.run(),
            Command::Inspect(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Predict(command) => command.run(),
            Command::Pool(command) => command.run(),
            Command::Archive(command) => command.run(),
            Command::Restore(command) => command.run(),
            Command::Prune(command) => command.run(),
            Command::Sign(command) => command.run(),
            Command::Cache(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Idle(idle) => idle.run(),
        }
    }
}
