//! Measures openwired beside ActiveMQ: both get the same configuration and the same load in turn.
//!
//! `cargo bench --bench duel -- [SCENARIO…] [--check]`; see `benches/README.md`.

mod bridge;
mod brokers;
mod java;
mod load;
mod machine;
mod persistent;
mod report;
mod rounds;
mod scenarios;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Parser;

use java::JavaLoad;
use rounds::{Duel, Scenario};
use scenarios::ALL;

/// Measures openwired beside ActiveMQ 5.17.2 of Debian.
#[derive(Debug, Parser)]
struct Args {
    /// Which scenarios to run; all if none is named.
    scenarios: Vec<String>,
    /// Runs of each broker, of which the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Messages stored in `backlog`.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// What flows past the message that stays in `pinned`, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    volume: u64,
    /// Writes the figures to a file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Ends with code 1 where a target is missed.
    #[arg(long)]
    check: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let chosen = chosen(&args.scenarios)?;
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut duel = Duel {
        runtime,
        java: JavaLoad::start()?,
        runs: args.runs.into(),
        messages: args.messages,
        volume_mib: args.volume,
    };
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores, medians of {} runs of each broker in turn\n\n{}",
        args.runs,
        report::HEAD
    );
    let mut all = Vec::new();
    for scenario in chosen {
        eprintln!("{}: {} ...", scenario.name, scenario.about);
        let rows = (scenario.run)(&mut duel).with_context(|| scenario.name)?;
        rows.iter().for_each(|row| println!("{row}"));
        all.extend(rows);
    }
    println!("\ntook {:.0} s", begin.elapsed().as_secs_f64());
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&all)?)
            .with_context(|| format!("writing {}", file.display()))?;
    }
    let missed = all.iter().filter(|row| !row.holds()).count();
    println!("{missed} targets missed");
    Ok(if args.check && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    let known: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
    for name in names {
        ensure!(
            known.contains(&name.as_str()),
            "no scenario {name}; there are: {}",
            known.join(", ")
        );
    }
    let wanted =
        |scenario: &&Scenario| names.is_empty() || names.iter().any(|it| it == scenario.name);
    Ok(ALL.iter().filter(wanted).collect())
}
