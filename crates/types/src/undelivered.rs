//! How old the oldest delivery of each webhook is that is neither delivered nor given up, as far as this instance
//! knows: what it holds, exactly, and what it parked, until that comes due.
//!
//! Whoever holds a delivery keeps an [`Owing`]; what is parked is in Kafka, and may come back to another instance, which
//! then holds it. So a parked delivery counts here until it comes back, or until a moment after its due time. Of parked
//! ones only so many are told apart per webhook that memory does not grow with them; what is taken together counts as
//! its oldest, until its last is due: an age may be told too long for a while, and is never told too short.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::Mutex;

use crate::clock::{Clock, Timestamp};
use crate::webhook::WebhookId;

/// How long after its due time a parked delivery counts here, unless it comes back before.
const GRACE: Duration = Duration::from_secs(30);
/// How many groups of parked deliveries are told apart for each webhook.
const GROUPS: usize = 16;

/// What is owed to all webhooks. Clones share it.
#[derive(Debug, Clone)]
pub struct Undelivered {
    clock: Clock,
    by_webhook: Arc<Mutex<HashMap<WebhookId, Owed>>>,
}

impl Undelivered {
    /// Nothing yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            by_webhook: Arc::default(),
        }
    }

    /// Notes that this instance holds a delivery whose event is of `since`, until the answer is dropped.
    pub fn hold(&self, webhook: &WebhookId, since: Timestamp) -> Owing {
        let mut by_webhook = self.by_webhook.lock();
        let owed = by_webhook.entry(webhook.clone()).or_default();
        *owed.held.entry(since).or_default() += 1;
        Owing {
            of: self.clone(),
            webhook: webhook.clone(),
            since,
        }
    }

    /// Notes that one was parked until `due`.
    pub fn parked(&self, webhook: &WebhookId, since: Timestamp, due: Timestamp) {
        let mut by_webhook = self.by_webhook.lock();
        let parked = &mut by_webhook.entry(webhook.clone()).or_default().parked;
        parked.expire(self.clock.now());
        parked.note(since, due.after(GRACE));
    }

    /// Notes that a parked one has come back.
    pub fn came_back(&self, webhook: &WebhookId, since: Timestamp, due: Timestamp) {
        if let Some(owed) = self.by_webhook.lock().get_mut(webhook) {
            owed.parked.forget(since, due.after(GRACE));
        }
    }

    /// How old the oldest one of each webhook is that has any.
    #[must_use]
    pub fn ages(&self) -> Vec<(WebhookId, Duration)> {
        let now = self.clock.now();
        let mut by_webhook = self.by_webhook.lock();
        by_webhook.retain(|_, owed| {
            owed.parked.expire(now);
            !owed.is_over()
        });
        let age = |(webhook, owed): (&WebhookId, &Owed)| Some((webhook.clone(), now.since(owed.oldest()?)));
        by_webhook.iter().filter_map(age).collect()
    }

    fn let_go(&self, webhook: &WebhookId, since: Timestamp) {
        let mut by_webhook = self.by_webhook.lock();
        let Some(owed) = by_webhook.get_mut(webhook) else {
            return;
        };
        owed.let_go(since);
        if owed.is_over() {
            by_webhook.remove(webhook);
        }
    }
}

/// One delivery that this instance holds.
#[derive(Debug)]
#[must_use = "what is dropped is owed no more"]
pub struct Owing {
    of: Undelivered,
    webhook: WebhookId,
    since: Timestamp,
}

impl Drop for Owing {
    fn drop(&mut self) {
        self.of.let_go(&self.webhook, self.since);
    }
}

/// What is owed to one webhook.
#[derive(Debug, Default)]
struct Owed {
    /// How many are held, by their events' times.
    held: BTreeMap<Timestamp, usize>,
    parked: Parkings,
}

impl Owed {
    fn let_go(&mut self, since: Timestamp) {
        if let Some(count) = self.held.get_mut(&since) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&since);
            }
        }
    }

    fn oldest(&self) -> Option<Timestamp> {
        let held = self.held.keys().next().copied();
        [held, self.parked.oldest()].into_iter().flatten().min()
    }

    fn is_over(&self) -> bool {
        self.held.is_empty() && self.parked.0.is_empty()
    }
}

/// The oldest parked one, whatever of them ends first: of any two, one that is younger and ends sooner never matters.
/// What is left are steps, later and younger ones behind. Pure: moments are arguments.
#[derive(Debug, Default)]
struct Parkings(VecDeque<Step>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    since: Timestamp,
    until: Timestamp,
}

impl Parkings {
    fn note(&mut self, since: Timestamp, until: Timestamp) {
        let steps = &mut self.0;
        let behind = steps.partition_point(|step| step.until < until);
        if steps.get(behind).is_some_and(|step| step.since <= since) {
            return;
        }
        let end = steps.partition_point(|step| step.until <= until);
        let start = steps.partition_point(|step| step.since < since).min(end);
        steps.drain(start..end);
        steps.insert(start, Step { since, until });
        if steps.len() > GROUPS {
            self.join();
        }
    }

    /// Takes the two neighbours together whose ends are nearest.
    fn join(&mut self) {
        let steps = &mut self.0;
        let gap = |at: &usize| steps[at + 1].until.since(steps[*at].until);
        if let Some(at) = (0..steps.len().saturating_sub(1)).min_by_key(gap) {
            steps[at].until = steps[at + 1].until;
            steps.remove(at + 1);
        }
    }

    fn forget(&mut self, since: Timestamp, until: Timestamp) {
        self.0.retain(|step| *step != Step { since, until });
    }

    fn expire(&mut self, now: Timestamp) {
        while self.0.front().is_some_and(|step| step.until <= now) {
            self.0.pop_front();
        }
    }

    fn oldest(&self) -> Option<Timestamp> {
        self.0.front().map(|step| step.since)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn webhook(id: &str) -> WebhookId {
        WebhookId::new(id).unwrap()
    }

    fn age(undelivered: &Undelivered) -> Option<u64> {
        let ages = undelivered.ages();
        assert!(ages.len() <= 1, "{ages:?}");
        ages.first().map(|(_, age)| age.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_what_is_held_tells_the_age_until_it_is_let_go() {
        let undelivered = Undelivered::new(Clock::starting_at(at(100_000)));
        let old = undelivered.hold(&webhook("wh"), at(10_000));
        let twin = undelivered.hold(&webhook("wh"), at(10_000));
        let young = undelivered.hold(&webhook("wh"), at(70_000));
        assert_eq!(age(&undelivered), Some(90));
        drop(old);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(age(&undelivered), Some(95));
        drop(twin);
        assert_eq!(age(&undelivered), Some(35));
        drop(young);
        assert_eq!(age(&undelivered), None);
        assert!(undelivered.by_webhook.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_parked_counts_until_it_comes_back_or_somebody_else_must_have_it() {
        let undelivered = Undelivered::new(Clock::starting_at(at(100_000)));
        let (id, since) = (webhook("wh"), at(40_000));
        undelivered.parked(&id, since, at(105_000));
        undelivered.parked(&id, at(50_000), at(120_000));
        assert_eq!(age(&undelivered), Some(60));
        undelivered.came_back(&id, since, at(105_000));
        assert_eq!(age(&undelivered), Some(50));
        tokio::time::advance(Duration::from_secs(20) + GRACE).await;
        assert_eq!(age(&undelivered), None);
        assert!(undelivered.by_webhook.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn webhooks_do_not_mix() {
        let undelivered = Undelivered::new(Clock::starting_at(at(9_000)));
        let _one = undelivered.hold(&webhook("one"), at(8_000));
        undelivered.parked(&webhook("two"), at(5_000), at(10_000));
        let mut ages = undelivered.ages();
        ages.sort_by_key(|(_, age)| *age);
        let ages: Vec<_> = ages.iter().map(|(id, age)| (id.as_str(), age.as_secs())).collect();
        assert_eq!(ages, [("one", 1), ("two", 4)]);
    }

    /// Every parked one: its event's time and its end.
    fn all() -> impl Strategy<Value = Vec<(i64, i64)>> {
        prop::collection::vec((0..1_000_i64, 1..1_000_i64), 1..200)
    }

    fn noted(all: &[(i64, i64)]) -> Parkings {
        let mut parkings = Parkings::default();
        for (since, until) in all {
            parkings.note(at(*since), at(*until));
        }
        parkings
    }

    fn truth(all: &[(i64, i64)], now: i64) -> Option<Timestamp> {
        let alive = all.iter().filter(|(_, until)| *until > now);
        alive.map(|(since, _)| at(*since)).min()
    }

    proptest! {
        #[test]
        fn an_age_is_never_told_too_short_and_nothing_outlives_the_last(all in all(), nows in prop::collection::vec(0..1_000_i64, 1..20)) {
            let mut parkings = noted(&all);
            prop_assert!(parkings.0.len() <= GROUPS);
            let mut nows = nows;
            nows.sort_unstable();
            for now in nows {
                parkings.expire(at(now));
                match (parkings.oldest(), truth(&all, now)) {
                    (Some(told), Some(true_one)) => prop_assert!(told <= true_one),
                    (told, true_one) => prop_assert_eq!(told, true_one),
                }
            }
        }

        #[test]
        fn few_are_told_exactly(all in prop::collection::vec((0..1_000_i64, 1..1_000_i64), 1..=GROUPS), now in 0..1_000_i64) {
            let mut parkings = noted(&all);
            parkings.expire(at(now));
            prop_assert_eq!(parkings.oldest(), truth(&all, now));
        }

        #[test]
        fn steps_stay_in_order(all in all()) {
            let steps: Vec<Step> = noted(&all).0.into();
            let ordered = |pair: &[Step]| pair[0].since < pair[1].since && pair[0].until < pair[1].until;
            prop_assert!(steps.windows(2).all(ordered), "{steps:?}");
        }
    }
}
