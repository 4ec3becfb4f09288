//! Runs the real command.

mod bad_input;
mod house;
mod outputs;
mod pool;
mod usage;
