//! The stage with both ends in the test's hands, and endpoints to send to.

use std::sync::Arc;
use std::time::Duration;

use postrider_types::outcome::Issuer;
use postrider_types::{Clock, Delivery, Losses, Outcome, Resolution, Settled, Timestamp, Webhook};
use prometheus::{Registry, TextEncoder};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::Config;
use crate::dispatcher::{Dispatcher, Parts};
use crate::metrics::Metrics;
use crate::samples::{self, Receiver, answer};

/// Longer than anything here takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for a request too many to show up.
pub(super) const A_WHILE: Duration = Duration::from_millis(100);
/// When the wall clock of the stage starts.
pub(super) const START: Timestamp = Timestamp::from_millis(1_763_805_700_000);

/// The defaults, but nothing is parked for its wait.
pub(super) fn patient() -> Config {
    Config {
        max_lane_wait: PATIENCE * 10,
        ..Config::default()
    }
}

/// What a stage is given, with metrics in `registry`.
pub(super) fn parts(config: &Config, registry: &Registry) -> Parts {
    let metrics = Metrics::register(registry, 200).unwrap();
    let policy = samples::policy();
    Parts {
        issuer: Issuer {
            instance: "postrider-0".into(),
            max_retries: config.retry.max_retries,
            traced: false,
        },
        clock: Clock::starting_at(START),
        clients: samples::clients(&policy, &metrics),
        policy,
        metrics,
        random: StdRng::seed_from_u64(1),
        failing_since: foldhash::HashMap::default(),
        successes: postrider_types::Successes::default(),
        undelivered: postrider_types::Undelivered::new(Clock::starting_at(START)),
        largest_parked: 1_048_588,
    }
}

/// A running stage.
pub(super) struct Stage {
    pub(super) fresh: Option<mpsc::Sender<Delivery>>,
    pub(super) retries: Option<mpsc::Sender<Delivery>>,
    pub(super) settled: mpsc::Receiver<Settled>,
    pub(super) losses: Losses,
    pub(super) task: JoinHandle<()>,
    registry: Registry,
    offered: i64,
}

impl Stage {
    pub(super) fn start(config: &Config) -> Self {
        Self::with_room(config, 64)
    }

    /// `room` is how many settled records are accepted before the stage has to wait.
    pub(super) fn with_room(config: &Config, room: usize) -> Self {
        let registry = Registry::new();
        let parts = parts(config, &registry);
        Self::of(config, parts, registry, room)
    }

    pub(super) fn of(config: &Config, parts: Parts, registry: Registry, room: usize) -> Self {
        let (fresh, fresh_rx) = mpsc::channel(1);
        let (retries, retries_rx) = mpsc::channel(1);
        let (settled_tx, settled) = mpsc::channel(room);
        let dispatcher = Dispatcher::new(config, parts).unwrap();
        Self {
            fresh: Some(fresh),
            retries: Some(retries),
            settled,
            losses: Losses::default(),
            registry,
            task: tokio::spawn(dispatcher.run(fresh_rx, retries_rx, settled_tx)),
            offered: 0,
        }
    }

    /// A fresh delivery of a new record.
    pub(super) fn delivery(&mut self, webhook: &Arc<Webhook>) -> Delivery {
        self.offered += 1;
        samples::delivery(webhook, self.offered, &self.losses)
    }

    /// A second attempt that is due.
    pub(super) fn retry(&mut self, webhook: &Arc<Webhook>) -> Delivery {
        let mut delivery = self.delivery(webhook);
        (delivery.due, delivery.progress.attempts) = (Some(START), 1);
        delivery
    }

    /// Hands over a delivery of a new record; waits while the stage does not read.
    pub(super) async fn offer(&mut self, webhook: &Arc<Webhook>) {
        let delivery = self.delivery(webhook);
        self.hand_over(delivery).await;
    }

    /// Hands over a retry that is due.
    pub(super) async fn offer_retry(&mut self, webhook: &Arc<Webhook>) {
        let delivery = self.retry(webhook);
        self.hand_over(delivery).await;
    }

    pub(super) async fn hand_over(&mut self, delivery: Delivery) {
        let input = if delivery.due.is_some() {
            &self.retries
        } else {
            &self.fresh
        };
        let sent = input.as_ref().unwrap().send(delivery);
        timeout(PATIENCE, sent).await.unwrap().unwrap();
    }

    /// What the next settled record came to.
    pub(super) async fn next(&mut self) -> Resolution {
        let mut settled = timeout(PATIENCE, self.settled.recv()).await.unwrap().unwrap();
        assert_eq!(settled.resolutions.len(), 1);
        settled.resolutions.remove(0)
    }

    pub(super) async fn resolutions(&mut self, count: usize) -> Vec<Resolution> {
        let mut resolutions = Vec::new();
        while resolutions.len() < count {
            resolutions.push(self.next().await);
        }
        resolutions
    }

    pub(super) async fn outcome(&mut self) -> Outcome {
        self.next().await.outcome.unwrap().read().unwrap()
    }

    pub(super) async fn outcomes(&mut self, count: usize) -> Vec<Outcome> {
        let resolutions = self.resolutions(count).await;
        resolutions
            .into_iter()
            .map(|one| one.outcome.unwrap().read().unwrap())
            .collect()
    }

    pub(super) fn close(&mut self) {
        (self.fresh, self.retries) = (None, None);
    }

    /// Ends the input and waits for the stage.
    pub(super) async fn end(&mut self) {
        self.close();
        timeout(PATIENCE, &mut self.task).await.unwrap().unwrap();
    }

    pub(super) fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    /// The value of a series, by its name with labels.
    pub(super) fn metric(&self, series: &str) -> f64 {
        let text = self.metrics();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}"))
            .parse()
            .unwrap()
    }
}

pub(super) fn hook(id: &str, receiver: &Receiver) -> Arc<Webhook> {
    Arc::new(samples::webhook(id, &receiver.url))
}

pub(super) async fn healthy() -> Receiver {
    Receiver::start(|_, _| async { answer(200, "{}") }).await
}

pub(super) async fn failing(status: u16) -> Receiver {
    Receiver::start(move |_, _| async move { answer(status, "") }).await
}

pub(super) async fn hanging() -> Receiver {
    Receiver::start(|_, _| std::future::pending()).await
}

pub(super) async fn until_true(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}
