use std::collections::HashMap;
use std::sync::Arc;

use postrider_admin::explained::{DeliveryState, Explained, Question, RecordState};
use postrider_consumer::decode::{self, RawRecord, Rejection};
use postrider_routing::Table;
use postrider_types::delivery::{Progress, Waiting};
use postrider_types::{
    AccountId, Event, EventType, Offset, Origin, Outcome, ParkCause, Partition, Timestamp, WebhookId,
};
use serde_json::{Value, json};

use super::gather::{self, Gathered, Waits};
use super::story;
use super::subject::{Place, Subject};

const ORDER: &str = "24957298";
const NOW: i64 = 1_763_805_700_000;
const THEN: i64 = 1_763_805_600_000;

fn at(offset: i64) -> Origin {
    Origin {
        topic: "tracking".into(),
        partition: Partition(3),
        offset: Offset(offset),
        timestamp: Timestamp::from_millis(THEN),
    }
}

fn event(offset: i64, body: &Value) -> Event {
    let record = RawRecord {
        origin: at(offset),
        key: None,
        headers: Vec::new(),
        value: Some(body.to_string().into()),
    };
    decode::source(&record, EventType::TrackingUpdate, 4096).unwrap()
}

fn order() -> Value {
    json!({ "OrderID": ORDER, "tracking": "WZ116539070", "code": 6 })
}

fn table(webhooks: Value) -> Table {
    Table::build(serde_json::from_value(webhooks).unwrap()).unwrap()
}

fn hooks() -> Table {
    table(json!([
        { "id": "all", "url": "https://a.example/", "events": ["tracking_update"] },
        { "id": "late", "url": "https://b.example/", "events": ["tracking_update"], "filter": { "code": { "gte": 9 } } },
    ]))
}

fn outcome(offset: i64, attempt: u32, result: &str, replay: Option<&str>) -> Outcome {
    let next = (result == "retrying").then_some("2025-11-22T10:01:50.000Z");
    serde_json::from_value(json!({
        "schema": "postrider.outcome.v1", "delivery_id": format!("{}.all", at(offset)),
        "event_id": at(offset).to_string(), "webhook_id": "all", "account_id": "default", "event": "tracking_update",
        "trigger": "event", "endpoint": "https://a.example/", "order_id": ORDER, "transaction_id": null,
        "tracking": "WZ116539070", "carrier": null, "code": 6, "message": null, "is_return": false, "replay": replay,
        "result": result, "attempt": attempt, "retry": attempt - 1, "max_retries": 10, "status_code": 503,
        "status_text": "Service Unavailable", "error": null, "date_start": "2025-11-22T10:00:00.000Z",
        "date_end": "2025-11-22T10:00:00.010Z", "time_spent_ms": 10.0, "next_attempt_at": next,
        "event_time": at(offset).timestamp, "source": at(offset).source(), "request": { "body_bytes": 10 },
        "response": null, "trace_id": null, "instance": "one",
    }))
    .unwrap()
}

fn waits(offset: i64, attempts: u32, parkings: u32, cause: ParkCause, due: i64) -> Waits {
    let progress = Progress {
        attempts,
        parkings,
        ..Progress::start(None)
    };
    Waits {
        at: Origin {
            topic: "postrider.retry.5s".into(),
            ..at(100 + i64::from(parkings))
        },
        event: Arc::new(event(offset, &order())),
        waiting: Box::new(Waiting {
            webhook_id: WebhookId::new("all").unwrap(),
            progress,
            due: Timestamp::from_millis(due),
            cause,
        }),
    }
}

fn tell(subject: &str, gathered: Gathered) -> Explained {
    tell_to(subject, gathered, &[])
}

fn tell_to(subject: &str, gathered: Gathered, accounts: &[&str]) -> Explained {
    let question = Question {
        subject: subject.to_owned(),
        from: None,
        accounts: accounts
            .iter()
            .map(|account| AccountId::new(account).unwrap())
            .collect(),
    };
    let (from, now) = (Timestamp::from_millis(0), Timestamp::from_millis(NOW));
    story::tell(&question, &Subject::new(subject), from, gathered, &hooks(), now)
}

fn settled(offset: i64) -> gather::Progress {
    gather::Progress::of("tracking", 3, offset + 1, &[])
}

#[test]
fn a_delivery_id_names_a_record_and_a_webhook_also_where_topics_hold_dots_and_dashes() {
    let place: Place = "eu.orders-v2-3-1841-1763805600000.wh_01J".parse().unwrap();
    assert_eq!(&*place.origin.topic, "eu.orders-v2");
    assert_eq!(
        (place.origin.partition, place.origin.offset),
        (Partition(3), Offset(1841))
    );
    assert_eq!(place.webhook.unwrap().as_str(), "wh_01J");
    let event: Place = "eu.orders-v2-3-1841-1763805600000".parse().unwrap();
    assert_eq!(event.webhook, None);
    for text in [ORDER, "WZ116539070", "a-b-c-d", "2025-11-22", "tracking-3-1841"] {
        assert!(text.parse::<Place>().is_err(), "{text}");
    }
}

#[test]
fn what_a_payload_writes_with_escapes_is_found_and_what_only_looks_like_it_is_not() {
    let subject = Subject::new("café 12/34");
    for (payload, is_found) in [
        (r#"{"OrderID":"café 12/34"}"#, true),
        (r#"{"OrderID":"caf\u00e9 12\/34"}"#, true),
        (r#"{"tracking":"\u0063afé 12/34"}"#, true),
        (r#"{"OrderID":"caf\u00e9 12\/345"}"#, false),
        (r#"{"note":"caf\u00e9 12\/34"}"#, false),
        (r#"{"OrderID":"caf\u00e9 12\/34""#, false),
        (r#"{"OrderID":"cafe 12/34"}"#, false),
    ] {
        assert_eq!(subject.is_in_payload(payload.as_bytes()), is_found, "{payload}");
    }
    let quoted = Subject::new(r#"a"b"#);
    let mut outcome = outcome(3, 1, "success", None);
    outcome.order_id = Some(r#"a"b"#.into());
    assert!(quoted.is_in_outcome(&serde_json::to_vec(&outcome).unwrap()));
}

#[test]
fn an_order_is_told_with_matches_why_nots_and_attempts() {
    let told = tell(
        ORDER,
        Gathered {
            events: vec![event(7, &order())],
            outcomes: vec![outcome(7, 2, "success", None), outcome(7, 1, "retrying", None)],
            progress: settled(7),
            ..Gathered::default()
        },
    );
    let [event] = &*told.events else { panic!("{told:?}") };
    assert_eq!(event.record, RecordState::Settled);
    let verdicts: Vec<bool> = event.webhooks.iter().flatten().map(|one| one.matches).collect();
    assert_eq!(verdicts, [true, false]);
    let [delivery] = &*event.deliveries else {
        panic!("{event:?}")
    };
    assert_eq!(delivery.state, DeliveryState::Success);
    assert_eq!(
        delivery.attempts.iter().map(|one| one.attempt).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(delivery.next_attempt_at, None);
}

#[test]
fn what_waits_is_told_with_its_due_time_and_where_it_is_parked() {
    let due = NOW + 5_000;
    let told = tell(
        ORDER,
        Gathered {
            events: vec![event(7, &order())],
            outcomes: vec![outcome(7, 1, "retrying", None)],
            parked: vec![
                waits(7, 0, 1, ParkCause::LaneSlow, THEN),
                waits(7, 1, 2, ParkCause::CircuitOpen, due),
                waits(7, 1, 1, ParkCause::Retry, THEN + 5_000),
            ],
            progress: settled(7),
            ..Gathered::default()
        },
    );
    let delivery = &told.events[0].deliveries[0];
    assert_eq!(delivery.state, DeliveryState::Parked);
    assert_eq!(delivery.next_attempt_at, Some(Timestamp::from_millis(due)));
    assert_eq!(delivery.parked.as_ref().unwrap().at.offset, Offset(102));
    assert!(
        delivery.summary.starts_with("attempt 2 is due at 2025-11-22T10:01:45"),
        "{}",
        delivery.summary
    );
    assert!(delivery.summary.contains("failed many times"), "{}", delivery.summary);
}

#[test]
fn a_retry_record_that_came_out_is_not_told_as_waiting() {
    let told = tell(
        ORDER,
        Gathered {
            outcomes: vec![outcome(7, 1, "retrying", None), outcome(7, 2, "failed", None)],
            parked: vec![waits(7, 1, 1, ParkCause::Retry, THEN)],
            ..Gathered::default()
        },
    );
    let event = &told.events[0];
    assert_eq!((event.record, &event.webhooks), (RecordState::Gone, &None));
    let delivery = &event.deliveries[0];
    assert_eq!((delivery.state, &delivery.parked), (DeliveryState::Failed, &None));
    assert!(
        delivery.summary.contains("a dead letter holds the event"),
        "{}",
        delivery.summary
    );
}

#[test]
fn a_record_that_is_not_settled_owes_what_todays_webhooks_want() {
    let told = tell(
        ORDER,
        Gathered {
            events: vec![event(7, &order())],
            ..Gathered::default()
        },
    );
    let event = &told.events[0];
    assert_eq!(event.record, RecordState::Unsettled);
    let [delivery] = &*event.deliveries else {
        panic!("{event:?}")
    };
    assert_eq!(
        (delivery.webhook_id.as_str(), delivery.state),
        ("all", DeliveryState::UnderWay)
    );
}

#[test]
fn a_replay_is_told_beside_the_delivery_it_repeats() {
    let told = tell(
        ORDER,
        Gathered {
            outcomes: vec![outcome(7, 1, "failed", None), outcome(7, 1, "success", Some("rp_1"))],
            ..Gathered::default()
        },
    );
    let states = told.events[0]
        .deliveries
        .iter()
        .map(|one| (one.replay.as_deref(), one.state));
    assert_eq!(
        states.collect::<Vec<_>>(),
        [(None, DeliveryState::Failed), (Some("rp_1"), DeliveryState::Success)]
    );
}

#[test]
fn a_delivery_is_told_without_its_siblings() {
    let told = tell(
        &format!("{}.late", at(7)),
        Gathered {
            events: vec![event(7, &order())],
            outcomes: vec![outcome(7, 1, "success", None)],
            progress: settled(7),
            ..Gathered::default()
        },
    );
    let event = &told.events[0];
    assert_eq!(
        event
            .webhooks
            .iter()
            .flatten()
            .map(|one| one.webhook.as_str())
            .collect::<Vec<_>>(),
        ["late"]
    );
    assert_eq!(event.deliveries, []);
}

#[test]
fn other_accounts_and_records_of_no_account_are_not_told_of() {
    let gathered = || Gathered {
        events: vec![event(7, &order())],
        unreadable: vec![(at(8), Rejection::Empty)],
        dead: HashMap::from([(at(8), Some("empty".to_owned())), (at(9), Some("cut off".to_owned()))]),
        ..Gathered::default()
    };
    let all = tell(ORDER, gathered());
    assert_eq!((all.events.len(), all.unreadable.len()), (1, 2));
    assert!(all.unreadable.iter().all(|record| record.is_dead_letter));
    let own = tell_to(ORDER, gathered(), &["default"]);
    assert_eq!((own.events.len(), own.unreadable.len()), (1, 0));
    let others = tell_to(ORDER, gathered(), &["acme"]);
    assert_eq!((others.events.len(), others.unreadable.len()), (0, 0));
}
