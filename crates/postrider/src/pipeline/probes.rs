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

/// What is to be seen of one member of the group.
pub(crate) struct Member {
    pub(crate) joined: watch::Receiver<bool>,
    pub(crate) heartbeat: postrider_consumer::Heartbeat,
}

/// Keeps the conditions true to the pipeline until aborted.
pub(crate) fn watch(
    conditions: Conditions,
    reachability: Reachability,
    trouble: Trouble,
    members: Vec<Member>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let ticks = || members.iter().map(|member| member.heartbeat.ticks()).collect();
        let mut before: Vec<i64> = ticks();
        while !stop.is_cancelled() {
            show(&conditions.kafka, reachability.is_up(), &away(&reachability));
            show(
                &conditions.group,
                members.iter().all(|member| *member.joined.borrow()),
                "waiting for the consumer group to assign partitions",
            );
            match trouble.reason() {
                Some(reason) => conditions.commits.unmet(reason),
                None => conditions.commits.met(),
            }
            let now = ticks();
            if all_ticked(&before, &now) {
                conditions.poll_loop.tick();
                before = now;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
}

/// One that is stuck must not be hidden by the other.
fn all_ticked(before: &[i64], now: &[i64]) -> bool {
    before.iter().zip(now).all(|(before, now)| before != now)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_loop_that_is_stuck_is_not_hidden_by_another() {
        assert!(all_ticked(&[1, 5], &[2, 6]));
        assert!(!all_ticked(&[1, 5], &[2, 5]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_group_is_joined_when_every_member_has_joined() {
        let health = Health::new();
        let (mut joined, mut members) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (sender, receiver) = watch::channel(false);
            joined.push(sender);
            members.push(Member {
                joined: receiver,
                heartbeat: postrider_consumer::Heartbeat::default(),
            });
        }
        let (reachability, trouble) = (Reachability::default(), Trouble::default());
        let stop = CancellationToken::new();
        let watching = watch(Conditions::new(&health), reachability, trouble, members, stop.clone());
        for sender in &joined {
            tokio::time::sleep(LOOK * 2).await;
            assert!(health.unready().contains_key("group"));
            sender.send_replace(true);
        }
        tokio::time::sleep(LOOK * 2).await;
        assert!(!health.unready().contains_key("group"));
        stop.cancel();
        watching.await.unwrap();
    }
}
