//! `postrider topics`: what Kafka has to have.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use postrider_kafka::Connection;
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
