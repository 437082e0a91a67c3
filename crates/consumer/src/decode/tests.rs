//! What is an event, and what is not and why.

use postrider_types::{Offset, Partition, Timestamp};
use proptest::prelude::*;

use super::*;

const TRACKING: &str = r#"{"tracking":"WZ116539070","date":1622671204,"message":"Shipment delivered","code":6,"OrderID":"24957298","TransactionID":"48572_1","TrackingCarrier":"FedEx","ToAddressCountry":"IT"}"#;

fn header(name: &str, value: Option<&'static str>) -> Header {
    Header {
        name: name.into(),
        value: value.map(Bytes::from),
    }
}

fn record(value: impl Into<Bytes>, headers: Vec<Header>) -> RawRecord {
    let origin = Origin {
        topic: "tracking".into(),
        partition: Partition(3),
        offset: Offset(1841),
        timestamp: Timestamp::from_millis(1_763_805_600_000),
    };
    RawRecord {
        origin,
        key: Some("24957298".into()),
        headers,
        value: Some(value.into()),
    }
}

fn decoded(value: &str, headers: Vec<Header>) -> Result<Event, Rejection> {
    source(&record(value.to_owned(), headers), EventType::TrackingUpdate, 262_144)
}

fn reason(value: impl Into<Bytes>) -> Option<&'static str> {
    let decoded = source(&record(value, vec![]), EventType::OrderShipped, 262_144);
    decoded.err().map(|rejection| rejection.reason().as_str())
}

#[test]
fn a_tracking_payload_becomes_an_event_with_its_own_bytes() {
    let event = decoded(TRACKING, vec![]).unwrap();
    assert_eq!(&event.body[..], TRACKING.as_bytes());
    assert_eq!(
        (event.event_type, event.account.as_str()),
        (EventType::TrackingUpdate, "default")
    );
    assert_eq!(event.id.as_str(), "tracking-3-1841-1763805600000");
    let facts = event.facts;
    let texts = [
        facts.order_id,
        facts.transaction_id,
        facts.tracking,
        facts.carrier,
        facts.message,
    ]
    .map(Option::unwrap);
    assert_eq!(
        texts.map(|text| text.to_string()),
        ["24957298", "48572_1", "WZ116539070", "FedEx", "Shipment delivered"]
    );
    assert_eq!((facts.code, facts.is_return), (Some(6), false));
}

#[test]
fn identifiers_may_be_integers_of_any_size_and_keep_their_digits() {
    let event = decoded(
        r#"{"OrderID":184467440737095516170,"TransactionID":-7,"code":"12","is_return":true}"#,
        vec![],
    )
    .unwrap();
    assert_eq!(event.facts.order_id.as_deref(), Some("184467440737095516170"));
    assert_eq!(event.facts.transaction_id.as_deref(), Some("-7"));
    assert_eq!((event.facts.code, event.facts.is_return), (Some(12), true));
}

#[test]
fn header_beats_payload_beats_the_sources_default() {
    let event_type = |value: &str, headers| decoded(value, headers).unwrap().event_type;
    let payload = r#"{"event":"order_error"}"#;
    assert_eq!(event_type("{}", vec![]), EventType::TrackingUpdate);
    assert_eq!(event_type(payload, vec![]), EventType::OrderError);
    assert_eq!(
        event_type(payload, vec![header("event-type", Some("order_shipped"))]),
        EventType::OrderShipped
    );
    assert_eq!(
        event_type(payload, vec![header("ce_type", Some("order_shipped"))]),
        EventType::OrderShipped
    );
    assert_eq!(
        event_type(payload, vec![header("event-type", None)]),
        EventType::OrderError
    );
    assert_eq!(event_type(r#"{"event":null}"#, vec![]), EventType::TrackingUpdate);
}

#[test]
fn accounts_and_ids_come_from_headers_or_the_payload() {
    let headers = vec![header("account-id", Some("shop-1")), header("ce_id", Some("evt_1"))];
    let event = decoded(r#"{"account_id":"other"}"#, headers).unwrap();
    assert_eq!((event.account.as_str(), event.id.as_str()), ("shop-1", "evt_1"));
    assert_eq!(decoded(r#"{"account_id":42}"#, vec![]).unwrap().account.as_str(), "42");
}

#[test]
fn every_kind_of_bad_name_has_its_reason() {
    let rejected = |value: &str, headers| decoded(value, headers).unwrap_err().reason().as_str();
    assert_eq!(rejected(r#"{"event":"nonsense"}"#, vec![]), "unknown_event_type");
    assert_eq!(rejected(r#"{"event":7}"#, vec![]), "unknown_event_type");
    assert_eq!(
        rejected("{}", vec![header("event-type", Some("Order_Shipped"))]),
        "unknown_event_type"
    );
    assert_eq!(rejected(r#"{"account_id":""}"#, vec![]), "bad_account");
    assert_eq!(rejected(r#"{"account_id":{}}"#, vec![]), "bad_account");
    assert_eq!(rejected("{}", vec![header("account-id", Some("a b"))]), "bad_account");
    assert_eq!(rejected("{}", vec![header("event-id", Some(""))]), "bad_event_id");
    assert_eq!(rejected("{}", vec![header("event-id", Some("a\nb"))]), "bad_event_id");
}

#[test]
fn every_kind_of_bad_value_has_its_reason() {
    let deep = |depth: usize| format!("{}{}", r#"{"a":"#.repeat(depth - 1) + "{}", "}".repeat(depth - 1));
    assert_eq!(reason(deep(64)), None);
    let cases: [(Vec<u8>, &str); 22] = [
        (b"".to_vec(), "empty"),
        (vec![b'x'; 262_145], "too_large"),
        (b"{\"a\":\"\xff\"}".to_vec(), "not_utf8"),
        (
            br#"{"message": "Shipment delivered, "city": "Florence"}"#.to_vec(),
            "not_json",
        ),
        (br#"{"a":1"#.to_vec(), "not_json"),
        (br#"{"a":1}{"a":1}"#.to_vec(), "not_json"),
        (br#"{"a":1} x"#.to_vec(), "not_json"),
        ("\u{feff}{}".as_bytes().to_vec(), "not_json"),
        (deep(65).into_bytes(), "not_json"),
        (br#"{"a":"\ud800"}"#.to_vec(), "not_json"),
        (br#"{"OrderID":"\ud800"}"#.to_vec(), "not_json"),
        (br#"{"a":1e400}"#.to_vec(), "not_json"),
        (br#"{"a":01}"#.to_vec(), "not_json"),
        (br#"{"a":NaN}"#.to_vec(), "not_json"),
        (br#"{"code":1e400}"#.to_vec(), "not_json"),
        (br#"{"OrderID":1,"OrderID":1}"#.to_vec(), "not_json"),
        (br#"{"OrderID":1,"Order\u0049D":2}"#.to_vec(), "not_json"),
        (br#"{"is_return":true,"is_return":false}"#.to_vec(), "not_json"),
        (b"[]".to_vec(), "not_object"),
        (br#"[{"event":"order_shipped"}]"#.to_vec(), "not_object"),
        (b"null".to_vec(), "not_object"),
        (br#""text""#.to_vec(), "not_object"),
    ];
    for (value, expected) in cases {
        let shown = String::from_utf8_lossy(&value[..value.len().min(60)]).into_owned();
        assert_eq!(reason(value), Some(expected), "{shown}");
    }
    let tombstone = RawRecord {
        value: None,
        ..record("", vec![])
    };
    assert_eq!(
        source(&tombstone, EventType::OrderShipped, 10)
            .unwrap_err()
            .reason()
            .as_str(),
        "empty"
    );
}

#[test]
fn unknown_fields_may_stand_twice() {
    assert_eq!(
        reason(r#"{"a":1,"a":2,"code":1,"code":2,"message":"x","message":"y"}"#),
        None
    );
}

#[test]
fn a_dead_letter_keeps_the_record_whole_and_says_what_is_wrong() {
    let raw = record(
        r#"{"message": "Shipment delivered, "city": 1}"#,
        vec![header("a", None)],
    );
    let rejection = source(&raw, EventType::OrderShipped, 1_000).unwrap_err();
    let letter = raw.clone().rejected(&rejection);
    assert_eq!(
        (letter.key, letter.value, letter.headers),
        (raw.key, raw.value, raw.headers)
    );
    assert!(
        letter
            .message
            .starts_with("the value is not one well-formed JSON document: "),
        "{}",
        letter.message
    );
    assert!(letter.message.contains("line 1 column"), "{}", letter.message);
}

#[test]
fn long_texts_are_cut_for_outcomes_only() {
    let long = "ä".repeat(5_000);
    let event = decoded(&format!(r#"{{"message":"{long}"}}"#), vec![]).unwrap();
    assert_eq!(event.facts.message.unwrap().chars().count(), 1_024);
    assert!(event.body.len() > 10_000);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>()
            .prop_filter("JSON has no infinity", |n| n.is_finite())
            .prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map("[a-z]{1,4}|OrderID|code|message", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn well_formed_objects_are_taken_and_nothing_else(value in json()) {
        let expected = if value.is_object() { None } else { Some("not_object") };
        prop_assert_eq!(reason(value.to_string()), expected);
    }

    #[test]
    fn no_bytes_make_the_reader_fall_over(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = reason(bytes);
    }

    #[test]
    fn a_text_is_read_as_it_was_meant_with_and_without_escapes(text in "[a-zé𝄞\"\\\\/\\u{0}-\\u{1f}]{0,20}|[a-z]{0,20}") {
        let value = serde_json::json!({ "message": text, "event": text }).to_string();
        let found = scan(value.as_bytes()).unwrap();
        prop_assert_eq!(found.facts.message.as_deref(), Some(&*text));
        prop_assert_eq!(found.event, scan::Field::Text(text.into()));
    }

    #[test]
    fn a_text_with_what_must_be_escaped_is_refused(char in "[\\u{0}-\\u{1f}\"]") {
        prop_assert_eq!(reason(format!(r#"{{"message":"a{char}b"}}"#)), Some("not_json"));
    }

    #[test]
    fn a_cut_document_is_never_taken(value in json().prop_filter("an object", serde_json::Value::is_object), cut in 1..50_usize) {
        let text = value.to_string();
        let end = text.len().saturating_sub(cut);
        if text.is_char_boundary(end) && end > 0 {
            prop_assert_eq!(reason(text[..end].to_owned()), Some("not_json"));
        }
    }
}
