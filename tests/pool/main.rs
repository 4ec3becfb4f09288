//! Pools of real forked workers.
//!
//! Not part of `tests/it`: a pool forks, so its process must run a single thread, and the usual test harness runs several. `main` below
//! is the whole harness.

#[cfg(target_os = "linux")]
mod cases;

fn main() {
    #[cfg(target_os = "linux")]
    cases::run();
}
