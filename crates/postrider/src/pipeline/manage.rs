//! What the API is given: what changes webhooks, and Tests that are sent as deliveries are.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use postrider_admin::explained::Explainer;
use postrider_admin::{Api, Bodies, Tester, Transmitted};
use postrider_consumer::decode::{self, RawRecord};
use postrider_delivery::egress::Policy;
use postrider_delivery::target::webhook_faults;
use postrider_delivery::trial::Trials;
use postrider_kafka::Reachability;
use postrider_kafka::aside::Aside;
use postrider_kafka::journal::Journal;
use postrider_logs::Reader;
use postrider_replay::Replays;
use postrider_types::{Clock, Event, EventId, EventType, Header, Offset, Origin, Partition, Trigger, Webhook};
use postrider_webhooks::{Directory, Editor, Rules, TopicJournal};
use tracing::error;

use crate::config::Config;
use crate::secrets::KeySource;

/// No sample is larger.
const LARGEST_SAMPLE: usize = 64 * 1024;

/// The API over a directory and the journal it is written by.
pub(super) fn api(
    config: &Config,
    (clock, policy): (Clock, Arc<Policy>),
    store: Store,
    tests: Tests,
    reading: Reading,
) -> Api {
    let Store {
        directory,
        journal,
        keys,
    } = store;
    let topics = (&config.routing.webhooks_topic, &config.results.notices);
    let journal = TopicJournal::new(journal, topics.0.as_str(), topics.1.as_str());
    let rules = Rules {
        limit: config.routing.max_webhooks_per_account,
        secret_overlap: config.delivery.secret_overlap,
        instance: config.instance_id.clone(),
        judge: Box::new(move |webhook| webhook_faults(webhook, &policy)),
        clock,
    };
    Api {
        editor: Arc::new(Editor::new(directory, Arc::new(journal), rules)),
        tester: Arc::new(tests),
        explainer: reading.explainer,
        reseal: Arc::new(move || keys.read().map_err(|error| format!("{error:#}"))),
        logs: reading.logs,
        bodies: reading.bodies,
        replays: Arc::new(reading.replays),
    }
}

/// Where webhooks are, how they are written, and the keys of their secrets.
pub(super) struct Store {
    pub(super) directory: Arc<Directory>,
    pub(super) journal: Journal,
    pub(super) keys: KeySource,
}

/// What became of deliveries, and what they carried.
pub(super) struct Reading {
    pub(super) logs: Option<Reader>,
    pub(super) bodies: Arc<dyn Bodies>,
    pub(super) explainer: Arc<dyn Explainer>,
    pub(super) replays: Replays,
}

/// Sends Tests and first connections, and publishes what they came to.
pub(super) struct Tests {
    pub(super) trials: Trials,
    pub(super) aside: Arc<Aside>,
    pub(super) reachability: Reachability,
}

impl fmt::Debug for Tests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tests").finish_non_exhaustive()
    }
}

impl Tester for Tests {
    fn transmit<'a>(&'a self, webhook: Arc<Webhook>, event: EventType, trigger: Trigger) -> Transmitted<'a> {
        Box::pin(async move {
            if !self.reachability.is_up() {
                return Err(
                    "no Kafka broker can be reached, so the outcome could not be kept; nothing was sent".to_owned(),
                );
            }
            let event = self.event(&webhook, event);
            let (transmission, outcome) = self.trials.make(&event, &webhook, trigger).await;
            let aside = Arc::clone(&self.aside);
            let published = tokio::task::spawn_blocking(move || aside.publish(outcome)).await;
            match published {
                Ok(Ok(())) => {}
                Ok(Err(error)) => error!(error = error.sentence(), "The outcome of a test could not be published"),
                Err(_) => error!("Publishing the outcome of a test panicked"),
            }
            Ok(transmission)
        })
    }
}

impl Tests {
    /// The sample of a type, as an event of the webhook's account.
    fn event(&self, webhook: &Webhook, event_type: EventType) -> Event {
        let header = |name: &str, value: String| Header {
            name: name.into(),
            value: Some(value.into()),
        };
        let id = format!("test-{}", ulid::Ulid::new());
        let record = RawRecord {
            origin: Origin {
                topic: "test".into(),
                partition: Partition(0),
                offset: Offset(0),
                timestamp: self.trials.now(),
            },
            key: None,
            headers: vec![
                header("event-type", event_type.to_string()),
                header("account-id", webhook.account_id.to_string()),
                header("event-id", id.clone()),
            ],
            value: Some(sample(event_type)),
        };
        let event = decode::source(&record, event_type, LARGEST_SAMPLE).expect("a sample is an event");
        Event {
            id: EventId::new(&id).expect("a ULID is visible"),
            ..event
        }
    }
}

pub(super) fn sample(event_type: EventType) -> Bytes {
    Bytes::from_static(match event_type {
        EventType::OrderShipped => include_bytes!("../../../../schemas/samples/order_shipped.json"),
        EventType::OrderError => include_bytes!("../../../../schemas/samples/order_error.json"),
        EventType::TrackingUpdate => include_bytes!("../../../../schemas/samples/tracking_update.json"),
    })
}
