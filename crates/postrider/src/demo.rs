//! `postrider demo`: everything in one process and without set-up. An embedded broker, a receiver that
//! stands for three merchants, sample events; and a table of what became of each delivery.

mod broker;
mod events;
mod merchants;
mod story;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use postrider_admin::Health;
use postrider_consumer::config::Guarantee;
use postrider_routing::Table;
use postrider_types::units::ByteSize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::cli::output::say;
use crate::config::{Config, under};
use crate::pipeline::{self, Started, Surroundings};
use crate::receiver::Receiver;
use crate::secrets::KeySource;
use crate::shutdown::Signals;
use broker::Broker;
use story::Story;

/// The pace of events, so that a person can follow.
const PACE: Duration = Duration::from_millis(400);
/// Half a second between attempts, so that nobody has to wait for a retry.
const RETRY: Duration = Duration::from_millis(500);
/// How often readiness is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Outcomes read and not yet told.
const OUTCOMES: usize = 256;

/// How long the demo goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    /// How many events; `None` for no end.
    pub(crate) count: Option<u64>,
    /// Whether to leave when all their deliveries have ended.
    pub(crate) exit: bool,
}

/// Runs the demo until it is over, or a signal ends it.
pub(crate) async fn run(length: Length) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let stop = signals.stop.clone();
    let broker = Broker::start().context("the embedded broker does not start")?;
    let receiver = Receiver::bind(SocketAddr::from(([127, 0, 0, 1], 0)), None, merchants::answer).await?;
    // Gone with the demo.
    let folder = tempfile::tempdir().context("there is no temporary folder for the index of the logs")?;
    let mut config = configuration(&broker, receiver.address());
    config.admin.logs.path = Some(folder.path().join("logs.db"));
    broker.create_topics(&config)?;
    let receiving = tokio::spawn(receiver.run(CancellationToken::new()));

    let (started, starting) = oneshot::channel();
    let survey = Some(broker.survey(&config));
    let reload = {
        let config = config.clone();
        Arc::new(move || Ok(config.clone()))
    };
    let surroundings = Surroundings {
        signals,
        reload,
        keys: KeySource {
            file: None,
            variable: None,
        },
        survey,
        started: Some(started),
    };
    let daemon = tokio::spawn(pipeline::run(config.clone(), surroundings));
    let told = match starting.await {
        Ok(started) => tell(&config, &broker, started, length, &stop).await,
        // The daemon could not start; it says why itself.
        Err(_) => Ok(()),
    };
    stop.cancel();
    let ended = daemon.await.context("the daemon panicked")?;
    receiving.abort();
    ended.and(told)
}

async fn tell(
    config: &Config,
    broker: &Broker,
    started: Started,
    length: Length,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let table = Table::build(config.routing.webhooks.clone()).map_err(under("routing.webhooks"))?;
    let (outcomes_in, mut outcomes) = mpsc::channel(OUTCOMES);
    let reading = broker.read_outcomes(&config.results.topic, outcomes_in, stop.clone())?;
    let mut story = Story::new(table);
    say(&story.opening(&config.routing.webhooks, broker.address(), started.address))?;
    ready(&started.health, stop).await;
    let mut samples = events::Samples::new(length.count);
    let mut pace = tokio::time::interval(PACE);
    while !(length.exit && samples.is_over() && story.is_over()) {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = pace.tick(), if !samples.is_over() => {
                if let Some(sample) = samples.next() {
                    story.produced(&sample);
                    broker.produce(&sample)?;
                }
            }
            outcome = outcomes.recv() => match outcome {
                Some(outcome) => say(&story.outcome(&outcome))?,
                None => break,
            },
        }
    }
    say(&story.ending())?;
    stop.cancel();
    reading.await
}

/// Waits until the daemon reads: a mock broker takes its time to form the group.
async fn ready(health: &Health, stop: &CancellationToken) {
    while !health.unready().is_empty() && !stop.is_cancelled() {
        tokio::time::sleep(LOOK).await;
    }
}

/// The defaults, but for what makes a demo: an embedded broker without transactions, a receiver on
/// loopback, retries after half a second.
fn configuration(broker: &Broker, receiver: SocketAddr) -> Config {
    let mut config = Config::new("demo");
    config.kafka = broker.connection();
    config.consumer.guarantee = Guarantee::AtLeastOnce;
    config.consumer.max_held_bytes = ByteSize(16 << 20);
    config.delivery.retry.initial = RETRY;
    config.delivery.retry.multiplier = 1.0;
    config.delivery.retry.max_interval = RETRY;
    config.topics.results_partitions = 1;
    config.topics.retry_partitions = 1;
    config.routing.webhooks = merchants::webhooks(receiver);
    config.egress.allow = vec!["127.0.0.1/32".parse().expect("a network")];
    config.admin.listen = "127.0.0.1:0".parse().expect("an address");
    config
}
