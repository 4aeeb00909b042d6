//! `store verify|dump|stats`: looks into a store without changing it.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::args::StoreCommand;
use crate::store::disk::RealDisk;
use crate::store::inspect;

/// Does what the command line asks of a store.
pub(super) fn run(command: &StoreCommand) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    let code = match command {
        StoreCommand::Verify { directory } => verify(directory, &mut out)?,
        StoreCommand::Dump { directory } => {
            inspect::dump(&RealDisk, directory, &mut out)?;
            ExitCode::SUCCESS
        }
        StoreCommand::Stats { directory } => {
            let stats = inspect::stats(&RealDisk, directory)?;
            write!(out, "{stats}").context("cannot write what was found")?;
            ExitCode::SUCCESS
        }
    };
    out.flush().context("cannot write what was found")?;
    Ok(code)
}

fn verify(directory: &Path, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let found = inspect::verify(&RealDisk, directory)?;
    write!(out, "{found}").context("cannot write what was found")?;
    Ok(if found.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
