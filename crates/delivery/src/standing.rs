//! How each webhook stands: its circuit, its pace, its rate limit, since when it has been failing, and
//! whether it was disabled here. Every attempt's finding passes through [`Standings::conclude`], which
//! tells what follows from it for the webhook.
//!
//! A webhook that is disabled here stays so until an active document arrives that is another than the
//! disabled one: a person enabled it. Another URL is another endpoint and starts with a clean record.

mod judging;

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use postrider_types::{Notice, StatusChange, Successes, Timestamp, Webhook, WebhookId};
use tokio::time::Instant;

use self::judging::Judging;
use crate::attempt::Made;
use crate::bookings::Bookings;
use crate::bucket::Bucket;
use crate::circuit::{Circuit, Entry, Ticket};
use crate::config::{CircuitConfig, Config};
use crate::lane::Kind;
use crate::metrics::Metrics;
use crate::notices::{About, in_words};
use crate::pace::Pace;
use crate::verdict::Finding;

/// How many webhooks are remembered before the idle ones among them are looked for.
const MANY: usize = 4096;
/// A webhook that was not met for so long, and has nothing against it, is forgotten.
const IDLE: Duration = Duration::from_secs(600);
/// A table that is rebuilt for another reason can still show a webhook as it was; after this long it would
/// have heard of the disabling.
const HEARD: Duration = Duration::from_secs(10);

/// Why postrider disabled a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disabled {
    /// Its endpoint answered 410.
    Gone,
    /// It failed for so long without one success.
    Failing(Duration),
}

impl Disabled {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing(_) => "failing",
        }
    }

    /// Why, for people.
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Gone => "its endpoint answered 410 Gone".to_owned(),
            Self::Failing(time) => format!("every attempt has failed for {}", in_words(time)),
        }
    }
}

/// What follows from an attempt for its webhook.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Effects {
    pub(crate) notices: Vec<Notice>,
    pub(crate) status_change: Option<StatusChange>,
    /// What becomes of what waits.
    pub(crate) clears: Option<Clears>,
}

/// Why a lane is emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clears {
    /// The circuit opened.
    Parked,
    /// The webhook was disabled.
    Skipped(Disabled),
}

/// One webhook.
#[derive(Debug)]
pub(crate) struct Standing {
    webhook: Arc<Webhook>,
    pub(crate) circuit: Circuit,
    pub(crate) pace: Pace,
    pub(crate) bookings: Bookings,
    bucket: Option<Bucket>,
    failing: Option<Failing>,
    disabled: Option<(Disabled, Instant)>,
    met: Instant,
}

/// The first failure after the last success.
#[derive(Debug, Clone, Copy)]
struct Failing {
    since: Timestamp,
    /// When it was met, if it was here: the wall may have been set to another time meanwhile.
    met: Option<Instant>,
}

impl Failing {
    /// How long it has been going on, if only what is younger than `renewed` counts.
    fn lasts(self, renewed: Option<Timestamp>, at: Timestamp, now: Instant) -> Duration {
        let told = at.since(renewed.map_or(self.since, |renewed| self.since.max(renewed)));
        let lived = self.met.map(|met| now.saturating_duration_since(met));
        lived.map_or(told, |lived| told.min(lived))
    }
}

impl Standing {
    fn new(webhook: &Arc<Webhook>, failing_since: Option<Timestamp>, now: Instant) -> Self {
        Self {
            webhook: Arc::clone(webhook),
            circuit: Circuit::default(),
            pace: Pace::default(),
            bookings: Bookings::default(),
            bucket: webhook.rate_limit_per_second.map(|rate| Bucket::new(rate, now)),
            failing: failing_since.map(|since| Failing { since, met: None }),
            disabled: None,
            met: now,
        }
    }

    pub(crate) fn disabled(&self) -> Option<Disabled> {
        self.disabled.map(|(why, _)| why)
    }

    /// Requests a second at most.
    pub(crate) fn rate(&self) -> Option<u32> {
        self.bucket.as_ref().map(Bucket::rate)
    }

    /// Takes a token; tells when there will be one if there is none.
    pub(crate) fn hold_back(&mut self, now: Instant) -> Option<Instant> {
        self.bucket.as_mut()?.take(now).err()
    }

    /// Goes on with today's document.
    fn renew(&mut self, webhook: &Arc<Webhook>, now: Instant) {
        if let Some((_, since)) = self.disabled {
            if self.is_enabled_by(webhook, since, now) {
                *self = Self::new(webhook, None, now);
            }
            return;
        }
        if self.webhook.url != webhook.url {
            *self = Self::new(webhook, None, now);
        }
        if self.rate() != webhook.rate_limit_per_second {
            self.bucket = webhook.rate_limit_per_second.map(|rate| Bucket::new(rate, now));
        }
        self.webhook = Arc::clone(webhook);
    }

    fn is_enabled_by(&self, webhook: &Arc<Webhook>, since: Instant, now: Instant) -> bool {
        let differs = *self.webhook != **webhook || now.saturating_duration_since(since) >= HEARD;
        webhook.is_active() && webhook.version >= self.webhook.version && differs
    }

    /// Whether it has to be remembered.
    fn matters(&self, now: Instant, longest: Duration) -> bool {
        let idle = now.saturating_duration_since(self.met);
        let clean = self.circuit.is_pristine() && self.failing.is_none() && self.disabled.is_none();
        idle < if clean { IDLE } else { longest }
    }
}

/// All webhooks that were met.
#[derive(Debug)]
pub(crate) struct Standings {
    known: HashMap<WebhookId, Standing>,
    /// Since when webhooks have been failing that were not met yet.
    seeds: HashMap<WebhookId, Timestamp>,
    successes: Successes,
    circuit: CircuitConfig,
    disable_after: Duration,
    instance: Arc<str>,
    metrics: Metrics,
    many: usize,
}

impl Standings {
    pub(crate) fn new(
        config: &Config,
        instance: Arc<str>,
        metrics: Metrics,
        seeds: HashMap<WebhookId, Timestamp>,
        successes: Successes,
    ) -> Self {
        Self {
            known: HashMap::new(),
            seeds,
            successes,
            circuit: config.circuit.clone(),
            disable_after: config.disable_after,
            instance,
            metrics,
            many: MANY,
        }
    }

    /// How a webhook stands, by its document of today.
    pub(crate) fn meet(&mut self, webhook: &Arc<Webhook>, now: Instant) -> &mut Standing {
        self.prune(now);
        let seeds = &mut self.seeds;
        let fresh = || Standing::new(webhook, seeds.remove(&webhook.id), now);
        let standing = self.known.entry(webhook.id.clone()).or_insert_with(fresh);
        standing.met = now;
        if !Arc::ptr_eq(&standing.webhook, webhook) {
            let was_open = standing.circuit.is_open();
            standing.renew(webhook, now);
            self.metrics.circuit(was_open, standing.circuit.is_open());
        }
        standing
    }

    /// How a webhook stood when it was last met.
    pub(crate) fn of(&mut self, webhook: &WebhookId) -> Option<&mut Standing> {
        self.known.get_mut(webhook)
    }

    /// Starts a delivery; at an open circuit it may become the probe.
    pub(crate) fn enter(&mut self, webhook: &WebhookId, kind: Kind, now: Instant) -> Entry {
        let standing = self.known.get_mut(webhook);
        standing.map_or(Entry::Free, |standing| standing.circuit.enter(kind, now))
    }

    /// Notes an attempt that ended without a finding.
    pub(crate) fn forget(&mut self, webhook: &WebhookId, ticket: Option<Ticket>) {
        if let Some(standing) = self.known.get_mut(webhook) {
            standing.circuit.forget(ticket);
        }
    }

    /// Takes in what an attempt found, and tells what follows for the webhook. `under_way` is how
    /// many requests its lane had at once.
    pub(crate) fn conclude(&mut self, made: &Made, ticket: Option<Ticket>, under_way: usize, now: Instant) -> Effects {
        let same = |standing: &&mut Standing| standing.webhook.url == made.webhook.url;
        let Some(standing) = self.known.get_mut(&made.webhook.id).filter(same) else {
            return Effects::default();
        };
        standing.met = now;
        if standing.disabled.is_some() {
            return Effects::default();
        }
        if matches!(made.finding, Finding::Well | Finding::Failing) {
            standing.pace.observe(made.endpoint_time, under_way);
        }
        let was_open = standing.circuit.is_open();
        let about = About {
            webhook: &made.webhook,
            at: made.ended,
            instance: &self.instance,
        };
        let judging = Judging {
            circuit: &self.circuit,
            disable_after: self.disable_after,
            succeeded: self.successes.last(&made.webhook.id),
            about,
            now,
        };
        let effects = judging.effects(standing, made.finding, ticket);
        self.metrics.circuit(was_open, standing.circuit.is_open());
        effects
    }

    /// Forgets idle webhooks, each time their number has doubled.
    fn prune(&mut self, now: Instant) {
        if self.known.len() < self.many {
            return;
        }
        let longest = self.disable_after.max(IDLE);
        let metrics = &self.metrics;
        self.known.retain(|_, standing| {
            let stays = standing.matters(now, longest);
            metrics.circuit(standing.circuit.is_open(), stays && standing.circuit.is_open());
            stays
        });
        self.many = self.known.len().saturating_mul(2).max(MANY);
    }
}

#[cfg(test)]
mod tests;
