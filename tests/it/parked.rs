//! What becomes of parked deliveries: `Retry-After` postpones them, and when they come due their webhook is looked
//! up again.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use postrider_tests::contract::sample;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Answer, Daemon, Receiver, Scene, Sent, promise};
use postrider_types::{Clock, Outcome, OutcomeResult, Timestamp};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::delivery::webhook;

fn http_date(at: Timestamp) -> Result<String> {
    let since = Duration::from_secs(u64::try_from(at.as_secs())?);
    Ok(httpdate::fmt_http_date(UNIX_EPOCH + since))
}

#[tokio::test]
async fn retry_after_in_seconds_or_as_a_date_postpones_and_nonsense_does_not() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("parked").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    let _daemon = scene.start().await?;
    // Whole seconds, as dates have them.
    let date = Timestamp::from_millis(Clock::system().now().after(Duration::from_secs(25)).as_secs() * 1_000);
    receiver.answer(
        "/hook",
        [
            Answer::status(503).header("retry-after", "2"),
            Answer::status(429).header("retry-after", "soon"),
            Answer::status(503).header("retry-after", &http_date(date)?),
            Answer::ok(),
        ],
    );
    let topic = scene.topic("tracking");
    topic.produce([Sent::value(sample("tracking_update"))]).await?;

    let mut outcomes = scene.outcomes(4).await?;
    outcomes.sort_by_key(|outcome| outcome.attempt);
    let waits: Vec<Option<Duration>> = outcomes
        .iter()
        .map(|outcome| Some(outcome.next_attempt_at?.since(outcome.date_end?)))
        .collect();
    assert_eq!(waits[0], Some(Duration::from_secs(2)));
    assert_eq!(waits[1], Some(Duration::from_millis(500)), "its step");
    assert_eq!(outcomes[2].next_attempt_at, Some(date));
    assert_eq!(waits[3], None);
    for pair in outcomes.windows(2) {
        assert!(pair[1].date_start >= pair[0].next_attempt_at, "never early: {pair:?}");
    }
    Ok(())
}

fn of<'a>(outcomes: &'a [Outcome], webhook: &str) -> Result<&'a Outcome> {
    let second = |outcome: &&Outcome| outcome.webhook_id.as_str() == webhook && outcome.attempt == 2;
    outcomes.iter().find(second).context(webhook.to_owned())
}

/// What does not come back is owed for 30 s after it was due. What comes back and is skipped is not.
const SOONER: Duration = Duration::from_secs(20);

#[tokio::test]
async fn parked_deliveries_go_to_todays_url_or_are_skipped_by_what_their_webhook_wants_today() -> Result<()> {
    const CHANGED: [&str; 4] = ["gone", "disabled", "narrowed", "filtered"];
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("parked").await?;
    scene.config["delivery"]["retry"] = json!({ "initial": "4s", "multiplier": 1, "jitter": 0 });
    let ids = ["moved", "gone", "disabled", "narrowed", "filtered"];
    let hook = |id: &str| {
        let path = format!("/{id}");
        receiver.answer(&path, [Answer::status(503)]);
        webhook(id, receiver.url(&path), &["tracking_update"])
    };
    let mut hooks: Vec<_> = ids.iter().map(|id| hook(id)).collect();
    scene.webhooks(hooks.clone());
    let daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    topic.produce([Sent::value(sample("tracking_update"))]).await?;
    let first = scene.outcomes(ids.len()).await?;
    assert!(first.iter().all(|outcome| outcome.result == OutcomeResult::Retrying));

    hooks[0]["url"] = json!(receiver.url("/new"));
    hooks[2]["enabled"] = json!(false);
    hooks[3]["events"] = json!(["order_shipped"]);
    hooks[4]["filter"] = json!({ "TrackingCarrier": ["UPS"] });
    hooks.remove(1);
    scene.webhooks(hooks);
    scene.write_config()?;
    daemon.signal(Signal::HUP)?;
    daemon.says("Webhooks reloaded").await?;
    let before = Clock::system().now();
    assert!(
        first.iter().all(|outcome| outcome.next_attempt_at > Some(before)),
        "nothing was due when the webhooks changed"
    );

    let outcomes = scene.outcomes(2 * ids.len()).await?;
    assert_eq!(promise::deliveries(&outcomes).len(), ids.len());
    let moved = of(&outcomes, "moved")?;
    assert_eq!(moved.result, OutcomeResult::Success);
    assert_eq!(moved.endpoint, receiver.url("/new"));
    for id in CHANGED {
        let skipped = of(&outcomes, id)?;
        assert_eq!(
            (skipped.result, skipped.status_code, skipped.date_start),
            (OutcomeResult::Skipped, None, None),
            "{id}"
        );
        assert_eq!(
            receiver.requests(&format!("/{id}")).len(),
            1,
            "{id} got no second request"
        );
    }
    let nothing_waits = || async { Ok((daemon.metric("postrider_webhook_pending", &[]).await? == 0.0).then_some(())) };
    until("nothing to be parked any more", PATIENCE, nothing_waits).await?;
    let oldest = "postrider_webhook_oldest_undelivered_seconds";
    let nothing_is_owed = || async { Ok((daemon.metric(oldest, &[]).await? == 0.0).then_some(())) };
    until("nothing to be owed any more", SOONER, nothing_is_owed).await
}

/// One topic that is gone keeps the whole transaction from going on, and the producer may fail for good of it.
#[tokio::test]
async fn a_retry_topic_that_is_gone_is_named_by_readyz_until_it_is_made_anew() -> Result<()> {
    let receiver = Receiver::start().await?;
    let failed_once = [Answer::status(503), Answer::ok(), Answer::status(503), Answer::ok()];
    receiver.answer("/hook", failed_once);
    let mut scene = Scene::new("parked").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    scene.config["kafka"]["properties"] =
        json!({ "topic.metadata.refresh.interval.ms": 500, "message.timeout.ms": 2_000 });
    let daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    topic.produce([Sent::value(sample("tracking_update"))]).await?;
    scene.outcomes(2).await?;

    let gone = scene.topic("retry.500ms");
    gone.delete().await?;
    daemon.says("has vanished").await?;
    topic.produce([Sent::value(sample("tracking_update"))]).await?;
    let words = format!("the topic {} did not take a record", gone.name());
    let said = daemon.says("was not committed").await?;
    assert!(said.contains(&words), "{said}");
    let is_named = || async {
        let (ready, reasons) = daemon.get("/readyz").await?;
        Ok((ready == 503 && reasons.contains(&words)).then_some(()))
    };
    until("/readyz to name the topic", PATIENCE, is_named).await?;
    // Through some of its attempts, and the making of a new producer between them.
    let made_anew = Instant::now() + Duration::from_secs(6);
    while Instant::now() < made_anew {
        assert_eq!(is_named().await?, Some(()), "{}", daemon.get("/readyz").await?.1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    scene.create_topics().await?;
    let outcomes = scene.outcomes(4).await?;
    let succeeded = outcomes
        .iter()
        .filter(|outcome| outcome.result == OutcomeResult::Success);
    assert_eq!(succeeded.count(), 2, "{outcomes:?}");
    let is_ready = || async { Ok((daemon.get("/readyz").await?.0 == 200).then_some(())) };
    until("/readyz to say yes", PATIENCE, is_ready).await
}

const PAUSED: &str = "postrider_partitions_paused";

/// One webhook, which fails; its retries wait for ten minutes.
async fn long_rests() -> Result<(Receiver, Scene)> {
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(503)]);
    let mut scene = Scene::new("parked").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    scene.config["delivery"]["retry"] = json!({ "initial": "10m", "multiplier": 1, "jitter": 0 });
    Ok((receiver, scene))
}

/// Of what the client does not read it does not know the end.
#[tokio::test]
async fn the_lag_of_a_partition_grows_while_it_rests() -> Result<()> {
    const PARKED: f64 = 20.0;
    let (_receiver, mut scene) = long_rests().await?;
    scene.config["topics"]["retry_partitions"] = json!(1);
    let daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    topic.produce([Sent::value(sample("tracking_update"))]).await?;
    let rests = || async { Ok((daemon.metric(PAUSED, &[]).await? == 1.0).then_some(())) };
    until("the retry partition to rest", PATIENCE, rests).await?;

    topic
        .produce((1..20).map(|_| Sent::value(sample("tracking_update"))))
        .await?;
    let label = format!("topic=\"{}\"", scene.topic("retry.600s").name());
    // Offsets: the end of each transaction has one, too.
    let counted = || async { Ok((daemon.metric("postrider_consumer_lag", &[&label]).await? >= PARKED).then_some(())) };
    until("the lag to count what was parked since", PATIENCE, counted).await?;
    assert_eq!(daemon.metric(PAUSED, &[]).await?, 1.0, "it rests still");
    Ok(())
}

/// What is parked for long rests: its partitions are not read meanwhile, by whomever they are given to.
#[tokio::test]
async fn a_partition_that_went_to_another_instance_while_it_rested_is_read_again_when_it_comes_back() -> Result<()> {
    /// More than the sources have: whichever half another instance is given, some are in it.
    const PARTITIONS: i32 = 8;
    let (_receiver, mut scene) = long_rests().await?;
    scene.config["kafka"]["properties"] = json!({ "session.timeout.ms": 6000 });
    scene.config["topics"]["retry_partitions"] = json!(PARTITIONS);
    scene.create_topics().await?;
    let stays = Daemon::start(&scene.write_instance("stays")?).await?;
    let topic = scene.topic("tracking");
    let all_rest = |what: &'static str, parks: bool| {
        let (stays, topic) = (&stays, &topic);
        let look = move || async move {
            // Each transaction parks in one partition, so that one event after the other comes to all of them.
            if parks {
                topic.produce([Sent::value(sample("tracking_update"))]).await?;
            }
            let resting = stays.metric(PAUSED, &[]).await?;
            Ok((resting == f64::from(PARTITIONS)).then_some(()))
        };
        async move { until(what, PATIENCE, look).await }
    };
    all_rest("all retry partitions to rest", true).await?;

    let mut passes = Daemon::start(&scene.write_instance("passes")?).await?;
    let some_rest = || async { Ok((passes.metric(PAUSED, &[]).await? > 0.0).then_some(())) };
    until("the other's retry partitions to rest", PATIENCE, some_rest).await?;
    assert!(passes.stop().await?.success());
    // They rest only once something has been read of them.
    all_rest("those that came back to rest again", false).await
}
