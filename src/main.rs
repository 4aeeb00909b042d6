//! The process: hands the command line to [`openwired::cli`] and exits with its code.

use std::process::ExitCode;

/// Gives memory back to the system once messages are gone, which the C library's does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    openwired::cli::run()
}
