//! What the poll thread looks after between two polls: pauses, gauges, losses, cleaning, partitions without an
//! owner.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postrider_types::Partition;
use rdkafka::consumer::Consumer as _;
use tokio::time::Instant;
use tracing::warn;

use super::{Consumer, PASSING, Rejoining, UPKEEP};
use crate::ends::Surveyor;
use crate::error::ConsumerError;
use crate::ledger::MAX_SPAN;
use crate::looks;
use crate::orphans::{Lookout, Named, otherwise};
use crate::setup::Topic;

/// How long the whole subscription waits at most after a topic was left out of it.
const LEFT_OUT: Duration = Duration::from_secs(10);

impl Consumer {
    /// Looks after what time and settling change: pauses, gauges, losses, partitions that went.
    pub(super) fn upkeep(&mut self) -> Result<(), ConsumerError> {
        self.setup.heartbeat.tick();
        let now = Instant::now();
        if now < self.upkeep_due {
            return Ok(());
        }
        self.upkeep_due = now + UPKEEP;
        let lost = self.setup.shared.losses.count();
        if lost > 0 {
            return Err(ConsumerError::Lost(lost));
        }
        self.forget_strangers();
        self.balance();
        self.pass_over();
        self.show();
        self.clean();
        self.tend_orphans();
        Ok(())
    }

    /// Transaction markers and compacted records at a partition's end are never delivered: what the client
    /// has passed over is settled.
    fn pass_over(&mut self) {
        let now = Instant::now();
        if now < self.passing_due {
            return;
        }
        self.passing_due = now + PASSING;
        self.find_the_way();
        self.kafka.context().begin_late(&self.kafka);
        let Ok(positions) = self.kafka.position() else { return };
        for element in positions.elements() {
            if let rdkafka::Offset::Offset(position) = element.offset() {
                self.tracker
                    .pass_over(&(element.topic().into(), Partition(element.partition())), position);
            }
        }
    }

    fn clean(&mut self) {
        let Some(cleaner) = self.cleaner.as_mut().filter(|cleaner| cleaner.is_due()) else {
            return;
        };
        let mut committed = self.tracker.committed();
        committed.retain(|((topic, _), _)| self.setup.is_retry(topic));
        cleaner.clean(committed);
    }

    /// Drops what waits of earlier assignments. Before anything is read of a partition that has come back, or the old
    /// would keep the new from being read.
    pub(super) fn forget_strangers(&mut self) {
        let gone = self.tracker.take_gone();
        if gone.is_empty() {
            return;
        }
        for sleeper in self.tiers.retain(|key| !gone.contains(key)) {
            sleeper.record.give_back();
        }
    }

    /// Pauses and resumes partitions as the bounds say. The last eighth of the bytes is kept for retries, so that
    /// events that wait do not keep them from being read.
    fn balance(&mut self) {
        let all = self.setup.config.max_held_bytes.0;
        let held = self.setup.shared.totals.bytes();
        let now = self.clock.now();
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (key, span) in self.tracker.spans() {
            let resting = self.pauses.holds(&key);
            let is_source = !self.setup.is_retry(&key.0);
            let most = if is_source { all / 8 * 7 } else { all };
            // Reading goes on well below a bound, or each record would pause and resume.
            let (most, furthest) = if resting {
                (most / 4 * 3, MAX_SPAN / 4 * 3)
            } else {
                (most, MAX_SPAN)
            };
            let stalled = is_source && self.stalled;
            let rest = stalled || held >= most || span >= furthest || self.tiers.rests(&key, now, resting);
            match (rest, resting) {
                (true, false) => pause.push(key),
                (false, true) => resume.push(key),
                _ => {}
            }
        }
        self.pauses.pause(&self.kafka, &pause);
        self.pauses.resume(&self.kafka, &resume);
    }

    fn show(&mut self) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (metrics, totals) = (&self.setup.metrics, &self.setup.shared.totals);
        metrics.held_events.set(gauge(totals.events()));
        metrics.held_bytes.set(gauge(totals.bytes()));
        // The other member adds its own.
        let resting = self.pauses.len() + self.kafka.context().late.lock().len();
        let before = std::mem::replace(&mut self.resting, resting);
        metrics.paused.add(gauge(resting as u64) - gauge(before as u64));
        metrics.kafka_up.set(i64::from(self.setup.reachability.is_up()));
        for ((topic, partition), end) in self.ends.take() {
            if let Some(base) = self.tracker.watermark(&topic, partition) {
                metrics.lag(&topic, partition.0, (end - base).max(0));
            }
        }
        // Of all delays: one whose partitions are another instance's now is late here no more.
        let lags = self.tiers.lags(self.clock.now());
        for delay in self.setup.topics.values().filter_map(Topic::delay) {
            metrics.parked_lag(delay, lags.get(&delay).copied().unwrap_or_default());
        }
        self.setup.joined.send_if_modified(|joined| {
            let now = self.kafka.context().joined.load(Ordering::Relaxed);
            std::mem::replace(joined, now) != now
        });
    }

    pub(super) fn subscribe<'a>(&self, topics: impl Iterator<Item = &'a Arc<str>>) -> Result<(), ConsumerError> {
        let names: Vec<&str> = topics.map(|name| &**name).collect();
        self.kafka.subscribe(&names).map_err(ConsumerError::Subscribe)
    }

    /// Begins to look for partitions without an owner, on a thread of its own, until stopped; unless another member
    /// of this instance does.
    pub(super) fn keep_lookout(&self) -> Result<(), ConsumerError> {
        let topics = &self.setup.looked_after;
        if topics.is_empty() {
            return Ok(());
        }
        let named = |setting: &str| self.setup.client.get(setting).unwrap_or_default().to_owned();
        let retry_topics = topics.iter().filter(|(_, topic)| topic.is_retry());
        let lookout = Lookout {
            kafka: Arc::clone(&self.kafka),
            runtime: self.setup.runtime.clone(),
            stop: self.setup.stop.clone(),
            group: named("group.id"),
            client: named("client.id"),
            topics: topics.keys().cloned().collect(),
            retry_topics: retry_topics.map(|(name, _)| name.to_string()).collect(),
            moves: Arc::clone(&self.kafka.context().moves),
            wanted: self.wanted.clone(),
        };
        looks::begin("lookout", move || lookout.keep())
    }

    /// Begins to ask where partitions end, on a thread of its own, until stopped.
    pub(super) fn keep_survey(&self) -> Result<(), ConsumerError> {
        let surveyor = Surveyor {
            kafka: Arc::clone(&self.kafka),
            runtime: self.setup.runtime.clone(),
            stop: self.setup.stop.clone(),
            ends: self.ends.clone(),
        };
        looks::begin("ends", move || surveyor.keep())
    }

    /// Makes the group rebalance when partitions have no owner: a member that changes its subscription joins anew.
    fn tend_orphans(&mut self) {
        let given = self.kafka.context().given.load(Ordering::Relaxed);
        if let Some(rejoining) = &self.rejoining {
            if given > rejoining.given || rejoining.since.elapsed() >= LEFT_OUT {
                let whole = self.subscribe(self.setup.topics.keys());
                self.rejoining = whole.err().and(self.rejoining.take());
            }
            return;
        }
        if !self.wanted.take() {
            return;
        }
        let owned = self.tracker.spans().into_iter();
        let own: Vec<Named> = owned
            .map(|((topic, partition), _)| (topic.to_string(), partition.0))
            .collect();
        let topics: Vec<&Arc<str>> = self.setup.topics.keys().collect();
        let otherwise = otherwise(&topics, self.setup.looked_after.keys(), &own);
        match self.subscribe(otherwise.into_iter()) {
            Ok(()) => {
                let since = Instant::now();
                self.rejoining = Some(Rejoining { given, since });
            }
            Err(error) => warn!(%error, "The group could not be made to rebalance; trying again"),
        }
    }
}
