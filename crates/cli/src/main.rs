//! Entry point of the `onecopy` command.
fn main() -> std::process::ExitCode {
    onecopy_cli::run(std::env::args_os())
}
