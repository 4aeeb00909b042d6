//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::load::{ConsumerArgs, ProducerArgs};
use super::why::WhyArgs;

/// An OpenWire message broker that takes the place of ActiveMQ Classic.
#[derive(Debug, Parser)]
#[command(name = "openwired", version, subcommand_precedence_over_arg = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub common: Common,

    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub console: Configuration,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Defines a property for the configuration, such as -Dactivemq.data=/var/lib/mq.
    #[arg(short = 'D', value_name = "NAME=VALUE", global = true)]
    pub define: Vec<String>,

    /// Least important level to log: error, warn, info, debug, trace, or module=level. Beats RUST_LOG.
    #[arg(long, value_name = "LEVEL", global = true)]
    pub log: Option<String>,
}

/// Which configuration, and how to take it.
#[derive(Debug, Args)]
pub(super) struct Configuration {
    /// The configuration: a file, xbean:FILE, xbean:file:FILE or broker:(URI,…)?…; a name that is no
    /// file here is looked for in ${activemq.conf}. Without one: activemq.xml.
    #[arg(value_name = "CONF", value_parser = configuration)]
    pub conf: Option<String>,

    /// Refuses what would be left out with a warning, such as amqp connectors.
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs the broker in the foreground; also what happens without a command.
    Console {
        #[command(flatten)]
        configuration: Configuration,
        /// Leaves the terminal and reports to `start`, which alone uses this.
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Starts the broker in the background and waits until it serves.
    Start(Configuration),
    /// Stops the broker of this data directory.
    Stop {
        /// The configuration that it was started with, where that tells the data directory.
        #[arg(value_name = "CONF")]
        conf: Option<String>,
    },
    /// Stops the broker if it runs, then starts it.
    Restart(Configuration),
    /// Says whether the broker runs: exit code 0 if so, 1 if not.
    Status {
        /// The configuration that it was started with, where that tells the data directory.
        #[arg(value_name = "CONF")]
        conf: Option<String>,
    },
    /// Ends the broker at once, without an orderly stop.
    Kill {
        /// The configuration that it was started with, where that tells the data directory.
        #[arg(value_name = "CONF")]
        conf: Option<String>,
    },
    /// Reads a configuration and says what would be used, left out or refused, without starting.
    Check {
        /// The configuration, in the forms that `start` takes.
        #[arg(value_name = "FILE")]
        conf: Option<String>,
        /// Refuses what would be left out with a warning.
        #[arg(long)]
        strict: bool,
    },
    /// Looks into a store that no broker needs to serve; changes nothing.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Says why messages of a queue wait: for whom, and what keeps them.
    Why(WhyArgs),
    /// Sends messages.
    Producer(ProducerArgs),
    /// Receives messages.
    Consumer(ConsumerArgs),
}

/// What to do with a store.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Reads all of it and says what is damaged: exit code 1 if anything is.
    Verify {
        /// The directory of the store, such as data/kahadb.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Prints every record, a line each.
    Dump {
        /// The directory of the store, such as data/kahadb.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Says which files there are, how much in each is alive, and who keeps it alive.
    Stats {
        /// The directory of the store, such as data/kahadb.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Takes what can be a configuration, so that a mistyped command is not taken for a file.
fn configuration(text: &str) -> Result<String, String> {
    let looks_like_one = text.contains([':', '/', '.']) || PathBuf::from(text).is_file();
    let refused = || format!("`{text}` is neither a command nor a configuration file; try --help");
    looks_like_one.then(|| text.to_owned()).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_and_console_both_run_in_the_foreground() {
        let cli = Cli::try_parse_from(["openwired", "-Da=b", "xbean:x.xml", "--strict"]).unwrap();
        assert!(cli.command.is_none() && cli.console.strict);
        assert_eq!(cli.console.conf.as_deref(), Some("xbean:x.xml"));
        assert_eq!(cli.common.define, ["a=b"]);
        let cli = Cli::try_parse_from(["openwired", "console", "-Da=b", "-D", "c=d"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Console { .. })));
        assert_eq!(cli.common.define, ["a=b", "c=d"]);
    }

    #[test]
    fn a_mistyped_command_is_not_taken_for_a_file() {
        let error = Cli::try_parse_from(["openwired", "strat"]).unwrap_err().to_string();
        assert!(error.contains("`strat` is neither a command nor"), "{error}");
    }

    #[test]
    fn producer_and_consumer_take_the_names_of_activemq_and_our_own() {
        let line = "openwired producer --brokerUrl tcp://h:1 --messageCount 5 --persistent false \
                    --msgTTL 7 --msgGroupID g --parallelThreads 2 --transactionBatchSize=3";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Some(Command::Producer(args)) = cli.command else { panic!("no producer") };
        assert_eq!((args.load.message_count, args.msg_ttl, args.persistent), (5, 7, false));
        assert_eq!((args.load.clients, args.transaction_batch_size), (2, 3));
        let line = "openwired consumer --broker-url tcp://h:1 --ack-mode CLIENT_ACKNOWLEDGE \
                    --batch-size 4 --clients 3 --receive-time-out 100";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Some(Command::Consumer(args)) = cli.command else { panic!("no consumer") };
        assert_eq!((args.batch_size, args.load.clients), (4, 3));
        assert_eq!(args.receive_timeout, Some(100));
    }
}
