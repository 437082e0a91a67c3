//! From what a record's deliveries came to, to the records that are published.

mod dead_letter;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use postrider_types::outcome::Written;
use postrider_types::{Header, Notice, Parked, Resolution, StatusChange, WebhookId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::ResultsConfig;
use crate::parked;
use crate::pending::{self, Counts};

/// One record to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its topic.
    pub topic: Arc<str>,
    /// Whether it goes where all such records of its transaction go, instead of where its key says:
    /// each partition touched costs the transaction a marker.
    pub sticky: bool,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its headers; those of most records are the same.
    pub headers: Arc<[Header]>,
    /// Its value; `None` is Kafka's null.
    pub value: Option<Bytes>,
}

impl Outgoing {
    /// About what it takes on the wire and in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        OVERHEAD + value_len(self.key.as_ref()) + value_len(self.value.as_ref()) + headers_len(&self.headers)
    }
}

/// A record's own fields and its batch's header, generously.
const OVERHEAD: usize = 128;

fn value_len(value: Option<&Bytes>) -> usize {
    value.map_or(0, Bytes::len)
}

fn headers_len(headers: &[Header]) -> usize {
    let len = |header: &Header| with_length(header.name.len()) + with_length(value_len(header.value.as_ref()));
    headers.iter().map(len).sum()
}

/// What bytes take with their length before them: seven bits of twice the number in each byte.
const fn with_length(len: usize) -> usize {
    let bits = usize::BITS - (2 * len).leading_zeros();
    len + if bits == 0 { 1 } else { bits.div_ceil(7) as usize }
}

/// How much each topic takes in one record, as the brokers said at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The results topic.
    pub results: usize,
    /// The dead-letter topic.
    pub dead_letters: usize,
    /// The smallest of the retry topics.
    pub retry: usize,
}

impl Limits {
    /// Kafka's own default for every topic.
    pub const DEFAULT: Self = Self {
        results: 1_048_588,
        dead_letters: 1_048_588,
        retry: 1_048_588,
    };

    /// The largest of them: what the producer has to let through.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.results.max(self.dead_letters).max(self.retry)
    }

    /// The smallest of them: what a batch may take whatever its topic is.
    #[must_use]
    pub fn smallest(&self) -> usize {
        self.results.min(self.dead_letters).min(self.retry)
    }
}

/// Turns resolutions into records.
#[derive(Debug, Clone)]
pub struct Encoder {
    instance: String,
    topics: Topics,
    limits: Limits,
}

/// The names of the topics it makes records for.
#[derive(Debug, Clone)]
struct Topics {
    results: Arc<str>,
    dead_letters: Arc<str>,
    notices: Arc<str>,
    pending: Arc<str>,
    webhooks: Arc<str>,
    retry_prefix: String,
}

impl Encoder {
    /// For the configured topics and their limits, on behalf of `instance`. `webhooks` is the webhooks topic.
    pub fn new(
        instance: impl Into<String>,
        results: ResultsConfig,
        webhooks: impl Into<Arc<str>>,
        limits: Limits,
    ) -> Self {
        let topics = Topics {
            results: results.topic.into(),
            dead_letters: results.dead_letters.into(),
            notices: results.notices.into(),
            pending: results.pending.into(),
            webhooks: webhooks.into(),
            retry_prefix: results.retry_prefix,
        };
        Self {
            instance: instance.into(),
            topics,
            limits,
        }
    }

    /// The records of one delivery's resolution.
    pub fn resolution(&self, resolution: Resolution) -> impl Iterator<Item = Outgoing> {
        let outcome = resolution.outcome.map(|outcome| self.outcome(outcome));
        let parked = resolution.parked.as_ref().map(|parked| self.parked(parked));
        let dead_letter = resolution.dead_letter.as_ref().map(|letter| self.dead_letter(letter));
        let status = resolution.status_change.as_ref().map(|change| self.status(change));
        let notices = resolution.notices.into_iter().map(|notice| self.notice(&notice));
        [outcome, parked, dead_letter, status]
            .into_iter()
            .flatten()
            .chain(notices)
    }

    /// The record of this instance's counts of a webhook.
    #[must_use]
    pub fn pending(&self, webhook: &WebhookId, counts: &Counts) -> Outgoing {
        json(&self.topics.pending, &pending::key(&self.instance, webhook), counts)
    }

    fn notice(&self, notice: &Notice) -> Outgoing {
        json(&self.topics.notices, notice.account_id.as_str(), notice)
    }

    fn status(&self, change: &StatusChange) -> Outgoing {
        let record = StatusRecord {
            record: STATUS_RECORD.into(),
            change: change.clone(),
        };
        json(&self.topics.webhooks, &change.key(), &record)
    }

    /// A topic with small records may still take an outcome without what the endpoint answered.
    fn outcome(&self, written: Written) -> Outgoing {
        let Written { delivery_id, json, .. } = written;
        let mut outgoing = of_json(&self.topics.results, delivery_id.into(), json);
        if outgoing.size() > self.limits.results {
            outgoing.value = outgoing.value.map(without_answer);
        }
        outgoing
    }

    /// The record of a parked delivery.
    #[must_use]
    pub fn parked(&self, parked: &Parked) -> Outgoing {
        Outgoing {
            topic: retry_topic(&self.topics.retry_prefix, parked.tier).into(),
            sticky: true,
            key: parked.event.key.clone(),
            headers: parked::headers(parked).into(),
            value: Some(parked.event.body.clone()),
        }
    }
}

/// Rare, so the document is taken apart again; as a document, which whatever was written is.
fn without_answer(json: Bytes) -> Bytes {
    let mut outcome: Value = serde_json::from_slice(&json).expect("an outcome is written as JSON");
    let Some(response) = outcome["response"].as_object_mut() else {
        return json;
    };
    response.insert("body".to_owned(), "".into());
    response.insert("truncated".to_owned(), true.into());
    outcome.to_string().into()
}

/// The name of the retry topic of a delay: `<n>s`, or `<n>ms` where it is no whole second.
#[must_use]
pub fn retry_topic(prefix: &str, delay: Duration) -> String {
    match delay.as_millis() {
        millis if millis % 1000 == 0 => format!("{prefix}{}s", millis / 1000),
        millis => format!("{prefix}{millis}ms"),
    }
}

/// What a status record of the webhooks topic says it is.
pub const STATUS_RECORD: &str = "status";

/// What postrider changed of a webhook, as the webhooks topic holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// Always [`STATUS_RECORD`]; tells it from a webhook's document.
    pub record: Cow<'static, str>,
    /// The change.
    #[serde(flatten)]
    pub change: StatusChange,
}

/// The record of a document under its key.
#[must_use]
pub fn document(topic: &Arc<str>, key: &str, document: &impl Serialize) -> Outgoing {
    json(topic, key, document)
}

/// What most documents need at least, so that writing one does not grow its buffer again and again.
const DOCUMENT: usize = 1024;

static JSON: LazyLock<Arc<[Header]>> = LazyLock::new(|| [text("content-type", "application/json")].into());

fn json(topic: &Arc<str>, key: &str, document: &impl Serialize) -> Outgoing {
    let mut value = Vec::with_capacity(DOCUMENT);
    serde_json::to_writer(&mut value, document).expect("our documents have no maps with odd keys");
    of_json(topic, Bytes::copy_from_slice(key.as_bytes()), value.into())
}

fn of_json(topic: &Arc<str>, key: Bytes, value: Bytes) -> Outgoing {
    Outgoing {
        topic: Arc::clone(topic),
        sticky: false,
        key: Some(key),
        headers: Arc::clone(&JSON),
        value: Some(value),
    }
}

fn text(name: &str, value: &str) -> Header {
    Header {
        name: name.into(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use postrider_types::{DeliveryId, EventId, OutcomeResult, WebhookId};
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_take_as_many_more_as_their_length_needs() {
        let more = |len| with_length(len) - len;
        assert_eq!(
            [0, 1, 63, 64, 8_191, 8_192, 1 << 19, 1 << 20].map(more),
            [1, 1, 1, 2, 2, 3, 3, 4]
        );
    }

    #[test]
    fn an_outcome_that_the_topic_would_refuse_goes_without_the_answers_body() {
        // Its event's id is a position in a topic with a name as long as Kafka lets it be.
        let json = |body: &str, truncated: bool| {
            let id = "t".repeat(300);
            json!({ "event_id": id, "response": { "body": body, "truncated": truncated } })
        };
        let limits = Limits {
            results: 1_000,
            ..Limits::DEFAULT
        };
        let encoder = Encoder::new("i-0", ResultsConfig::default(), "postrider.webhooks", limits);
        let sent = |body: &str| {
            let (event, webhook) = (EventId::new("e").unwrap(), WebhookId::new("wh_1").unwrap());
            let sent = encoder.outcome(Written {
                delivery_id: DeliveryId::of_test(&event, &webhook),
                webhook_id: webhook,
                result: OutcomeResult::Success,
                date_end: None,
                json: json(body, false).to_string().into(),
            });
            serde_json::from_slice::<Value>(&sent.value.unwrap()).unwrap()
        };
        assert_eq!(sent("short"), json("short", false));
        assert_eq!(sent(&"x".repeat(1_000)), json("", true));
    }

    #[test]
    fn retry_topics_are_named_by_their_delay() {
        let name = |millis| retry_topic("p.", Duration::from_millis(millis));
        assert_eq!(
            [name(5_000), name(500), name(1_500), name(18_000_000)],
            ["p.5s", "p.500ms", "p.1500ms", "p.18000s"]
        );
    }
}
