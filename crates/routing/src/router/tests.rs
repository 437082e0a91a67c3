//! Something into one channel, something out of the others.

use bytes::Bytes;
use postrider_types::delivery::Progress;
use postrider_types::webhook::WebhookStatus;
use postrider_types::{ErrorKind, EventType, Header, Outcome, OutcomeResult, Webhook};
use prometheus::{IntCounterVec, Opts, Registry};
use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::samples::{Origins, account, event, filtered, waiting, webhook, with_status};
use crate::table::Table;

/// A router with its ends.
struct Stage {
    origins: Origins,
    table: SharedTable,
    registry: Registry,
    arrivals: Option<Sender<Arrival>>,
    deliveries: Receiver<Delivery>,
    settled: Receiver<Settled>,
    task: tokio::task::JoinHandle<()>,
}

fn deliveries_total() -> IntCounterVec {
    IntCounterVec::new(Opts::new("postrider_deliveries_total", "Ended"), &["event", "result"]).unwrap()
}

fn start(webhooks: Vec<Webhook>, record_skipped: bool) -> Stage {
    let registry = Registry::new();
    let total = deliveries_total();
    registry.register(Box::new(total.clone())).unwrap();
    let metrics = Metrics::register(&registry, total).unwrap();
    let table = SharedTable::new(Table::build(webhooks).unwrap());
    let issuer = Issuer {
        instance: "postrider-0".into(),
        max_retries: 10,
        traced: true,
    };
    let router = Router::new(table.clone(), issuer, record_skipped, metrics);
    let (arrivals, arrivals_rx) = mpsc::channel(8);
    let (deliveries_tx, deliveries) = mpsc::channel(8);
    let (settled_tx, settled) = mpsc::channel(8);
    Stage {
        origins: Origins::default(),
        table,
        registry,
        arrivals: Some(arrivals),
        deliveries,
        settled,
        task: tokio::spawn(router.run(arrivals_rx, deliveries_tx, settled_tx)),
    }
}

impl Stage {
    async fn send(&self, event: Event, carrier: Carrier) {
        let arrival = self.origins.arrival(event, carrier);
        self.arrivals.as_ref().unwrap().send(arrival).await.unwrap();
    }

    /// The outcomes of the next settled record.
    async fn outcomes(&mut self) -> Vec<Outcome> {
        let settled = self.settled.recv().await.unwrap();
        settled
            .resolutions
            .into_iter()
            .map(|one| one.outcome.unwrap().read().unwrap())
            .collect()
    }

    /// The value of a series, by its name with labels.
    fn metric(&self, series: &str) -> String {
        let mut text = String::new();
        prometheus::TextEncoder::new()
            .encode_utf8(&self.registry.gather(), &mut text)
            .unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("{series} in {text}")).trim().to_owned()
    }
}

fn retry(webhook: &str) -> Carrier {
    Carrier::Retry(Box::new(waiting(webhook)))
}

#[tokio::test]
async fn each_match_becomes_a_delivery_and_the_last_one_settles_the_record() {
    let mut stage = start(
        vec![
            webhook("wh_1"),
            filtered("wh_2", json!({"code": 6})),
            filtered("wh_3", json!({"code": 7})),
        ],
        true,
    );
    stage.send(event(r#"{"code":6}"#), Carrier::Source).await;
    let first = stage.deliveries.recv().await.unwrap();
    let second = stage.deliveries.recv().await.unwrap();
    assert_eq!(first.id().as_str(), "tracking-3-1841-1763805600000.wh_1");
    assert_eq!(second.webhook.id.as_str(), "wh_2");
    assert_eq!(
        (&first.progress, first.due, first.attempt()),
        (&Progress::start(None), None, 1)
    );
    assert!(first.share.resolve(Resolution::default()).is_none());
    assert_eq!(
        second.share.resolve(Resolution::default()).unwrap().resolutions.len(),
        2
    );
    stage.arrivals = None;
    stage.task.await.unwrap();
    assert!(stage.deliveries.recv().await.is_none() && stage.settled.recv().await.is_none());
    assert_eq!(stage.origins.losses.count(), 0);
}

#[tokio::test]
async fn an_event_that_nobody_wants_is_settled_at_once_and_counted() {
    let mut stage = start(vec![with_status("wh_1", WebhookStatus::Cancelled)], true);
    stage.send(event("{}"), Carrier::Source).await;
    assert_eq!(stage.outcomes().await, []);
    assert_eq!(
        stage.metric(r#"postrider_events_unmatched_total{event="tracking_update"}"#),
        "1"
    );
    assert_eq!(
        stage.metric(r#"postrider_events_unmatched_total{event="order_error"}"#),
        "0"
    );
    assert_eq!(stage.origins.losses.count(), 0);
}

#[tokio::test]
async fn what_a_disabled_webhook_misses_is_a_skipped_outcome() {
    let mut stage = start(vec![with_status("wh_1", WebhookStatus::Disabled)], true);
    stage.send(event("{}"), Carrier::Source).await;
    let outcomes = stage.outcomes().await;
    let [outcome] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        (outcome.result, outcome.attempt, outcome.retry),
        (OutcomeResult::Skipped, 1, 0)
    );
    assert_eq!(outcome.error.as_ref().unwrap().kind, ErrorKind::WebhookDisabled);
    assert_eq!(
        (outcome.status_code, outcome.date_start, outcome.date_end),
        (None, None, None)
    );
    assert_eq!(outcome.endpoint, "https://m.example/hooks?token=***");
    assert_eq!(&*outcome.instance, "postrider-0");
    let skipped = r#"postrider_deliveries_total{event="tracking_update",result="skipped"}"#;
    assert_eq!(stage.metric(skipped), "1");
    assert_eq!(
        stage.metric(r#"postrider_events_unmatched_total{event="tracking_update"}"#),
        "0"
    );
}

#[tokio::test]
async fn skipped_outcomes_settle_together_with_the_deliveries() {
    let mut stage = start(
        vec![with_status("wh_1", WebhookStatus::Disabled), webhook("wh_2")],
        true,
    );
    stage.send(event("{}"), Carrier::Source).await;
    let delivery = stage.deliveries.recv().await.unwrap();
    let settled = delivery.share.resolve(Resolution::default()).unwrap();
    let skipped = settled.resolutions[0].outcome.as_ref().unwrap().read().unwrap();
    assert_eq!((settled.resolutions.len(), skipped.webhook_id.as_str()), (2, "wh_1"));
}

#[tokio::test]
async fn skipped_events_leave_no_outcome_when_they_are_not_recorded_but_retries_do() {
    let mut stage = start(vec![with_status("wh_1", WebhookStatus::Disabled)], false);
    stage.send(event("{}"), Carrier::Source).await;
    assert_eq!(stage.outcomes().await, []);
    assert_eq!(
        stage.metric(r#"postrider_events_unmatched_total{event="tracking_update"}"#),
        "1"
    );
    stage.send(event("{}"), retry("wh_1")).await;
    assert_eq!(stage.outcomes().await.len(), 1);
}

#[tokio::test]
async fn a_retry_goes_on_with_its_progress_and_todays_webhook() {
    let mut stage = start(vec![webhook("wh_1"), webhook("wh_2")], true);
    let mut changed = webhook("wh_1");
    changed.url = "https://new.example/".into();
    stage
        .table
        .replace(Table::build(vec![changed, webhook("wh_2")]).unwrap());
    stage.send(event("{}"), retry("wh_1")).await;
    let delivery = stage.deliveries.recv().await.unwrap();
    let waiting = waiting("wh_1");
    assert_eq!(delivery.webhook.url, "https://new.example/");
    assert_eq!(
        (&delivery.progress, delivery.due),
        (&waiting.progress, Some(waiting.due))
    );
    assert!(delivery.share.resolve(Resolution::default()).is_some());
    assert!(
        stage.deliveries.try_recv().is_err(),
        "the other webhook gets nothing of a retry"
    );
}

/// A webhook that is parked for, and why it is not sent to.
const NO_LONGER_WANTED: [(&str, ErrorKind, &str); 6] = [
    ("wh_gone", ErrorKind::WebhookGone, "The webhook is no more"),
    ("wh_cancelled", ErrorKind::WebhookGone, "The webhook was cancelled"),
    ("wh_disabled", ErrorKind::WebhookDisabled, "The webhook is disabled"),
    (
        "wh_filter",
        ErrorKind::WebhookDisabled,
        "The webhook's filter does not match the event",
    ),
    (
        "wh_moved",
        ErrorKind::WebhookDisabled,
        "The webhook belongs to another account",
    ),
    (
        "wh_type",
        ErrorKind::WebhookDisabled,
        "The webhook does not want tracking_update events",
    ),
];

#[tokio::test]
async fn a_retry_is_skipped_when_its_webhook_no_longer_wants_the_event() {
    let mut moved = webhook("wh_moved");
    moved.account_id = account("other");
    let mut picky = webhook("wh_type");
    picky.events = vec![EventType::OrderError];
    let mut stage = start(
        vec![
            with_status("wh_cancelled", WebhookStatus::Cancelled),
            with_status("wh_disabled", WebhookStatus::Disabled),
            filtered("wh_filter", json!({"code": 7})),
            moved,
            picky,
        ],
        true,
    );
    for (webhook, kind, message) in NO_LONGER_WANTED {
        stage.send(event(r#"{"code":6}"#), retry(webhook)).await;
        let outcome = stage.outcomes().await.remove(0);
        let endpoint = if webhook == "wh_gone" {
            ""
        } else {
            "https://m.example/hooks?token=***"
        };
        let error = outcome.error.unwrap();
        assert_eq!(
            (outcome.webhook_id.as_str(), error.kind, &*error.message),
            (webhook, kind, message)
        );
        assert_eq!(
            (outcome.result, outcome.attempt, outcome.retry),
            (OutcomeResult::Skipped, 3, 2)
        );
        assert_eq!(
            (&*outcome.endpoint, &*outcome.account_id),
            (endpoint, &account("default"))
        );
    }
    let skipped = r#"postrider_deliveries_total{event="tracking_update",result="skipped"}"#;
    assert_eq!(stage.metric(skipped), "6");
    assert_eq!(
        stage.metric(r#"postrider_events_unmatched_total{event="tracking_update"}"#),
        "0"
    );
}

#[tokio::test]
async fn a_valid_traceparent_is_carried_over_and_another_is_not() {
    let mut stage = start(vec![webhook("wh_1")], true);
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (value, expected) in [(good.as_bytes(), Some(good)), (b"00-x", None), (b"\xff", None)] {
        let mut event = event("{}");
        event.headers = vec![Header {
            name: "traceparent".into(),
            value: Some(Bytes::copy_from_slice(value)),
        }];
        stage.send(event, Carrier::Source).await;
        let delivery = stage.deliveries.recv().await.unwrap();
        assert_eq!(delivery.progress.trace.as_ref().map(|trace| trace.as_str()), expected);
        drop(delivery.share.resolve(Resolution::default()));
    }
}

#[tokio::test]
async fn what_is_skipped_says_which_trace_its_record_came_with() {
    let mut stage = start(vec![with_status("wh_1", WebhookStatus::Disabled)], true);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut event = event("{}");
    event.headers = vec![Header {
        name: "traceparent".into(),
        value: Some(Bytes::from_static(parent.as_bytes())),
    }];
    stage.send(event, Carrier::Source).await;
    let settled = stage.settled.recv().await.unwrap();
    let told = settled.resolutions[0].parent.as_ref();
    assert_eq!(told.map(|parent| parent.as_str()), Some(parent));
}

#[tokio::test]
async fn the_gauge_follows_the_table() {
    let stage = start(vec![webhook("wh_1"), webhook("wh_2")], true);
    assert_eq!(stage.metric(r#"postrider_webhooks{status="active"}"#), "2");
    stage
        .table
        .replace(Table::build(vec![with_status("wh_1", WebhookStatus::Disabled)]).unwrap());
    assert_eq!(stage.metric(r#"postrider_webhooks{status="active"}"#), "0");
    assert_eq!(stage.metric(r#"postrider_webhooks{status="disabled"}"#), "1");
    assert_eq!(stage.metric(r#"postrider_webhooks{status="cancelled"}"#), "0");
}

#[tokio::test]
async fn ends_when_a_later_stage_is_gone_even_while_nothing_arrives() {
    let stage = start(vec![webhook("wh_1")], true);
    drop(stage.settled);
    stage.task.await.unwrap();
    assert_eq!(stage.origins.losses.count(), 0);
    let stage = start(vec![webhook("wh_1")], true);
    drop(stage.deliveries);
    stage.task.await.unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_handed_on_is_a_loss() {
    let mut stage = start((0..12).map(|i| webhook(&format!("wh_{i}"))).collect(), true);
    stage.send(event("{}"), Carrier::Source).await;
    let first = stage.deliveries.recv().await.unwrap();
    assert!(first.share.resolve(Resolution::default()).is_none());
    // Eight more fit the channel, so the router holds deliveries when its peer goes.
    stage.deliveries.close();
    while let Some(delivery) = stage.deliveries.recv().await {
        assert!(delivery.share.resolve(Resolution::default()).is_none());
    }
    stage.task.await.unwrap();
    assert_eq!((stage.origins.losses.count(), stage.origins.totals.events()), (1, 0));
}

#[test]
fn deliveries_of_other_labels_are_refused() {
    let other = IntCounterVec::new(Opts::new("postrider_deliveries_total", "Ended"), &["event"]).unwrap();
    assert!(Metrics::register(&Registry::new(), other).is_err());
    let swapped = IntCounterVec::new(Opts::new("postrider_deliveries_total", "Ended"), &["result", "event"]).unwrap();
    assert!(
        Metrics::register(&Registry::new(), swapped).is_ok(),
        "labels go by name, not by place"
    );
}
