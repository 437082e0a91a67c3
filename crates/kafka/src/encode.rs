//! From what a record's deliveries came to, to the records that are published.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use postrider_types::outcome::Written;
use postrider_types::{DeadLetter, Header, Notice, Parked, Resolution, StatusChange, WebhookId, hex};
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

    fn dead_letter(&self, letter: &DeadLetter) -> Outgoing {
        let mut outgoing = Outgoing {
            topic: Arc::clone(&self.topics.dead_letters),
            sticky: false,
            key: letter.key.clone(),
            headers: dead_letter_headers(letter).into(),
            value: letter.value.clone(),
        };
        self.truncate(&mut outgoing);
        outgoing
    }

    /// A dead letter that the topic would refuse goes as far as it fits, with the whole value's digest. A key takes at
    /// most half of the room, its headers all of what they need if that is at most half of the rest, and the value
    /// what is left.
    fn truncate(&self, outgoing: &mut Outgoing) {
        if outgoing.size() <= self.limits.dead_letters {
            return;
        }
        let said = |header: &Header| header.name.starts_with(DEAD_LETTER_PREFIX);
        let (mut ours, theirs): (Vec<Header>, Vec<Header>) = outgoing.headers.iter().cloned().partition(said);
        let digest = outgoing.value.as_deref().map(sha256_hex);
        ours.extend(digest.map(|digest| text("pr-dl-sha256", &digest)));
        let mut room = self.limits.dead_letters.saturating_sub(OVERHEAD + headers_len(&ours));
        let cut = |part: &mut Option<Bytes>, most: usize| {
            if let Some(part) = part {
                part.truncate(most);
            }
            value_len(part.as_ref())
        };
        room -= cut(&mut outgoing.key, room / 2);
        let fits = headers_len(&theirs) <= room / 2;
        let theirs = if fits { theirs } else { Vec::new() };
        cut(&mut outgoing.value, room - headers_len(&theirs));
        outgoing.headers = theirs.into_iter().chain(ours).collect();
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

fn sha256_hex(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hex::of(digest.as_ref())
}

const DEAD_LETTER_PREFIX: &str = "pr-";

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

/// The original headers, less the forged ones, and what postrider says.
fn dead_letter_headers(letter: &DeadLetter) -> Vec<Header> {
    let forged = |name: &str| {
        name.get(..3)
            .is_some_and(|start| start.eq_ignore_ascii_case(DEAD_LETTER_PREFIX))
    };
    let mut headers: Vec<Header> = letter
        .headers
        .iter()
        .filter(|header| !forged(&header.name))
        .cloned()
        .collect();
    let origin = &letter.origin;
    headers.extend([
        text("pr-dl-reason", letter.reason.as_str()),
        text("pr-dl-message", &letter.message),
        text("pr-dl-topic", &origin.topic),
        text("pr-dl-partition", &origin.partition.to_string()),
        text("pr-dl-offset", &origin.offset.to_string()),
        text("pr-dl-timestamp", &origin.timestamp.as_millis().to_string()),
    ]);
    if let Some(delivery) = &letter.delivery {
        headers.push(text("pr-webhook-id", delivery.webhook_id.as_str()));
        headers.push(text("pr-attempts", &delivery.attempts.to_string()));
        headers.extend(
            delivery
                .last_status
                .map(|status| text("pr-last-status", &status.to_string())),
        );
    }
    headers
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use postrider_types::event::last_header;
    use postrider_types::settlement::DeadDelivery;
    use postrider_types::{
        DeadLetterReason, DeliveryId, EventId, Offset, Origin, OutcomeResult, Partition, Timestamp, WebhookId,
    };
    use serde_json::json;

    use super::*;

    fn letter(value: Option<Bytes>) -> DeadLetter {
        DeadLetter {
            origin: Origin {
                topic: "shipments".into(),
                partition: Partition(1),
                offset: Offset(7),
                timestamp: Timestamp::from_millis(5),
            },
            key: Some("k".into()),
            headers: vec![text("trace", "x"), text("PR-dl-reason", "forged")],
            value,
            reason: DeadLetterReason::NotJson,
            message: "line 1".to_owned(),
            delivery: None,
        }
    }

    fn encoder(dead_letters: usize) -> Encoder {
        Encoder::new(
            "i-0",
            ResultsConfig::default(),
            "postrider.webhooks",
            Limits {
                dead_letters,
                ..Limits::DEFAULT
            },
        )
    }

    fn header<'a>(outgoing: &'a Outgoing, name: &str) -> Option<&'a str> {
        last_header(&outgoing.headers, name).map(|value| std::str::from_utf8(value).unwrap())
    }

    #[test]
    fn a_dead_letter_keeps_key_value_and_headers_and_loses_forged_ones() {
        let sent = encoder(10_000).dead_letter(&letter(Some("{".into())));
        assert_eq!(
            (sent.key.as_deref(), sent.value.as_deref()),
            (Some(&b"k"[..]), Some(&b"{"[..]))
        );
        assert_eq!(header(&sent, "trace"), Some("x"));
        assert_eq!(header(&sent, "PR-dl-reason"), None);
        let told = ["reason", "message", "topic", "partition", "offset", "timestamp"]
            .map(|name| header(&sent, &format!("pr-dl-{name}")).unwrap());
        assert_eq!(told, ["not_json", "line 1", "shipments", "1", "7", "5"]);
    }

    #[test]
    fn a_dead_letter_of_a_delivery_names_it() {
        let delivery = DeadDelivery {
            webhook_id: WebhookId::new("wh_1").unwrap(),
            attempts: 11,
            last_status: Some(503),
        };
        let sent = encoder(10_000).dead_letter(&DeadLetter {
            delivery: Some(delivery),
            ..letter(None)
        });
        assert_eq!(sent.value, None);
        let told = ["pr-webhook-id", "pr-attempts", "pr-last-status"].map(|name| header(&sent, name).unwrap());
        assert_eq!(told, ["wh_1", "11", "503"]);
    }

    #[test]
    fn what_the_topic_would_refuse_goes_truncated_with_its_digest() {
        let sent = encoder(2_000).dead_letter(&letter(Some(Bytes::from(vec![b'x'; 5_000]))));
        assert!(
            sent.size() <= 2_000 && sent.value.as_ref().unwrap().len() > 1_000,
            "{}",
            sent.size()
        );
        let digest = "c59d3c0480cc2d71d8f646e735e92da65450311eec46e81a5db8c7e6e8a92054";
        assert_eq!(header(&sent, "pr-dl-sha256"), Some(digest));
        let whole = encoder(10_000).dead_letter(&letter(Some(Bytes::from(vec![b'x'; 5_000]))));
        assert_eq!(header(&whole, "pr-dl-sha256"), None);
        assert_eq!(whole.value.map(|value| value.len()), Some(5_000));
    }

    #[test]
    fn bytes_take_as_many_more_as_their_length_needs() {
        let more = |len| with_length(len) - len;
        assert_eq!(
            [0, 1, 63, 64, 8_191, 8_192, 1 << 19, 1 << 20].map(more),
            [1, 1, 1, 2, 2, 3, 3, 4]
        );
    }

    #[test]
    fn a_dead_letter_without_a_value_or_with_a_large_key_fits_too() {
        let large = || Some(Bytes::from(vec![b'x'; 5_000]));
        let sent = |letter| encoder(2_000).dead_letter(&letter);
        let stuffed = vec![Header {
            name: "trace".into(),
            value: large(),
        }];
        let null = sent(DeadLetter {
            headers: stuffed.clone(),
            ..letter(None)
        });
        assert!(null.size() <= 2_000, "{}", null.size());
        assert_eq!((null.value.as_ref(), header(&null, "trace")), (None, None));
        assert_eq!(header(&null, "pr-dl-sha256"), None);
        let keyed = sent(DeadLetter {
            key: large(),
            ..letter(Some("[]".into()))
        });
        assert!(keyed.size() <= 2_000, "{}", keyed.size());
        assert!(keyed.key.is_some_and(|key| key.len() > 500));
        assert_eq!(keyed.value.as_deref(), Some(&b"[]"[..]));
        let small = sent(DeadLetter {
            headers: stuffed,
            ..letter(Some("[]".into()))
        });
        assert_eq!(
            (small.value.as_deref(), header(&small, "trace")),
            (Some(&b"[]"[..]), None)
        );
    }

    proptest! {
        #[test]
        fn a_dead_letter_fits_its_topic_and_is_whole_where_it_can_be(
            key in option::of(0..3_000_usize), value in option::of(0..3_000_usize), their in 0..3_000_usize,
            limit in 1_000..8_000_usize,
        ) {
            let bytes = |len: usize| Bytes::from(vec![b'x'; len]);
            let whole = DeadLetter {
                key: key.map(bytes),
                headers: vec![Header { name: "trace".into(), value: Some(bytes(their)) }],
                ..letter(value.map(bytes))
            };
            let (free, sent) = (encoder(1 << 20).dead_letter(&whole), encoder(limit).dead_letter(&whole));
            prop_assert!(sent.size() <= limit);
            if free.size() <= limit {
                prop_assert_eq!(sent, free);
            } else {
                prop_assert_eq!(header(&sent, "pr-dl-sha256").is_some(), value.is_some());
                prop_assert_eq!(header(&sent, "pr-dl-reason"), Some("not_json"));
                prop_assert_eq!((sent.key.is_some(), sent.value.is_some()), (key.is_some(), value.is_some()));
            }
        }
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
