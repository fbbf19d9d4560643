//! The `crossfade` command: arguments in, exit status out.

use std::process::ExitCode;

fn main() -> ExitCode {
    crossfade::cli::main()
}
