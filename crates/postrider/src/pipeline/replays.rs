//! What replays are run with, and how their source records are read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use postrider_consumer::decode;
use postrider_kafka::record::Fetched;
use postrider_kafka::topics::Survey;
use postrider_replay::{Decoder, Parts, Replays, Service};
use postrider_routing::SharedTable;
use postrider_types::{Event, EventType, WebhookId};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::warn;

use super::{Core, thread};

/// How long leaving the group of the replays may take.
const LEAVING: Duration = Duration::from_secs(5);

/// Reads source records as the consumer does, and routes them as routing does.
struct AsEvents {
    sources: HashMap<String, EventType>,
    most: usize,
    table: SharedTable,
}

impl Decoder for AsEvents {
    fn reconsider(&self, record: Fetched) -> Option<(Event, Vec<WebhookId>)> {
        let default = *self.sources.get(&*record.origin.topic)?;
        let event = decode::source(&record.into(), default, self.most).ok()?;
        let wanting = self.table.load().matches(&event).deliverable;
        Some((event, wanting.iter().map(|webhook| webhook.id.clone()).collect()))
    }

    fn event(&self, record: Fetched, default: EventType) -> Option<Event> {
        // It was taken once; a limit that was lowered since does not unmake it.
        decode::source(&record.into(), default, usize::MAX).ok()
    }
}

impl Core {
    pub(super) fn replays(&self, survey: &Survey, table: SharedTable) -> Service {
        let config = &self.config;
        let sources = config.consumer.sources.iter();
        let decoder = AsEvents {
            sources: sources.map(|source| (source.topic.clone(), source.event)).collect(),
            most: config.consumer.max_event_bytes.as_usize(),
            table,
        };
        let delays = config.layout().delays;
        Service::new(Parts {
            config: config.replay.clone(),
            connection: self.connection.clone(),
            group: config.consumer.group_id.clone(),
            mode: self.mode(),
            results: config.results.clone(),
            webhooks_topic: config.routing.webhooks_topic.clone(),
            limits: survey.limits,
            partitions: survey.partitions.clone(),
            tier: delays.into_iter().min().unwrap_or_default(),
            decoder: Arc::new(decoder),
            metrics: self.metrics.replay.clone(),
            reachability: self.reachability.clone(),
            clock: self.clock,
            runtime: Handle::current(),
            stop: self.stop.clone(),
        })
    }

    /// What the API asks of them.
    pub(super) fn asked(&self, service: &Service) -> anyhow::Result<Replays> {
        let store = service.store().map_err(anyhow::Error::msg)?;
        let rate = self.config.replay.rate_per_second;
        Ok(Replays::new(service.table(), store, rate, self.clock))
    }
}

/// Runs them on a thread of their own.
pub(super) fn begin(service: Service) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send> {
    thread::run("replays", move || service.run())
}

/// Waits until the replays have left Kafka, so that another instance takes them up at once.
pub(super) async fn left(ended: impl Future<Output = anyhow::Result<()>>) {
    match timeout(LEAVING, ended).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "The replays did not end well"),
        Err(_) => warn!("The replays take too long to end; leaving without them"),
    }
}
