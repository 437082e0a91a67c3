//! How many deliveries wait parked for each webhook, exactly, and since when it has been failing.
//!
//! Every instance writes one record per webhook it touches, in the transaction that changes the count:
//! cumulative numbers of what it parked and what it took up again. What waits is the difference, summed
//! over all instances, those that are gone included.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use postrider_types::{OutcomeResult, Settled, Timestamp, WebhookId};
use serde::{Deserialize, Serialize};

/// What one instance tells of one webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Deliveries it parked, ever.
    pub appended: u64,
    /// Parked deliveries it took up again, ever.
    pub completed: u64,
    /// When the first failure after its last success ended.
    pub failing_since: Option<Timestamp>,
    /// When its last success ended.
    pub last_success: Option<Timestamp>,
}

impl Counts {
    fn attempted(&mut self, result: OutcomeResult, at: Timestamp) {
        match result {
            OutcomeResult::Success => {
                self.failing_since = None;
                self.last_success = Some(at);
            }
            OutcomeResult::Retrying | OutcomeResult::Failed => {
                self.failing_since.get_or_insert(at);
            }
            OutcomeResult::Skipped => {}
        }
    }

    /// Whether a reader of the topic would learn anything from this after `told`: a success after a success is
    /// news only once it is `stale` old, for those who would disable a webhook that has none.
    fn differs(&self, told: &Self, stale: Duration) -> bool {
        let renewed = match (self.last_success, told.last_success) {
            (Some(now), Some(then)) => now.since(then) >= stale,
            (now, then) => now != then,
        };
        renewed
            || (self.appended, self.completed, self.failing_since)
                != (told.appended, told.completed, told.failing_since)
    }
}

/// The key of an instance's record of a webhook.
#[must_use]
pub fn key(instance: &str, webhook: &WebhookId) -> String {
    format!("{instance}|{webhook}")
}

/// The instance and the webhook of a key.
#[must_use]
pub fn parse_key(key: &str) -> Option<(&str, WebhookId)> {
    let (instance, webhook) = key.rsplit_once('|')?;
    Some((instance, WebhookId::new(webhook).ok()?))
}

/// What changes an instance's counts of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touch {
    /// A parked delivery was taken up again.
    Released(WebhookId),
    /// A delivery was parked.
    Parked(WebhookId),
    /// An attempt ended.
    Attempted(WebhookId, OutcomeResult, Timestamp),
}

impl Touch {
    /// All that a settled record changes, in order.
    pub fn of(settled: &Settled) -> impl Iterator<Item = Self> {
        let released = settled.released.clone().map(Self::Released);
        let resolutions = settled.resolutions.iter().flat_map(|resolution| {
            let parked = resolution.parked.as_ref();
            let parked = parked.map(|parked| Self::Parked(parked.waiting.webhook_id.clone()));
            let outcome = resolution.outcome.as_ref();
            let attempted = outcome.and_then(|outcome| {
                let ended = outcome.date_end?;
                Some(Self::Attempted(outcome.webhook_id.clone(), outcome.result, ended))
            });
            [parked, attempted].into_iter().flatten()
        });
        released.into_iter().chain(resolutions)
    }
}

/// The counts of each webhook.
pub type ByWebhook = HashMap<WebhookId, Counts>;

/// This instance's own counts; what they would be is computed first, and kept once it is committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnCounts {
    /// As they were told last.
    told: ByWebhook,
    stale: Duration,
}

impl OwnCounts {
    /// Goes on from what the topic holds of this instance. A webhook that goes on succeeding is told of again
    /// when its last success that was told is `stale` old.
    #[must_use]
    pub const fn new(told: ByWebhook, stale: Duration) -> Self {
        Self { told, stale }
    }

    /// The counts of the webhooks that are touched, as they would be after it.
    #[must_use]
    pub fn preview<'a>(&self, touches: impl Iterator<Item = &'a Touch>) -> ByWebhook {
        let mut touched: ByWebhook = HashMap::new();
        for touch in touches {
            match touch {
                Touch::Released(webhook) => self.begin(&mut touched, webhook).completed += 1,
                Touch::Parked(webhook) => self.begin(&mut touched, webhook).appended += 1,
                Touch::Attempted(webhook, result, at) => self.begin(&mut touched, webhook).attempted(*result, *at),
            }
        }
        touched.retain(|webhook, counts| counts.differs(&self.of(webhook), self.stale));
        touched
    }

    /// The counts of the webhooks of which so many more deliveries are parked, as they would be after that.
    #[must_use]
    pub fn parking<'a>(&self, parked: impl Iterator<Item = &'a WebhookId>) -> ByWebhook {
        let mut touched = HashMap::new();
        for webhook in parked {
            self.begin(&mut touched, webhook).appended += 1;
        }
        touched
    }

    /// These counts are committed.
    pub fn apply(&mut self, touched: ByWebhook) {
        self.told.extend(touched);
    }

    fn of(&self, webhook: &WebhookId) -> Counts {
        self.told.get(webhook).copied().unwrap_or_default()
    }

    fn begin<'a>(&self, touched: &'a mut ByWebhook, webhook: &WebhookId) -> &'a mut Counts {
        touched.entry(webhook.clone()).or_insert_with(|| self.of(webhook))
    }
}

/// What all instances told.
#[derive(Debug, Clone, Default)]
pub struct PendingTable(HashMap<WebhookId, HashMap<String, Counts>>);

impl PendingTable {
    /// Takes in a record of the topic; returns the webhook it is about. What cannot be read is passed over.
    pub fn take_in(&mut self, key: &[u8], value: Option<&[u8]>) -> Option<WebhookId> {
        let (instance, webhook) = parse_key(std::str::from_utf8(key).ok()?)?;
        let by_instance = self.0.entry(webhook.clone()).or_default();
        match value {
            Some(value) => {
                by_instance.insert(instance.to_owned(), serde_json::from_slice(value).ok()?);
            }
            None => {
                by_instance.remove(instance);
            }
        }
        Some(webhook)
    }

    /// The webhooks that anything was told of.
    pub fn webhooks(&self) -> impl Iterator<Item = &WebhookId> {
        self.0.keys()
    }

    /// How many deliveries wait for a webhook.
    #[must_use]
    pub fn pending(&self, webhook: &WebhookId) -> u64 {
        let all = self.0.get(webhook).into_iter().flat_map(HashMap::values);
        let (appended, completed) = all.fold((0_u64, 0_u64), |(a, c), one| (a + one.appended, c + one.completed));
        appended.saturating_sub(completed)
    }

    /// What one instance told.
    #[must_use]
    pub fn of_instance(&self, instance: &str) -> ByWebhook {
        let told =
            |(webhook, all): (&WebhookId, &HashMap<String, Counts>)| Some((webhook.clone(), *all.get(instance)?));
        self.0.iter().filter_map(told).collect()
    }

    /// When a webhook last took a delivery, as far as any instance told.
    #[must_use]
    pub fn last_success(&self, webhook: &WebhookId) -> Option<Timestamp> {
        let told = self.0.get(webhook)?.values();
        told.filter_map(|counts| counts.last_success).max()
    }

    /// The webhooks that fail, and since when: the first failure after the last success anywhere.
    #[must_use]
    pub fn failing(&self) -> HashMap<WebhookId, Timestamp> {
        let since = |all: &HashMap<String, Counts>| {
            let success = all.values().filter_map(|counts| counts.last_success).max();
            let after = |since: &Timestamp| success.is_none_or(|success| *since >= success);
            all.values()
                .filter_map(|counts| counts.failing_since)
                .filter(after)
                .min()
        };
        self.0
            .iter()
            .filter_map(|(webhook, all)| Some((webhook.clone(), since(all)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(id: &str) -> WebhookId {
        WebhookId::new(id).unwrap()
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn told(table: &mut PendingTable, instance: &str, counts: Counts) {
        let value = serde_json::to_vec(&counts).unwrap();
        table.take_in(key(instance, &webhook("wh")).as_bytes(), Some(&value));
    }

    #[test]
    fn what_waits_is_summed_over_instances_that_are_gone_too() {
        let mut table = PendingTable::default();
        told(
            &mut table,
            "a",
            Counts {
                appended: 10,
                completed: 2,
                ..Counts::default()
            },
        );
        told(
            &mut table,
            "b|c",
            Counts {
                appended: 0,
                completed: 5,
                ..Counts::default()
            },
        );
        assert_eq!(table.pending(&webhook("wh")), 3);
        assert_eq!(table.of_instance("b|c")[&webhook("wh")].completed, 5);
        assert_eq!(table.pending(&webhook("other")), 0);
    }

    #[test]
    fn a_success_anywhere_ends_a_failing_time() {
        let mut table = PendingTable::default();
        told(
            &mut table,
            "a",
            Counts {
                failing_since: Some(at(10)),
                ..Counts::default()
            },
        );
        told(
            &mut table,
            "b",
            Counts {
                failing_since: Some(at(30)),
                last_success: Some(at(20)),
                ..Counts::default()
            },
        );
        assert_eq!(table.failing()[&webhook("wh")], at(30));
    }

    #[test]
    fn a_success_soon_after_a_success_is_not_worth_a_record() {
        const STALE: Duration = Duration::from_millis(100);
        let mut counts = Counts::default();
        counts.attempted(OutcomeResult::Failed, at(5));
        counts.attempted(OutcomeResult::Failed, at(9));
        assert_eq!(counts.failing_since, Some(at(5)));
        let failing = counts;
        counts.attempted(OutcomeResult::Success, at(12));
        assert!(counts.differs(&failing, STALE));
        let well = counts;
        counts.attempted(OutcomeResult::Success, at(111));
        assert!(!counts.differs(&well, STALE));
        counts.attempted(OutcomeResult::Success, at(112));
        assert!(counts.differs(&well, STALE));
    }

    #[test]
    fn what_is_parked_without_a_record_of_its_own_counts_on() {
        let mut own = OwnCounts::default();
        for _ in 0..2 {
            let parked = [webhook("wh"), webhook("wh"), webhook("other")];
            let touched = own.parking(parked.iter());
            own.apply(touched);
        }
        let touched = own.parking([webhook("wh")].iter());
        assert_eq!((touched.len(), touched[&webhook("wh")].appended), (1, 5));
    }

    #[test]
    fn foreign_records_are_passed_over() {
        let mut table = PendingTable::default();
        assert_eq!(table.take_in(b"no separator", Some(b"{}")), None);
        assert_eq!(table.take_in(b"a|wh", Some(b"[")), None);
        assert_eq!(table.pending(&webhook("wh")), 0);
    }
}
