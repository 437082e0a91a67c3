//! What `/readyz` and `/healthz` say of the pipeline.

use std::time::Duration;

use postrider_admin::{Condition, Health, Heartbeat};
use postrider_kafka::Reachability;
use postrider_kafka::committer::Trouble;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LOOK: Duration = Duration::from_millis(100);

/// The conditions of readiness.
pub(crate) struct Conditions {
    kafka: Condition,
    group: Condition,
    commits: Condition,
    webhooks: Condition,
    poll_loop: Heartbeat,
}

impl Conditions {
    pub(crate) fn new(health: &Health) -> Self {
        Self {
            kafka: health.condition("kafka"),
            group: health.condition("group"),
            commits: health.condition("commits"),
            webhooks: health.condition("webhooks"),
            poll_loop: health.heartbeat("poll_loop"),
        }
    }

    pub(crate) fn webhooks_loaded(&self) {
        self.webhooks.met();
    }

    pub(crate) fn kafka_unmet(&self, reason: impl Into<String>) {
        self.kafka.unmet(reason);
    }
}

impl Conditions {
    /// Waits for what opens the committer, and tells meanwhile why that takes long.
    pub(crate) async fn until_open<T>(&self, trouble: &Trouble, opening: impl Future<Output = T>) -> T {
        tokio::pin!(opening);
        loop {
            tokio::select! {
                opened = &mut opening => return opened,
                () = tokio::time::sleep(LOOK) => {}
            }
            if let Some(reason) = trouble.reason() {
                self.commits.unmet(reason);
            }
        }
    }
}

/// Keeps the conditions true to the pipeline until aborted.
pub(crate) fn watch(
    conditions: Conditions,
    reachability: Reachability,
    trouble: Trouble,
    joined: watch::Receiver<bool>,
    heartbeat: postrider_consumer::Heartbeat,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = heartbeat.ticks();
        while !stop.is_cancelled() {
            show(&conditions.kafka, reachability.is_up(), &away(&reachability));
            show(
                &conditions.group,
                *joined.borrow(),
                "waiting for the consumer group to assign partitions",
            );
            match trouble.reason() {
                Some(reason) => conditions.commits.unmet(reason),
                None => conditions.commits.met(),
            }
            let now = heartbeat.ticks();
            if std::mem::replace(&mut ticks, now) != now {
                conditions.poll_loop.tick();
            }
            tokio::time::sleep(LOOK).await;
        }
    })
}

fn away(reachability: &Reachability) -> String {
    match reachability.refusal() {
        Some(reason) => format!("Kafka does not let postrider in: {reason}; trying again until it does"),
        None => "no broker can be reached; trying again until one can".to_owned(),
    }
}

fn show(condition: &Condition, holds: bool, otherwise: &str) {
    if holds {
        condition.met()
    } else {
        condition.unmet(otherwise)
    }
}
