//! What a person asks for, and everything that is wrong with it at once.

use postrider_types::{AccountId, EventType, Fault, Outcome, OutcomeResult, Timestamp, WebhookId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::FASTEST;

/// Which end a delivery has to have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It was given up.
    Failed,
    /// Its webhook was disabled, gone or changed.
    Skipped,
    /// Any end, also a success.
    Any,
    /// None: its event was kept as a dead letter because it could not be read, and can be now.
    DeadLetter,
}

impl Ended {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Failed, Self::Skipped, Self::Any, Self::DeadLetter];

    /// The word used in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Any => "any",
            Self::DeadLetter => "dead_letter",
        }
    }

    /// Whether it is this end.
    #[must_use]
    pub fn fits(self, result: OutcomeResult) -> bool {
        match self {
            Self::Failed => result == OutcomeResult::Failed,
            Self::Skipped => result == OutcomeResult::Skipped,
            Self::Any => OutcomeResult::FINAL.contains(&result),
            Self::DeadLetter => false,
        }
    }
}

/// Which deliveries are to be made again, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wanted {
    /// Those of events at this time or later.
    pub from: Timestamp,
    /// And before this time.
    pub to: Timestamp,
    /// Only those of this webhook.
    pub webhook: Option<WebhookId>,
    /// Only those of this account.
    pub account: Option<AccountId>,
    /// Only those of events of this type.
    pub event: Option<EventType>,
    /// Only those that came to this end.
    pub result: Ended,
    /// How many are put on their way a second.
    pub rate_per_second: u32,
    /// Whether they are only counted.
    pub dry_run: bool,
}

/// The names of what can be asked for.
pub const FIELDS: [&str; 8] = [
    "from",
    "to",
    "webhook",
    "account",
    "event",
    "result",
    "rate_per_second",
    "dry_run",
];

impl Wanted {
    /// Reads a request; what it leaves out, or says null for, is as usual: up to now, failed, at `rate`.
    ///
    /// # Errors
    /// Every field that cannot be taken.
    pub fn read(document: &Value, rate: u32, now: Timestamp) -> Result<Self, Vec<Fault>> {
        let nothing = Map::new();
        let mut form = Form {
            fields: document.as_object().unwrap_or(&nothing),
            faults: Vec::new(),
        };
        if !document.is_object() {
            form.fault("", "must be an object");
        }
        form.refuse_unknown();
        let from = form.text("from", TIME, time);
        let wanted = Self {
            from: from.unwrap_or(now),
            to: form.text("to", TIME, time).unwrap_or(now),
            webhook: form.text("webhook", "must be a webhook's id", |text| WebhookId::new(text).ok()),
            account: form.text("account", "must be an account's id", |text| AccountId::new(text).ok()),
            event: form.text(
                "event",
                "must be order_shipped, order_error or tracking_update",
                |text| text.parse().ok(),
            ),
            result: form
                .text("result", "must be failed, skipped, any or dead_letter", ended)
                .unwrap_or(Ended::Failed),
            rate_per_second: form.rate().unwrap_or(rate),
            dry_run: form.switch("dry_run"),
        };
        if from.is_none() && form.given("from").is_none() {
            form.fault("from", "is missing: when the first of the events happened");
        } else if form.faults.is_empty() && wanted.from >= wanted.to {
            form.fault("to", "must be later than from");
        }
        if form.faults.is_empty() {
            Ok(wanted)
        } else {
            Err(form.faults)
        }
    }

    /// Whether a delivery whose last outcome this is was asked for.
    #[must_use]
    pub fn fits(&self, outcome: &Outcome) -> bool {
        self.result.fits(outcome.result) && self.is_about(outcome)
    }

    fn is_about(&self, outcome: &Outcome) -> bool {
        // Tests and first connections have no source: there is nothing to make again.
        outcome.source.is_some()
            && self.is_within(outcome.event_time)
            && self.is_of(&outcome.account_id, outcome.event)
            && self.is_for(&outcome.webhook_id)
    }

    /// Whether events of this time were asked for.
    #[must_use]
    pub fn is_within(&self, time: Timestamp) -> bool {
        (self.from..self.to).contains(&time)
    }

    /// Whether events of this account and type were asked for.
    #[must_use]
    pub fn is_of(&self, account: &AccountId, event: EventType) -> bool {
        self.account.as_ref().is_none_or(|asked| asked == account) && self.event.is_none_or(|asked| asked == event)
    }

    /// Whether deliveries to this webhook were asked for.
    #[must_use]
    pub fn is_for(&self, webhook: &WebhookId) -> bool {
        self.webhook.as_ref().is_none_or(|asked| asked == webhook)
    }
}

const TIME: &str = "must be a time as RFC 3339 has it, such as 2026-11-22T10:00:00Z";

fn time(text: &str) -> Option<Timestamp> {
    serde_json::from_value(Value::from(text)).ok()
}

fn ended(text: &str) -> Option<Ended> {
    Ended::ALL.into_iter().find(|ended| ended.as_str() == text)
}

struct Form<'a> {
    fields: &'a Map<String, Value>,
    faults: Vec<Fault>,
}

impl Form<'_> {
    fn fault(&mut self, path: &str, reason: &str) {
        self.faults.push(Fault::new(path, reason));
    }

    fn given(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn refuse_unknown(&mut self) {
        let known = FIELDS.join(", ");
        for name in self.fields.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            let reason = format!("is not a field; known here: {known}");
            self.faults.push(Fault::new(name.clone(), reason));
        }
    }

    fn text<T>(&mut self, name: &str, expected: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = self.given(name)?;
        let read = value.as_str().and_then(read);
        if read.is_none() {
            self.fault(name, expected);
        }
        read
    }

    fn rate(&mut self) -> Option<u32> {
        let value = self.given("rate_per_second")?;
        let rate = value.as_u64().and_then(|rate| u32::try_from(rate).ok());
        let rate = rate.filter(|rate| (1..=FASTEST).contains(rate));
        if rate.is_none() {
            self.fault(
                "rate_per_second",
                &format!("must be a whole number from 1 to {FASTEST}"),
            );
        }
        rate
    }

    fn switch(&mut self, name: &str) -> bool {
        match self.given(name) {
            None => false,
            Some(Value::Bool(on)) => *on,
            Some(_) => {
                self.fault(name, "must be true or false");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_763_805_600_000);

    fn paths(document: &Value) -> Vec<String> {
        let faults = Wanted::read(document, 50, NOW).unwrap_err();
        faults.into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn only_from_has_to_be_said() {
        let wanted = Wanted::read(&json!({ "from": "2025-11-22T09:00:00Z", "to": null }), 50, NOW).unwrap();
        assert_eq!(
            (wanted.to, wanted.result, wanted.rate_per_second),
            (NOW, Ended::Failed, 50)
        );
        assert_eq!(
            (wanted.webhook, wanted.account, wanted.event, wanted.dry_run),
            (None, None, None, false)
        );
    }

    #[test]
    fn every_field_that_cannot_be_taken_is_named() {
        let bad = json!({
            "from": "yesterday", "to": 5, "webhook": "a b", "account": "", "event": "order_lost", "result": "retrying",
            "rate_per_second": 0, "dry_run": "yes", "rate": 5,
        });
        let mut named = paths(&bad);
        named.sort();
        let mut all: Vec<&str> = FIELDS.to_vec();
        all.push("rate");
        all.sort_unstable();
        assert_eq!(named, all);
        assert_eq!(paths(&json!({})), ["from"]);
        assert_eq!(paths(&json!([])), ["", "from"]);
        assert_eq!(
            paths(&json!({ "from": "2025-11-22T09:00:00Z", "to": "2025-11-22T09:00:00Z" })),
            ["to"]
        );
        assert_eq!(
            paths(&json!({ "from": "2025-11-22T09:00:00Z", "rate_per_second": 10_001 })),
            ["rate_per_second"]
        );
    }
}
