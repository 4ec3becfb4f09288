//! Runs the real command.

mod bad_input;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod faults;
mod house;
mod outputs;
mod pool;
mod usage;
