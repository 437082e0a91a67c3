//! `postrider topics`: what Kafka has to have.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use postrider_kafka::Connection;
use postrider_kafka::rights::commands;
use postrider_kafka::topics::{Made, Topics as Cluster, TopicsError};

use super::End;
use super::output::say;
use super::settings::Settings;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(crate) enum Topics {
    /// Creates the topics that are missing
    #[command(after_help = "Example: postrider topics create --config postrider.yaml")]
    Create(Create),
    /// Compares the cluster with what is needed; exit code 1 names each difference
    #[command(after_help = "Example: postrider topics check --config postrider.yaml")]
    Check(Check),
    /// Prints the least ACLs that postrider needs, as commands of Kafka's own tool
    #[command(after_help = "\
Example: postrider topics acls --config postrider.yaml --principal User:postrider
Whoever administers Kafka runs the lines, with --command-config FILE where the tool needs one. Nothing is asked of Kafka.")]
    Acls(Acls),
}

#[derive(Debug, Args)]
pub(crate) struct Acls {
    #[command(flatten)]
    settings: Settings,
    /// Who is to be allowed, as Kafka names it
    #[arg(long, value_name = "TYPE:NAME", value_parser = principal)]
    principal: String,
    /// What it is to be allowed to do
    #[arg(long = "for", value_enum, default_value_t = Purpose::Run)]
    purpose: Purpose,
}

/// What rights are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Purpose {
    /// `postrider run`
    Run,
    /// Replays and explanations, on top of `run`
    Replay,
    /// `postrider topics create`
    Create,
    /// `postrider topics check`
    Check,
}

fn principal(text: &str) -> Result<String, String> {
    let (kind, name) = text.split_once(':').unwrap_or_default();
    let named = !kind.is_empty() && !name.is_empty() && !text.contains(char::is_control);
    named
        .then(|| text.to_owned())
        .ok_or_else(|| "write it as Kafka does, like User:postrider".to_owned())
}

impl Acls {
    fn run(self, variables: BTreeMap<String, String>) -> anyhow::Result<End> {
        let config = self.settings.load(variables)?;
        let needs = config.needs();
        let grants = match self.purpose {
            Purpose::Run => needs.to_run(),
            Purpose::Replay => needs.to_replay(),
            Purpose::Create => needs.to_create(),
            Purpose::Check => needs.to_check(),
        };
        say(&commands(&grants, &self.principal, &config.kafka.brokers).join("\n"))?;
        Ok(End::Done)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    settings: Settings,
    /// Creates missing source topics too, with one partition: for trying out
    #[arg(long)]
    with_sources: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    settings: Settings,
}

impl Topics {
    pub(crate) fn run(self, variables: BTreeMap<String, String>) -> anyhow::Result<End> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        match self {
            Self::Create(create) => {
                let config = create.settings.load(variables)?;
                let made = runtime.block_on(cluster(&config)?.create(&config.layout(), create.with_sources))?;
                say(&made.iter().map(shown).collect::<Vec<_>>().join("\n"))?;
                Ok(End::Done)
            }
            Self::Check(check) => {
                let config = check.settings.load(variables)?;
                let (cluster, layout) = (cluster(&config)?, config.layout());
                let differences = runtime.block_on(cluster.check(&layout))?;
                for (topic, _) in cluster.retired(&layout)? {
                    say(&format!(
                        "note: topic {topic} is no longer in the schedule; it is read until it is empty"
                    ))?;
                }
                report(&differences)
            }
            Self::Acls(acls) => acls.run(variables),
        }
    }
}

fn report(differences: &[String]) -> anyhow::Result<End> {
    if differences.is_empty() {
        say("every topic is as it has to be")?;
        return Ok(End::Done);
    }
    say(&differences.join("\n"))?;
    Ok(End::Differs)
}

fn shown(made: &Made) -> String {
    match made {
        Made::Created(name) => format!("created {name}"),
        Made::Existed(name) => format!("exists  {name}"),
    }
}

/// How long a broker is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

fn cluster(config: &Config) -> Result<Cluster, TopicsError> {
    let connection = Connection::new(config.kafka.clone(), &config.instance_id);
    Cluster::new(&connection.admin(), connection.brokers(), PATIENCE)
}
