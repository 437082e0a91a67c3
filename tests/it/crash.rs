//! kill -9 at any instant: no event is lost, no outcome comes twice, and what was settled is not sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use postrider_tests::patience::PATIENCE;
use postrider_tests::receiver::Request;
use postrider_tests::{Answer, Daemon, Receiver, Scene, Sent, promise};
use postrider_types::{Outcome, OutcomeResult};
use serde_json::{Value, json};

use crate::delivery::webhook;

fn events(from: usize, count: usize) -> impl Iterator<Item = Sent> {
    (from..from + count).map(|number| {
        let value = format!("{{\"OrderID\":{number},\"tracking\":\"T{number}\",\"code\":1}}");
        Sent::value(value).partition(i32::try_from(number % 3).unwrap_or_default())
    })
}

/// A delivery as a receiver sees it: the path of its webhook, and the order it is about.
type Seen = (String, String);

fn seen(request: &Request) -> Seen {
    let payload: Value = serde_json::from_slice(&request.body).unwrap();
    (request.target.clone(), payload["OrderID"].to_string().replace('"', ""))
}

/// How often each delivery was sent so far.
fn sent(receiver: &Receiver) -> BTreeMap<Seen, usize> {
    let mut counts = BTreeMap::new();
    for path in ["/steady", "/flaky", "/fast"] {
        for request in receiver.requests(path) {
            *counts.entry(seen(&request)).or_default() += 1;
        }
    }
    counts
}

/// The deliveries whose success is committed.
fn succeeded(outcomes: &[Outcome]) -> BTreeSet<Seen> {
    let succeeded = outcomes
        .iter()
        .filter(|outcome| outcome.result == OutcomeResult::Success);
    succeeded
        .map(|outcome| {
            let path = outcome.webhook_id.as_str().replace("wh_", "/");
            (path, outcome.order_id.as_deref().unwrap().to_owned())
        })
        .collect()
}

fn orders(outcomes: &[Outcome]) -> BTreeSet<String> {
    let orders = outcomes.iter().filter_map(|outcome| outcome.order_id.as_deref());
    orders.map(str::to_owned).collect()
}

async fn ended(scene: &Scene, count: usize) -> Result<Vec<Outcome>> {
    let ended = |outcomes: &[Outcome]| promise::ended(&promise::deliveries(outcomes));
    let mut outcomes = scene.outcomes(count).await?;
    for _ in 0..600 {
        if ended(&outcomes) >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        outcomes = scene.outcomes(count).await?;
    }
    assert_eq!(ended(&outcomes), count, "deliveries that came to an end");
    Ok(outcomes)
}

#[tokio::test]
async fn killed_again_and_again_under_load_nothing_is_lost_and_no_outcome_comes_twice() -> Result<()> {
    const EVENTS: usize = 900;
    let receiver = Receiver::start().await?;
    let slowly = Answer::ok().after(Duration::from_millis(15));
    let failing = Answer::status(500).after(Duration::from_millis(15));
    receiver.answer("/steady", [slowly.clone()]);
    // Every third request fails, so that deliveries are parked, due and retried while the kills come.
    receiver.answer(
        "/flaky",
        (0..6 * EVENTS).map(|n| if n % 3 == 0 { failing.clone() } else { slowly.clone() }),
    );
    let mut scene = Scene::new("crash").await?;
    let mut steady = webhook("wh_steady", receiver.url("/steady"), &["tracking_update"]);
    steady["max_in_flight"] = json!(8);
    let mut flaky = webhook("wh_flaky", receiver.url("/flaky"), &["tracking_update"]);
    flaky["max_in_flight"] = json!(8);
    scene.webhooks([steady, flaky]);
    let mut daemon = scene.start().await?;
    scene.topic("tracking").produce(events(0, EVENTS)).await?;

    let mut committed = Vec::new();
    for requests in [100, 400, 700] {
        receiver.wait_for("/steady", requests).await?;
        daemon.kill().await?;
        let succeeded = succeeded(&scene.outcomes(0).await?);
        let sent = sent(&receiver);
        daemon = Daemon::start(&scene.write_config()?).await?;
        committed.push((succeeded, sent));
    }
    let outcomes = ended(&scene, 2 * EVENTS).await?;
    let deliveries = promise::deliveries(&outcomes);
    assert_eq!(deliveries.len(), 2 * EVENTS);
    assert_eq!(promise::ended_in(&deliveries, OutcomeResult::Success), 2 * EVENTS);
    assert_eq!(orders(&outcomes).len(), EVENTS);
    let finally = sent(&receiver);
    assert_eq!(finally.len(), 2 * EVENTS, "every delivery was sent");
    assert!(!committed[2].0.is_empty(), "the kills came in the middle");
    let (requests, kills) = (finally.values().sum::<usize>(), committed.len());
    let attempts = outcomes.len();
    eprintln!(
        "{kills} kills: {attempts} attempts committed, {requests} requests, {} of them again",
        requests - attempts
    );
    for (succeeded, before) in committed {
        for delivery in succeeded {
            assert_eq!(
                finally[&delivery], before[&delivery],
                "{delivery:?} was sent after its success had committed"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_was_settled_above_the_watermark_is_not_sent_again() -> Result<()> {
    const EVENTS: usize = 300;
    let receiver = Receiver::start().await?;
    let hanging = Answer::ok().after(Duration::from_secs(600));
    receiver.answer("/slow", [hanging, Answer::ok()]);
    let mut scene = Scene::new("crash").await?;
    scene.config["delivery"]["timeout"] = json!("5m");
    let mut slow = webhook("wh_slow", receiver.url("/slow"), &["tracking_update"]);
    slow["filter"] = json!({ "OrderID": ["first"] });
    let mut fast = webhook("wh_fast", receiver.url("/fast"), &["tracking_update"]);
    fast["filter"] = json!({ "OrderID": { "not": ["first"] } });
    scene.webhooks([slow, fast]);
    let mut daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    topic
        .produce([Sent::value(r#"{"OrderID":"first"}"#).partition(0)])
        .await?;
    receiver.wait_for("/slow", 1).await?;
    topic.produce(events(1, EVENTS)).await?;

    let before = scene.outcomes(EVENTS).await?;
    assert!(before.iter().all(|outcome| outcome.webhook_id.as_str() == "wh_fast"));
    let committed = topic.committed(scene.group()).await?;
    let (watermark, settled) = committed.get(&0).context("partition 0 has a commit")?;
    assert_eq!(*watermark, 0, "the first record of partition 0 is unsettled");
    assert!(!settled.is_empty(), "what is settled above it travels in the metadata");

    daemon.kill().await?;
    let daemon = Daemon::start(&scene.write_config()?).await?;
    let outcomes = ended(&scene, EVENTS + 1).await?;
    assert_eq!(outcomes.len(), EVENTS + 1);
    assert_eq!(receiver.requests("/slow").len(), 2, "its outcome had not committed");
    let sent = sent(&receiver);
    assert_eq!(sent.len(), EVENTS);
    assert!(
        sent.values().all(|count| *count == 1),
        "settled records were sent again"
    );
    eprintln!(
        "{} of {EVENTS} were settled above the watermark when it was killed",
        settled.len()
    );
    drop(daemon);
    Ok(())
}

/// Under load, so that what ends first of the older one is chance.
#[tokio::test]
async fn of_two_processes_with_one_instance_id_the_older_leaves_and_says_why() -> Result<()> {
    for guarantee in ["exactly_once", "at_least_once"] {
        let receiver = Receiver::start().await?;
        receiver.answer("/hook", [Answer::ok().after(Duration::from_millis(20))]);
        let mut scene = Scene::new("twins").await?;
        scene.config["consumer"]["guarantee"] = json!(guarantee);
        scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
        scene.create_topics().await?;
        let mut older = Daemon::start(&scene.write_instance("twin")?).await?;
        scene.topic("tracking").produce(events(0, 20_000)).await?;
        receiver.wait_for("/hook", 200).await?;

        // The same name, another port.
        let mut younger = Daemon::spawn(&scene.write_instance("twin")?).await?;
        let status = older.exit(PATIENCE).await?;
        let last = older.log().pop().unwrap_or_default();
        assert_eq!(status.code(), Some(1), "{guarantee}: {last}");
        assert!(
            last.contains("another process runs with the same instance_id"),
            "{guarantee}: {last}"
        );
        younger.ready().await?;
        let came = receiver.requests("/hook").len();
        receiver.wait_for("/hook", came + 100).await?;
        assert_eq!(younger.ended()?, None, "{guarantee}");
    }
    Ok(())
}
