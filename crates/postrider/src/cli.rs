//! The command line: what can be typed, and which exit code each end has.

mod check_config;
mod completions;
mod demo;
mod explain;
mod hidden;
mod logs;
mod moment;
pub(crate) mod output;
mod receive;
mod remote;
mod replay;
mod route;
mod run;
mod schema;
mod secrets;
mod settings;
mod text;
mod topics;
mod webhooks;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use postrider_kafka::topics::TopicsError;

use crate::api::ApiError;
use crate::config::ConfigError;

/// How a command ends when nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It did what it was asked.
    Done,
    /// It looked, and what it found is not right.
    Differs,
}

/// Arguments that contradict each other in a way the parser cannot know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misused(pub(crate) String);

/// The command line was misused.
const USAGE: u8 = 64;
/// Kafka or the API could not be reached.
const UNAVAILABLE: u8 = 69;
/// The configuration is wrong.
const CONFIG: u8 = 78;

const EXAMPLES: &str = "\
Try it:
  postrider demo --count 12 --exit                  see it work, without any set-up
  postrider receive --port 9000                     a receiver that prints what comes
  postrider check-config --config postrider.yaml    is this file right, and what does it come to?
  postrider topics create --config postrider.yaml   make the topics in Kafka
  postrider run --config postrider.yaml             the daemon
  postrider route --config postrider.yaml --event event.json
                                                    which webhooks would get this event, and why not the others
  postrider explain 24957298                        what became of an order, and what comes next
  postrider webhooks add --url https://merchant.example/hooks --events order_shipped
  postrider webhooks apply -f webhooks.yaml --dry-run
  postrider logs --follow --result failed           what becomes of deliveries, as it happens
  postrider replay --from 2h --dry-run              how many deliveries failed within two hours?

Configuration: defaults, then the file, then variables such as POSTRIDER_DELIVERY__TIMEOUT=10s, then --set.
Exit codes: 0 done, 1 failed, 64 bad usage, 69 Kafka or the API could not be reached, 78 bad configuration.";

/// Delivers order and tracking events from Kafka to merchants' webhooks.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, about, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon until SIGTERM or SIGINT
    Run(run::Run),
    /// Shows it at work: everything in one process, no set-up
    Demo(demo::Demo),
    /// Checks the configuration and prints what it comes to, secrets masked
    CheckConfig(check_config::CheckConfig),
    /// Creates or checks the topics in Kafka
    #[command(subcommand)]
    Topics(topics::Topics),
    /// Lists, adds, changes and tests webhooks through the admin API
    #[command(subcommand)]
    Webhooks(webhooks::Webhooks),
    /// Shows what became of deliveries, through the admin API
    Logs(Box<logs::Logs>),
    /// Seals stored secrets anew
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// Shows which webhooks of the file would get an event, and why the others would not
    Route(route::Route),
    /// Tells everything known of one delivery or order: its records, the webhooks that want it, attempts, what comes next
    Explain(explain::Explain),
    /// Makes deliveries again: counts them, then puts them on their way at a rate of its own
    Replay(Box<replay::Replay>),
    /// Prints a JSON Schema; without a name, the names
    Schema(schema::Schema),
    /// Runs a receiver for trying out: prints what comes, verifies signatures
    Receive(receive::Receive),
    /// Prints shell completions
    Completions(completions::Completions),
}

/// Does what the arguments ask and says how it went.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>, variables: BTreeMap<String, String>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    match dispatch(cli.command, variables) {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Differs) => ExitCode::FAILURE,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn dispatch(command: Command, variables: BTreeMap<String, String>) -> anyhow::Result<End> {
    match command {
        Command::Run(command) => command.run(variables),
        Command::Demo(command) => command.run(),
        Command::CheckConfig(command) => command.run(variables),
        Command::Topics(command) => command.run(variables),
        Command::Webhooks(command) => command.run(&variables),
        Command::Logs(command) => command.run(&variables),
        Command::Secrets(command) => command.run(&variables),
        Command::Route(command) => command.run(variables),
        Command::Explain(command) => command.run(&variables),
        Command::Replay(command) => command.run(&variables),
        Command::Schema(command) => command.run(),
        Command::Receive(command) => command.run(),
        Command::Completions(command) => command.run(),
    }
}

/// Help and version end well; anything else was bad usage.
fn misused(error: &clap::Error) -> ExitCode {
    // Nothing is left to tell when the terminal is gone.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    output::complain(error);
    ExitCode::from(code_of(error))
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<Misused>()) {
        USAGE
    } else if error.chain().any(is_configuration) {
        CONFIG
    } else if error.chain().any(is_unreachable) {
        UNAVAILABLE
    } else {
        1
    }
}

fn is_configuration(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<ConfigError>() || matches!(cause.downcast_ref(), Some(TopicsError::Client(_)))
}

fn is_unreachable(cause: &(dyn std::error::Error + 'static)) -> bool {
    let kafka = matches!(
        cause.downcast_ref(),
        Some(TopicsError::Unreachable { .. } | TopicsError::Unwelcome { .. })
    );
    kafka || cause.downcast_ref().is_some_and(ApiError::is_unreachable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn errors_keep_their_code_under_context() {
        let config = anyhow::Error::new(ConfigError { faults: Vec::new() }).context("more");
        assert_eq!(code_of(&config), CONFIG);
        let unreachable = TopicsError::Unreachable {
            brokers: "b:1".to_owned(),
            source: rdkafka::error::KafkaError::Canceled,
        };
        assert_eq!(
            code_of(&Err::<(), _>(unreachable).context("more").unwrap_err()),
            UNAVAILABLE
        );
        assert_eq!(code_of(&anyhow::anyhow!("anything")), 1);
    }
}
