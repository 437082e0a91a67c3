//! A record's value, and behind NUL bytes the values of its headers: it becomes an event that `serde_json` reads as an
//! object too, or a dead letter that says why not.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use postrider_consumer::decode::{MAX_DEPTH, RawRecord, source};
use postrider_types::{DeadLetterReason, Event, EventType, Header, Offset, Origin, Partition, Timestamp};
use serde_json::Value;

/// Small enough for the fuzzer to pass it.
const MAX_BYTES: usize = 2_048;

const HEADERS: [&str; 5] = ["event-type", "account-id", "event-id", "ce_type", "ce_id"];

fuzz_target!(|data: &[u8]| {
    check(&record(data, vec![]));
    let mut parts = data.split(|byte| *byte == 0);
    let value = parts.next().unwrap_or_default();
    let headers: Vec<Header> = HEADERS.into_iter().zip(parts).map(header).collect();
    if !headers.is_empty() {
        check(&record(value, headers));
    }
});

fn header((name, value): (&str, &[u8])) -> Header {
    Header {
        name: name.into(),
        value: Some(Bytes::copy_from_slice(value)),
    }
}

fn record(value: &[u8], headers: Vec<Header>) -> RawRecord {
    RawRecord {
        origin: Origin {
            topic: "tracking".into(),
            partition: Partition(3),
            offset: Offset(1841),
            timestamp: Timestamp::from_millis(1_763_805_600_000),
        },
        key: Some("24957298".into()),
        headers,
        value: Some(Bytes::copy_from_slice(value)),
    }
}

fn check(record: &RawRecord) {
    let value = record.value.as_deref().unwrap_or_default();
    match source(record, EventType::TrackingUpdate, MAX_BYTES) {
        Ok(event) => check_event(&event, record),
        Err(rejection) => {
            let reason = rejection.reason();
            check_reason(reason, value);
            let letter = record.clone().rejected(&rejection);
            assert_eq!(letter.reason, reason);
            assert_eq!(letter.value.as_deref(), Some(value), "a dead letter keeps the bytes");
            assert_eq!(letter.headers, record.headers);
            assert!(!letter.message.is_empty());
        }
    }
    if let Ok(document) = serde_json::from_slice::<Value>(value) {
        check_rewritten(&document, record);
    }
}

fn check_event(event: &Event, record: &RawRecord) {
    assert_eq!(Some(&event.body), record.value.as_ref(), "the bytes stay as they came");
    assert_eq!(event.headers, record.headers);
    let text = std::str::from_utf8(&event.body).expect("an event is UTF-8");
    let document: Value = serde_json::from_str(text).expect("an event is one JSON document");
    assert!(document.is_object(), "an event is an object");
    assert!(depth(&document) <= MAX_DEPTH, "an event is not nested too deep");
    assert!(event.body.len() <= MAX_BYTES);
    let message = event.facts.message.as_deref().unwrap_or_default();
    assert!(message.chars().count() <= 1_024, "outcomes carry short texts");
}

/// The reason says what is wrong with the bytes, as far as others can tell.
fn check_reason(reason: DeadLetterReason, value: &[u8]) {
    use DeadLetterReason as Reason;
    let text = std::str::from_utf8(value);
    let document = serde_json::from_slice::<Value>(value);
    match reason {
        Reason::Empty => assert!(value.is_empty()),
        Reason::TooLarge => assert!(value.len() > MAX_BYTES),
        Reason::NotUtf8 => assert!(text.is_err()),
        Reason::NotJson => assert!(text.is_ok()),
        Reason::NotObject => assert!(document.is_ok_and(|document| !document.is_object())),
        Reason::UnknownEventType | Reason::BadAccount | Reason::BadEventId => {
            assert!(document.is_ok_and(|document| document.is_object()));
        }
        other => panic!("{} is no reason of a source record", other.as_str()),
    }
}

/// Written anew, without the white space and the doubled fields it came with, a document that is no event's for its
/// form alone is an object nested too deep, or no object.
fn check_rewritten(document: &Value, record: &RawRecord) {
    let rewritten = RawRecord {
        value: Some(document.to_string().into()),
        ..record.clone()
    };
    let Err(rejection) = source(&rewritten, EventType::TrackingUpdate, usize::MAX) else {
        return;
    };
    match rejection.reason() {
        DeadLetterReason::NotJson => assert!(depth(document) > MAX_DEPTH, "{document}: {rejection:?}"),
        reason => check_reason(reason, document.to_string().as_bytes()),
    }
}

/// How deep objects and lists nest.
fn depth(document: &Value) -> usize {
    match document {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
