//! Entry point of the `onecopy` command.
fn main() {}
