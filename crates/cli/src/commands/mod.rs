//! One file per command.
#![forbid(unsafe_code)]

mod archive;
mod idle;
mod pool;
mod predict;
mod restore;
mod verify;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    Verify(verify::Verify),
    Predict(predict::Predict),
    Pool(pool::Pool),
    Archive(archive::Archive),
    Restore(restore::Restore),
    #[command(hide = true)]
    Idle(idle::Idle),
}

impl Command {
    /// Does it.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Command::Verify(command) => command.run(),
            Command::Predict(command) => command.run(),
            Command::Pool(command) => command.run(),
            Command::Archive(command) => command.run(),
            Command::Restore(command) => command.run(),
            Command::Idle(idle) => idle.run(),
        }
    }
}
