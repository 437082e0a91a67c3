//! An event reaches the endpoints that want it, byte for byte, and its outcomes tell everything.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_tests::contract::sample;
use postrider_tests::receiver::Request;
use postrider_tests::{Answer, Broker, Receiver, Scene, Sent, promise};
use postrider_types::{Outcome, OutcomeResult, Timestamp};
use serde_json::{Value, json};

/// A webhook with nothing special.
pub(crate) fn webhook(id: &str, url: String, events: &[&str]) -> Value {
    json!({ "id": id, "url": url, "events": events })
}

fn message_id(event_id: &str, webhook_id: &str) -> String {
    let hash = digest(&SHA256, &[event_id.as_bytes(), b"\0", webhook_id.as_bytes()].concat());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("msg_{}", &hex[..32])
}

fn only<T>(mut items: Vec<T>) -> Result<T> {
    assert_eq!(items.len(), 1, "exactly one");
    items.pop().context("one")
}

#[tokio::test]
async fn sources_that_do_not_exist_yet_keep_no_instance_from_being_ready_and_are_read_once_they_do() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = Scene::at(Broker::shared().await?.bootstrap(), "no-sources-yet")?;
    scene.config["kafka"]["properties"] = json!({ "topic.metadata.refresh.interval.ms": 1_000 });
    scene.webhooks([webhook("wh", receiver.url("/hook"), &["tracking_update"])]);
    let _daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    topic.create(1).await?;
    topic.produce([Sent::value(sample("tracking_update"))]).await?;
    let outcome = only(scene.outcomes(1).await?)?;
    assert_eq!(outcome.result, OutcomeResult::Success);
    Ok(())
}

#[tokio::test]
async fn each_event_reaches_the_endpoints_that_want_it_byte_for_byte() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("delivery").await?;
    scene.webhooks([
        webhook("wh_tracking", receiver.url("/tracking"), &["tracking_update"]),
        webhook("wh_orders", receiver.url("/orders"), &["order_shipped", "order_error"]),
        webhook(
            "wh_all",
            receiver.url("/all"),
            &["order_shipped", "order_error", "tracking_update"],
        ),
    ]);
    let _daemon = scene.start().await?;
    let order_error = Sent::value(sample("order_error")).header("event-type", "order_error");
    scene
        .topic("shipments")
        .produce([
            Sent::value(sample("order_shipped")),
            order_error,
            Sent::value(sample("return")),
        ])
        .await?;
    let tracking = Sent::value(sample("tracking_update")).key("24957298");
    scene.topic("tracking").produce([tracking]).await?;

    let outcomes = scene.outcomes(8).await?;
    assert!(outcomes.iter().all(|outcome| outcome.result == OutcomeResult::Success));
    assert_eq!(promise::deliveries(&outcomes).len(), 8);
    for (path, expected) in [
        ("/tracking", vec!["tracking_update"]),
        ("/orders", vec!["order_error", "order_shipped", "return"]),
        (
            "/all",
            vec!["order_error", "order_shipped", "return", "tracking_update"],
        ),
    ] {
        let mut bodies: Vec<_> = receiver
            .requests(path)
            .into_iter()
            .map(|request| request.body)
            .collect();
        let mut samples: Vec<_> = expected.into_iter().map(sample).collect();
        bodies.sort();
        samples.sort();
        assert_eq!(bodies, samples, "{path}");
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_return).count(), 2);
    Ok(())
}

#[tokio::test]
async fn a_request_carries_credentials_the_custom_header_and_what_identifies_it() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("delivery").await?;
    let mut hook = webhook("wh_secret", receiver.url("/hook"), &["tracking_update"]);
    hook["auth"] = json!({ "username": "mérchant", "password": "p:ss wörd" });
    hook["header"] = json!({ "name": "X-Api-Key", "value": "k3y-of-the-merchant" });
    scene.webhooks([hook]);
    let mut daemon = scene.start().await?;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let record = Sent::value(sample("tracking_update"))
        .header("event-id", "evt-1")
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .header("x-not-for-the-merchant", "1");
    scene.topic("tracking").produce([record]).await?;

    let outcome = only(scene.outcomes(1).await?)?;
    let request = only(receiver.requests("/hook"))?;
    assert_eq!(request.method.as_str(), "POST");
    let basic = format!("Basic {}", STANDARD.encode("mérchant:p:ss wörd"));
    for (name, value) in [
        ("authorization", &*basic),
        ("x-api-key", "k3y-of-the-merchant"),
        ("content-type", "application/json"),
        ("webhook-id", &message_id("evt-1", "wh_secret")),
        ("x-postrider-event", "tracking_update"),
        ("x-postrider-attempt", "1"),
        ("x-postrider-event-time", &outcome.event_time.to_string()),
        ("x-not-for-the-merchant", ""),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
    assert!(request.header("user-agent").starts_with("postrider/"));
    assert_eq!(request.header("traceparent").get(3..35), Some(trace));
    assert_eq!(outcome.trace_id.as_deref(), Some(trace));
    let sent_at: i64 = request.header("webhook-timestamp").parse()?;
    let began = outcome.date_start.context("it was attempted")?.as_secs();
    assert!((began - 1..=began + 1).contains(&sent_at), "{sent_at} and {began}");

    daemon.stop().await?;
    let log = daemon.log().join("\n");
    for secret in ["p:ss wörd", &basic[6..], "k3y-of-the-merchant"] {
        assert!(!log.contains(secret), "the log shows {secret}");
    }
    Ok(())
}

#[tokio::test]
async fn an_outcome_tells_everything_of_its_attempt() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("delivery").await?;
    let url = receiver.url("/hook?token=s3cret");
    scene.webhooks([webhook("wh_1", url, &["tracking_update"])]);
    let _daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    topic
        .produce([Sent::value(sample("tracking_update")).partition(2)])
        .await?;

    let outcome = only(scene.outcomes(1).await?)?;
    let record = only(topic.read().await?)?;
    let timestamp = record.timestamp.context("Kafka stamps records")?;
    let position = format!("{}-2-0-{timestamp}", topic.name());
    let mut told = serde_json::to_value(&outcome)?;
    let measured = ["date_start", "date_end", "time_spent_ms", "trace_id"];
    for field in measured {
        assert!(!told[field].is_null(), "{field}");
        told.as_object_mut().context("an object")?.remove(field);
    }
    assert_eq!(
        told,
        json!({
            "schema": "postrider.outcome.v1",
            "delivery_id": format!("{position}.wh_1"),
            "event_id": position,
            "webhook_id": "wh_1",
            "account_id": "default",
            "event": "tracking_update",
            "trigger": "event",
            "endpoint": receiver.url("/hook?token=***"),
            "order_id": "24957298",
            "transaction_id": "48572_1",
            "tracking": "WZ116539070",
            "carrier": "FedEx",
            "code": 6,
            "message": "Shipment delivered",
            "is_return": false,
            "replay": null,
            "result": "success",
            "attempt": 1,
            "retry": 0,
            "max_retries": 10,
            "status_code": 200,
            "status_text": "OK",
            "error": null,
            "next_attempt_at": null,
            "event_time": Timestamp::from_millis(timestamp),
            "source": { "topic": topic.name(), "partition": 2, "offset": 0 },
            "request": { "body_bytes": record.value.context("a value")?.len() },
            "response": { "content_type": "application/json", "body": "{\"received\":true}", "truncated": false },
            "instance": scene.group(),
        })
    );
    assert_eq!(receiver.requests("/hook")[0].target, "/hook?token=s3cret");
    Ok(())
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_when_due_until_it_succeeds() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(503), Answer::status(404), Answer::ok()]);
    let mut scene = Scene::new("delivery").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    let daemon = scene.start().await?;
    scene
        .topic("tracking")
        .produce([Sent::value(sample("tracking_update"))])
        .await?;

    let mut outcomes = scene.outcomes(3).await?;
    outcomes.sort_by_key(|outcome| outcome.attempt);
    assert_eq!(promise::deliveries(&outcomes).len(), 1);
    let told: Vec<_> = outcomes
        .iter()
        .map(|outcome| (outcome.result, outcome.status_code))
        .collect();
    let expected = [
        (OutcomeResult::Retrying, Some(503)),
        (OutcomeResult::Retrying, Some(404)),
        (OutcomeResult::Success, Some(200)),
    ];
    assert_eq!(told, expected);
    for pair in outcomes.windows(2) {
        let (ended, due) = (pair[0].date_end, pair[0].next_attempt_at);
        assert_eq!(due, ended.map(|ended| ended.after(Duration::from_millis(500))));
        assert!(pair[1].date_start >= due, "never early");
    }
    let requests = receiver.requests("/hook");
    let attempts: Vec<&str> = requests
        .iter()
        .map(|request| request.header("x-postrider-attempt"))
        .collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    let same = |of: fn(&Request) -> String| requests.windows(2).all(|pair| of(&pair[0]) == of(&pair[1]));
    assert!(same(|request| request.header("webhook-id").to_owned()));
    assert!(same(|request| request.header("traceparent")[3..35].to_owned()));
    assert!(requests.iter().all(|request| request.body == sample("tracking_update")));
    assert_eq!(
        daemon.metric("postrider_parked_total", &["cause=\"retry\""]).await?,
        2.0
    );
    Ok(())
}

#[tokio::test]
async fn a_delivery_given_up_leaves_a_dead_letter_with_the_original_bytes() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(500)]);
    let mut scene = Scene::new("delivery").await?;
    let mut hook = webhook("wh_1", receiver.url("/hook"), &["order_shipped"]);
    hook["retry"] = json!({ "max_retries": 2 });
    scene.webhooks([hook]);
    let _daemon = scene.start().await?;
    let record = Sent::value(sample("order_shipped")).key("24957298");
    scene
        .topic("shipments")
        .produce([record.header("shop", "1").null_header("none")])
        .await?;

    let outcomes = scene.outcomes(3).await?;
    let deliveries = promise::deliveries(&outcomes);
    assert_eq!(promise::ended_in(&deliveries, OutcomeResult::Failed), 1);
    assert!(outcomes.iter().all(|outcome| outcome.max_retries == 2));
    let letter = only(scene.dead_letters(1).await?)?;
    let own = |name: &str| letter.own.get(name).map(String::as_str);
    assert_eq!(letter.reason(), "exhausted");
    assert_eq!(own("pr-webhook-id"), Some("wh_1"));
    assert_eq!(own("pr-attempts"), Some("3"));
    assert_eq!(own("pr-last-status"), Some("500"));
    assert_eq!(own("pr-dl-topic"), Some(scene.topic("shipments").name()));
    assert_eq!(letter.value, Some(sample("order_shipped")));
    assert_eq!(letter.key.as_deref(), Some(&b"24957298"[..]));
    assert_eq!(
        letter.headers,
        [("shop".to_owned(), Some("1".into())), ("none".to_owned(), None)]
    );
    Ok(())
}

async fn single_attempt(scene: &mut Scene, hook: Value) -> Result<Outcome> {
    scene.webhooks([hook]);
    let _daemon = scene.start().await?;
    scene
        .topic("tracking")
        .produce([Sent::value(sample("tracking_update"))])
        .await?;
    let outcome = only(scene.outcomes(1).await?)?;
    assert_eq!(outcome.result, OutcomeResult::Failed);
    Ok(outcome)
}

#[tokio::test]
async fn without_retry_there_is_one_attempt() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(302).header("location", "/elsewhere")]);
    let mut scene = Scene::new("delivery").await?;
    let mut hook = webhook("wh_1", receiver.url("/hook"), &["tracking_update"]);
    hook["retry"] = json!({ "enabled": false });
    let outcome = single_attempt(&mut scene, hook).await?;
    assert_eq!((outcome.status_code, outcome.max_retries), (Some(302), 0));
    assert_eq!(only(scene.dead_letters(1).await?)?.reason(), "exhausted");
    assert_eq!(receiver.requests("/elsewhere").len(), 0, "redirects are not followed");
    Ok(())
}

#[tokio::test]
async fn gone_is_never_tried_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(410)]);
    let mut scene = Scene::new("delivery").await?;
    let hook = webhook("wh_1", receiver.url("/hook"), &["tracking_update"]);
    let outcome = single_attempt(&mut scene, hook).await?;
    assert_eq!((outcome.status_code, outcome.attempt), (Some(410), 1));
    assert_eq!(only(scene.dead_letters(1).await?)?.reason(), "gone");
    Ok(())
}
