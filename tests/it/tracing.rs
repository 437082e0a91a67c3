//! Traces: from the record's own through each attempt to the outcome, at a collector that takes OTLP.

use anyhow::{Context, Result};
use postrider_tests::collector::{Collector, Told};
use postrider_tests::contract::sample;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Answer, Receiver, Scene, Sent, port};
use postrider_types::OutcomeResult;
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const UPSTREAM: &str = "b7ad6b7169203331";
const SECRET: &str = "k3y-of-the-merchant";

/// A webhook with a secret in every place that has room for one.
fn webhook(url: &str) -> Value {
    json!({
        "id": "wh", "url": format!("{url}?token={SECRET}"), "events": ["tracking_update"],
        "auth": { "username": "u", "password": SECRET }, "header": { "name": "X-Key", "value": SECRET },
    })
}

fn traced() -> Sent {
    Sent::value(sample("tracking_update")).header("traceparent", format!("00-{TRACE}-{UPSTREAM}-01"))
}

fn of_name<'a>(spans: &'a [Told], name: &str) -> Vec<&'a Told> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test]
async fn a_trace_goes_from_the_record_through_each_attempt_to_the_outcome() -> Result<()> {
    let (receiver, collector) = (Receiver::start().await?, Collector::start().await?);
    receiver.answer("/hook", [Answer::status(503), Answer::ok()]);
    let mut scene = Scene::new("tracing").await?;
    scene.webhooks([webhook(&receiver.url("/hook"))]);
    scene.config["telemetry"] =
        json!({ "otlp_endpoint": collector.endpoint(), "log": "info,postrider_delivery=debug" });
    let daemon = scene.start().await?;
    scene.topic("tracking").produce([traced()]).await?;

    let outcomes = scene.outcomes(2).await?;
    let results: Vec<_> = outcomes
        .iter()
        .map(|outcome| (outcome.attempt, outcome.result))
        .collect();
    assert!(results.contains(&(1, OutcomeResult::Retrying)) && results.contains(&(2, OutcomeResult::Success)));
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.trace_id.as_deref() == Some(TRACE))
    );
    let spans = collector.spans(TRACE, 3).await?;
    assert_eq!(spans.len(), 3);
    let [delivery] = of_name(&spans, "webhook delivery")[..] else {
        panic!("{spans:?}")
    };
    assert_eq!((&*delivery.parent, delivery.is_error), (UPSTREAM, false));
    assert_eq!(delivery.attributes["postrider.attempts"], "2");

    let mut attempts = of_name(&spans, "webhook attempt");
    attempts.sort_by_key(|span| span.start);
    let requests = receiver.wait_for("/hook", 2).await?;
    for ((attempt, request), (number, status)) in attempts.iter().zip(&requests).zip([("1", "503"), ("2", "200")]) {
        assert_eq!(attempt.parent, delivery.id);
        let sent = format!("00-{TRACE}-{}-01", attempt.id);
        assert_eq!(request.header("traceparent"), sent);
        assert_eq!(attempt.attributes["postrider.attempt"], number);
        assert_eq!(attempt.attributes["http.response.status_code"], status);
        assert_eq!(attempt.attributes["postrider.webhook.id"], "wh");
        assert_eq!(attempt.attributes["postrider.event.type"], "tracking_update");
        assert_eq!(attempt.is_error, status == "503");
        assert!(attempt.start <= attempt.end && attempt.end <= delivery.end);
    }
    assert_ne!(attempts[0].id, attempts[1].id);
    let told = daemon.says("Attempt made").await?;
    assert!(told.contains(TRACE), "{told}");
    for call in collector.calls() {
        let text = String::from_utf8_lossy(&call.body).into_owned();
        assert!(!text.contains(SECRET) && !text.contains("OrderID"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up_and_its_spans_are_counted() -> Result<()> {
    const EVENTS: usize = 50;
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("tracing-away").await?;
    scene.webhooks([webhook(&receiver.url("/hook"))]);
    scene.config["telemetry"] = json!({ "otlp_endpoint": format!("http://127.0.0.1:{}", port::free()) });
    let mut daemon = scene.start().await?;
    scene.topic("tracking").produce((0..EVENTS).map(|_| traced())).await?;
    scene.outcomes(EVENTS).await?;
    let lost = || async {
        let lost = daemon.metric("postrider_trace_spans_lost_total", &[]).await?;
        Ok((lost >= 2.0 * EVENTS as f64).then_some(()))
    };
    until("the lost spans", PATIENCE, lost).await?;
    daemon.says("takes no traces").await?;
    let ended = daemon.stop().await?;
    assert_eq!(ended.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn without_a_collector_the_records_own_parent_is_sent_on() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("tracing-off").await?;
    scene.webhooks([webhook(&receiver.url("/hook"))]);
    let _daemon = scene.start().await?;
    scene.topic("tracking").produce([traced()]).await?;
    let requests = receiver.wait_for("/hook", 1).await?;
    let sent = requests.first().context("a request")?.header("traceparent").to_owned();
    assert_eq!(sent, format!("00-{TRACE}-{UPSTREAM}-01"));
    Ok(())
}
