//! The retry record: the event's bytes unchanged, its headers prefixed `o.`, and its state in one
//! header `pr`. Written by the committer, read back by the consumer.

use bytes::Bytes;
use postrider_types::delivery::{Progress, TraceParent, Waiting};
use postrider_types::event::last_header;
use postrider_types::{
    AccountId, Event, EventId, EventType, Header, Offset, Origin, ParkCause, Parked, Partition, Timestamp, Trigger,
    WebhookId,
};
use serde::{Deserialize, Serialize};

/// The header that holds the delivery's state.
pub const STATE_HEADER: &str = "pr";
/// What the names of the event's own headers are prefixed with.
pub const ORIGINAL_PREFIX: &str = "o.";

const VERSION: u8 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct State<'a> {
    v: u8,
    wh: WebhookId,
    eid: EventId,
    et: EventType,
    acct: AccountId,
    /// Topic, partition, offset, timestamp of the source record.
    #[serde(borrow)]
    src: (std::borrow::Cow<'a, str>, i32, i64, i64),
    att: u32,
    def: u32,
    due_ms: i64,
    why: ParkCause,
    ct: Trigger,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replay: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tp: Option<TraceParent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<u16>,
}

/// A retry record as it was read back; its value is the event's body.
#[derive(Debug, Clone, PartialEq)]
pub struct ParkedRecord {
    /// The source record.
    pub origin: Origin,
    /// The event's id.
    pub id: EventId,
    /// Its type.
    pub event_type: EventType,
    /// Its account.
    pub account: AccountId,
    /// The source record's headers.
    pub headers: Vec<Header>,
    /// What the delivery waits for.
    pub waiting: Waiting,
}

/// The record is none that postrider wrote.
#[derive(Debug, thiserror::Error)]
pub enum BadParkedRecord {
    /// It has no state.
    #[error("the retry record has no `{STATE_HEADER}` header")]
    NoState,
    /// Its state cannot be read.
    #[error("the retry record's `{STATE_HEADER}` header cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// Its state is of a later postrider.
    #[error("the retry record is of version {0}, which this postrider does not know")]
    Version(u8),
}

/// The headers of a parked delivery's record.
#[must_use]
pub fn headers(parked: &Parked) -> Vec<Header> {
    let original = |header: &Header| Header {
        name: format!("{ORIGINAL_PREFIX}{}", header.name).into(),
        value: header.value.clone(),
    };
    let mut headers: Vec<Header> = parked.event.headers.iter().map(original).collect();
    let state = serde_json::to_vec(&state(&parked.event, &parked.waiting)).expect("a state has no maps with odd keys");
    headers.push(Header {
        name: STATE_HEADER.into(),
        value: Some(state.into()),
    });
    headers
}

fn state<'a>(event: &'a Event, waiting: &'a Waiting) -> State<'a> {
    let origin = &event.origin;
    let progress = &waiting.progress;
    State {
        v: VERSION,
        wh: waiting.webhook_id.clone(),
        eid: event.id.clone(),
        et: event.event_type,
        acct: event.account.clone(),
        src: (
            (&*origin.topic).into(),
            origin.partition.0,
            origin.offset.0,
            origin.timestamp.as_millis(),
        ),
        att: progress.attempts,
        def: progress.parkings,
        due_ms: waiting.due.as_millis(),
        why: waiting.cause,
        ct: progress.trigger,
        replay: progress.replay.clone(),
        tp: progress.trace.clone(),
        last: progress.last_status,
    }
}

/// Reads a retry record's headers.
///
/// # Errors
/// [`BadParkedRecord`] when the state is missing, unreadable or of a later version.
pub fn read(headers: &[Header]) -> Result<ParkedRecord, BadParkedRecord> {
    let bytes: &Bytes = last_header(headers, STATE_HEADER).ok_or(BadParkedRecord::NoState)?;
    let state: State<'_> = serde_json::from_slice(bytes).map_err(BadParkedRecord::Unreadable)?;
    if state.v != VERSION {
        return Err(BadParkedRecord::Version(state.v));
    }
    let (topic, partition, offset, timestamp) = state.src;
    let origin = Origin {
        topic: topic.as_ref().into(),
        partition: Partition(partition),
        offset: Offset(offset),
        timestamp: Timestamp::from_millis(timestamp),
    };
    let progress = Progress {
        attempts: state.att,
        parkings: state.def,
        trigger: state.ct,
        replay: state.replay,
        trace: state.tp,
        last_status: state.last,
    };
    let due = Timestamp::from_millis(state.due_ms);
    let waiting = Waiting {
        webhook_id: state.wh,
        progress,
        due,
        cause: state.why,
    };
    let headers = headers.iter().filter_map(original).collect();
    Ok(ParkedRecord {
        origin,
        id: state.eid,
        event_type: state.et,
        account: state.acct,
        headers,
        waiting,
    })
}

fn original(header: &Header) -> Option<Header> {
    let name = header.name.strip_prefix(ORIGINAL_PREFIX)?;
    Some(Header {
        name: name.into(),
        value: header.value.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use postrider_types::{Facts, retry_record};
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::config::ResultsConfig;
    use crate::encode::{Encoder, Limits};

    fn header(name: &str, value: Option<&'static str>) -> Header {
        Header {
            name: name.into(),
            value: value.map(Bytes::from),
        }
    }

    fn parked() -> Parked {
        let origin = Origin {
            topic: "tracking".into(),
            partition: Partition(3),
            offset: Offset(1841),
            timestamp: Timestamp::from_millis(1_763_805_600_000),
        };
        let event = Event {
            id: EventId::from(&origin),
            origin,
            event_type: EventType::TrackingUpdate,
            account: AccountId::default(),
            facts: Facts::default(),
            key: None,
            headers: vec![
                header("pr", Some("forged")),
                header("a", None),
                header("o.b", Some("1")),
            ],
            body: Bytes::from_static(b"{}"),
        };
        let progress = Progress {
            attempts: 2,
            parkings: 1,
            trigger: Trigger::Replay,
            replay: Some("r-1".to_owned()),
            trace: Some(TraceParent::from_random(1, 2)),
            last_status: Some(503),
        };
        let waiting = Waiting {
            webhook_id: WebhookId::new("wh_1").unwrap(),
            progress,
            due: Timestamp::from_millis(1_763_805_605_300),
            cause: ParkCause::Retry,
        };
        Parked {
            event: Arc::new(event),
            tier: Duration::from_secs(5),
            waiting,
        }
    }

    #[test]
    fn what_was_parked_is_read_back() {
        let parked = parked();
        let read = read(&headers(&parked)).unwrap();
        assert_eq!(read.waiting, parked.waiting);
        assert_eq!(read.origin, parked.event.origin);
        assert_eq!(read.headers, parked.event.headers);
        assert_eq!(
            (read.id, read.event_type),
            (parked.event.id.clone(), parked.event.event_type)
        );
    }

    #[test]
    fn a_foreign_record_is_told_from_a_later_version() {
        assert!(matches!(read(&[header("x", None)]), Err(BadParkedRecord::NoState)));
        assert!(matches!(
            read(&[header("pr", Some("[]"))]),
            Err(BadParkedRecord::Unreadable(_))
        ));
        let mut headers = headers(&parked());
        let state = String::from_utf8(headers.last().unwrap().value.clone().unwrap().to_vec()).unwrap();
        headers.last_mut().unwrap().value = Some(state.replace("\"v\":1", "\"v\":2").into());
        assert!(matches!(read(&headers), Err(BadParkedRecord::Version(2))));
    }

    /// A header of a source record, the lengths of its name and its value, and how often it is there.
    fn many_headers() -> impl Strategy<Value = Vec<Header>> {
        let one = (0..20_000_usize, option::of(0..20_000_usize), 0..4_usize);
        let small = (0..4_usize, option::of(0..4_usize), 0..20_000_usize);
        vec(prop_oneof![one, small], 0..4).prop_map(|all| {
            let header = |(name, value, times): (usize, Option<usize>, usize)| {
                let header = Header {
                    name: "n".repeat(name).into(),
                    value: value.map(|len| vec![b'v'; len].into()),
                };
                std::iter::repeat_n(header, times)
            };
            all.into_iter().flat_map(header).collect()
        })
    }

    proptest! {
        #[test]
        fn what_fits_by_the_reckoning_makes_a_retry_record_that_fits(
            headers in many_headers(), key in option::of(0..20_000_usize), body in 0..20_000_usize,
        ) {
            let bytes = |len: usize| Bytes::from(vec![b'x'; len]);
            let mut parked = parked();
            parked.waiting.progress.replay = Some("r".repeat(64));
            parked.event = Arc::new(Event {
                // Each of them takes two bytes in the state.
                id: EventId::new(&"\"".repeat(256)).unwrap(),
                key: key.map(bytes),
                headers,
                body: bytes(body),
                ..Event::clone(&parked.event)
            });
            let encoder = Encoder::new("i-0", ResultsConfig::default(), "postrider.webhooks", Limits::DEFAULT);
            let size = encoder.parked(&parked).size();
            prop_assert!(!retry_record::fits(&parked.event, size - 1));
            prop_assert!(retry_record::fits(&parked.event, 5 * size + retry_record::ROOM));
        }
    }
}
