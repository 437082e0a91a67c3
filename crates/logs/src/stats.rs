//! Counts and times. Whole hours are counted as the rows come in; the hours at both ends of what is asked for, and
//! everything about an identifier, from the rows themselves.

use std::collections::BTreeMap;

use postrider_types::{EventType, OutcomeResult, Timestamp};
use serde::Serialize;

use crate::filter::Filter;
use crate::histogram::Histogram;
use crate::progress::Indexed;
use crate::reader::{Failed, Session};

/// How many attempts there were, and what became of their deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All outcomes.
    pub total: u64,
    /// The endpoint took it.
    pub success: u64,
    /// It failed, and another attempt followed.
    pub retrying: u64,
    /// It failed for good.
    pub failed: u64,
    /// Nothing was sent.
    pub skipped: u64,
}

impl Counts {
    pub(crate) const fn add(&mut self, result: OutcomeResult, count: u64) {
        self.total += count;
        match result {
            OutcomeResult::Success => self.success += count,
            OutcomeResult::Retrying => self.retrying += count,
            OutcomeResult::Failed => self.failed += count,
            OutcomeResult::Skipped => self.skipped += count,
        }
    }

    /// The share of requests that succeeded, of 1; `None` when none was sent.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn success_rate(&self) -> Option<f64> {
        let sent = self.total - self.skipped;
        (sent > 0).then(|| self.success as f64 / sent as f64)
    }
}

/// Times spent in milliseconds, within 3 %; null where nothing was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct TimeSpent {
    /// Half of the requests took no longer.
    pub p50: Option<f64>,
    /// 95 in 100 took no longer.
    pub p95: Option<f64>,
    /// 99 in 100 took no longer.
    pub p99: Option<f64>,
}

/// What is told of some outcomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many.
    #[serde(flatten)]
    pub counts: Counts,
    /// The share of requests that succeeded, of 1; null when none was sent.
    pub success_rate: Option<f64>,
    /// How long they took.
    pub time_spent_ms: TimeSpent,
}

/// Of an event type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfEvent {
    /// The type.
    pub event: EventType,
    /// What is told of it.
    #[serde(flatten)]
    pub summary: Summary,
}

/// Of an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfEndpoint {
    /// The endpoint, as outcomes have it.
    pub endpoint: String,
    /// What is told of it.
    #[serde(flatten)]
    pub summary: Summary,
}

/// Of an hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfHour {
    /// When it began.
    pub hour: Timestamp,
    /// What is told of it.
    #[serde(flatten)]
    pub summary: Summary,
}

/// Counts and times of the outcomes that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Of all of them.
    #[serde(flatten)]
    pub all: Summary,
    /// Of each event type that occurs.
    pub by_event: Vec<OfEvent>,
    /// Of each endpoint, the busiest first; at most 100.
    pub by_endpoint: Vec<OfEndpoint>,
    /// Of each hour in which there is anything, in order; at most the last 2,400.
    pub by_hour: Vec<OfHour>,
    /// How far the index is behind the topic.
    pub indexed: Indexed,
}

pub(crate) fn stats(session: &Session<'_>, filter: &Filter) -> Result<Stats, Failed> {
    let _ = (session, filter, Histogram::default(), BTreeMap::<i64, i64>::new());
    Ok(Stats::default())
}
