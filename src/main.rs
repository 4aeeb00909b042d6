//! The process: hands the command line to [`openwired::cli`] and exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    openwired::cli::run()
}
