//! What a running daemon exports is what the README's table says.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use postrider_tests::contract::sample;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Answer, Receiver, Scene, Sent};
use serde_json::json;

/// Name and type of every metric in the README.
fn documented() -> BTreeSet<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(file).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let (name, kind) = (cells.next()?.trim_end_matches('`'), cells.next()?);
        ["counter", "gauge", "histogram"]
            .contains(&kind)
            .then(|| (name.to_owned(), kind.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

fn exported(text: &str) -> BTreeSet<(String, String)> {
    let types = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[tokio::test]
async fn a_daemon_exports_the_metrics_of_the_table_and_nothing_else() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(503), Answer::ok()]);
    let mut scene = Scene::new("metrics").await?;
    scene.webhooks([json!({ "id": "wh", "url": receiver.url("/hook"), "events": ["tracking_update"] })]);
    scene.config["admin"]["logs"] = json!({ "path": scene.folder().join("logs.db") });
    let daemon = scene.start().await?;
    let (_, before) = daemon.get("/metrics").await?;
    for topic in ["shipments", "tracking"] {
        let topic = scene.topic(topic);
        let lost = format!("postrider_source_events_lost_total{{topic=\"{}\"}} 0", topic.name());
        assert!(before.contains(&lost), "{lost} is not in\n{before}");
        for event in ["order_shipped", "order_error", "tracking_update"] {
            let read = format!(
                "postrider_events_consumed_total{{event=\"{event}\",topic=\"{}\"}} 0",
                topic.name()
            );
            assert!(before.contains(&read), "{read} is not in\n{before}");
        }
    }
    scene
        .topic("tracking")
        .produce([Sent::value(sample("tracking_update"))])
        .await?;
    scene.outcomes(2).await?;
    let (_, after) = daemon.get("/metrics").await?;
    let (documented, exported) = (documented(), exported(&after));
    let strange: Vec<_> = exported.difference(&documented).collect();
    assert!(strange.is_empty(), "not in the README: {strange:?}");
    let missing: BTreeSet<_> = documented.difference(&exported).map(|(name, _)| &**name).collect();
    // The lag comes with Kafka's statistics, that of retries with the first look after one was parked.
    let later = BTreeSet::from(["postrider_consumer_lag", "postrider_parked_lag_seconds"]);
    assert!(missing.is_subset(&later), "not exported: {missing:?}");
    let line = "postrider_webhook_oldest_undelivered_seconds{webhook=\"wh\"}";
    assert!(after.contains(line), "{after}");
    Ok(())
}

#[tokio::test]
async fn the_age_of_what_is_retried_grows_until_it_is_delivered() -> Result<()> {
    const AGE: &str = "postrider_webhook_oldest_undelivered_seconds";
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(503)]);
    let mut scene = Scene::new("oldest").await?;
    scene.webhooks([json!({ "id": "wh", "url": receiver.url("/hook"), "events": ["tracking_update"] })]);
    let daemon = scene.start().await?;
    let age = |is_enough: fn(f64) -> bool| {
        let daemon = &daemon;
        let ask = move || async move {
            let age = daemon.metric(AGE, &["webhook=\"wh\""]).await?;
            Ok(is_enough(age).then_some(()))
        };
        async move { until("the age", PATIENCE, ask).await }
    };
    scene
        .topic("tracking")
        .produce([Sent::value(sample("tracking_update"))])
        .await?;
    receiver.wait_for("/hook", 2).await?;
    age(|age| age > 2.0).await?;
    receiver.answer("/hook", [Answer::ok()]);
    age(|age| age == 0.0).await
}
