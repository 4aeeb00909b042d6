//! The command line: what `openwired` is asked to do, and its exit code.
//!
//! * [`args`] is what may be said; [`layout`] where things lie; [`source`] which configuration is meant.
//! * [`daemon`] starts, stops and looks for the broker in the background by its [`pid_file`];
//!   [`console`] runs it and keeps its [`status_file`].
//! * [`load`] sends and receives; [`store`] looks into a store; [`why`] asks why messages wait.
//!
//! Exit codes: 0 done; 1 it failed, or `status` found no broker; 2 the command line makes no sense, or
//! `check` found what would not be served.

mod args;
mod console;
mod daemon;
mod layout;
mod load;
mod log;
mod pid_file;
mod source;
mod status_file;
mod store;
mod why;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use layout::Layout;

use crate::config;

/// Does what the command line says.
pub fn run() -> ExitCode {
    #[cfg(feature = "fail-points")]
    crate::base::fail_point::arm();
    let cli = Cli::parse();
    match dispatch(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ERROR: {}", in_words(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each said once: many already end with what caused them.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    let Cli { common, command, console } = cli;
    let layout = |conf: Option<&str>| {
        Layout::of_process(&common.define, source::named_file(conf)).map_err(anyhow::Error::from)
    };
    let Some(command) = command else {
        return console::run(&layout(console.conf.as_deref())?, common, console, false);
    };
    match command {
        Command::Console { configuration, detached } => {
            let layout = layout(configuration.conf.as_deref())?;
            console::run(&layout, common, configuration, *detached)
        }
        Command::Start(configuration) => {
            let layout = layout(configuration.conf.as_deref())?;
            daemon::start(&layout, common, configuration)
        }
        Command::Restart(configuration) => {
            let layout = layout(configuration.conf.as_deref())?;
            daemon::restart(&layout, common, configuration)
        }
        Command::Stop { conf } => daemon::stop(&layout(conf.as_deref())?),
        Command::Status { conf } => daemon::status(&layout(conf.as_deref())?),
        Command::Kill { conf } => daemon::kill(&layout(conf.as_deref())?),
        Command::Check { conf, strict } => {
            let layout = layout(conf.as_deref())?;
            let source = source::resolve(conf.as_deref(), &layout)?;
            let report = config::check(&source, &source::environment(&layout, *strict));
            println!("{report}");
            Ok(ExitCode::from(report.exit_code()))
        }
        Command::Store(command) => {
            log::to_stderr(common.log.as_deref())?;
            store::run(command)
        }
        Command::Why(args) => {
            log::to_stderr(common.log.as_deref())?;
            why::run(args)
        }
        Command::Producer(args) => {
            log::to_stderr(common.log.as_deref())?;
            load::produce(args)
        }
        Command::Consumer(args) => {
            log::to_stderr(common.log.as_deref())?;
            load::consume(args)
        }
    }
}
