//! Deliveries are made again when a person asks: counted first, once each, under their old ids, whatever is killed
//! meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::receiver::Request;
use postrider_tests::{Answer, Daemon, Gate, Receiver, Scene, Schema, Sent, binary, promise};
use postrider_types::{Clock, Outcome, OutcomeResult, Timestamp, Trigger};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::delivery::webhook;
use crate::poison::scene_for;

fn events(count: usize) -> impl Iterator<Item = Sent> {
    (0..count).map(|number| {
        let value = format!("{{\"OrderID\":{number},\"tracking\":\"T{number}\",\"code\":1}}");
        let partition = i32::try_from(number % 3).unwrap_or_default();
        Sent::value(value)
            .key(format!("{number}"))
            .header("x-mine", "kept")
            .partition(partition)
    })
}

fn an_hour_ago() -> Timestamp {
    Timestamp::from_millis(Clock::system().now().as_millis() - 3_600_000)
}

/// A scene whose endpoint fails for everything, without retries.
async fn failing(receiver: &Receiver) -> Result<Scene> {
    Ok(failing_in(Scene::new("replay").await?, receiver))
}

fn failing_in(mut scene: Scene, receiver: &Receiver) -> Scene {
    receiver.answer("/hook", [Answer::status(503)]);
    scene.config["delivery"]["circuit"] = json!({ "failures": 1_000_000 });
    let mut hook = webhook("wh", receiver.url("/hook"), &["tracking_update"]);
    hook["retry"] = json!({ "enabled": false });
    scene.webhooks([hook]);
    scene
}

async fn ask(daemon: &Daemon, mut request: Value) -> Result<String> {
    request["from"] = json!(an_hour_ago());
    let (status, answer) = daemon.api("POST", "/replays", Some(&request)).await?;
    ensure!(status == 202, "{status}: {answer}");
    Ok(answer["id"].as_str().context("an id")?.to_owned())
}

async fn read(daemon: &Daemon, id: &str) -> Result<Value> {
    let ask = || async {
        let answer = daemon.api("GET", &format!("/replays/{id}"), None).await?;
        // Right after a start they are not known yet.
        Ok(Some(answer).filter(|(status, _)| *status != 503))
    };
    let (status, replay) = until("the replays to be known", PATIENCE, ask).await?;
    ensure!(status == 200, "{status}: {replay}");
    assert_eq!(Schema::named("replay.v1")?.faults(&replay), [""; 0]);
    Ok(replay)
}

async fn done(daemon: &Daemon, id: &str) -> Result<Value> {
    let ask = || async {
        let replay = read(daemon, id).await?;
        ensure!(replay["state"] != "failed", "{replay}");
        Ok((replay["state"] == "done").then_some(replay))
    };
    until("the replay's end", PATIENCE, ask).await
}

/// Waits until as many are parked by a replay.
async fn parked(daemon: &Daemon, id: &str, count: u64) -> Result<()> {
    let ask = || async { Ok((read(daemon, id).await?["parked"].as_u64() >= Some(count)).then_some(())) };
    until("deliveries on their way", PATIENCE, ask).await
}

async fn nothing_waits(daemon: &Daemon) -> Result<()> {
    let ask = || async { Ok((daemon.metric("postrider_webhook_pending", &[]).await? == 0.0).then_some(())) };
    until("nothing to be parked any more", PATIENCE, ask).await
}

/// The outcomes of a replay, held against what is promised of outcomes.
fn of_replay<'a>(outcomes: &'a [Outcome], id: &str) -> Vec<&'a Outcome> {
    let of = |replay: Option<&str>| -> Vec<Outcome> {
        let mine = outcomes.iter().filter(|outcome| outcome.replay.as_deref() == replay);
        mine.cloned().collect()
    };
    let _ = (promise::deliveries(&of(None)), promise::deliveries(&of(Some(id))));
    outcomes
        .iter()
        .filter(|outcome| outcome.replay.as_deref() == Some(id))
        .collect()
}

async fn replayed(scene: &Scene, id: &str, count: usize) -> Result<Vec<Outcome>> {
    let ask = || async {
        let outcomes = scene.outcomes(0).await?;
        let ended = of_replay(&outcomes, id)
            .into_iter()
            .filter(|one| one.result != OutcomeResult::Retrying);
        Ok((ended.count() >= count).then_some(outcomes))
    };
    until("the replay's outcomes", PATIENCE, ask).await
}

/// How often each message came.
fn messages(requests: &[Request]) -> BTreeMap<&str, usize> {
    let mut messages = BTreeMap::new();
    for request in requests {
        *messages.entry(request.header("webhook-id")).or_default() += 1;
    }
    messages
}

/// The second requests have the bodies of the first ones of the same id.
fn carry_the_same(first: &[Request], second: &[Request]) {
    let bodies: BTreeMap<&str, _> = first.iter().map(|one| (one.header("webhook-id"), &one.body)).collect();
    let is_same = |one: &Request| bodies.get(one.header("webhook-id")) == Some(&&one.body);
    assert!(second.iter().all(is_same));
}

#[tokio::test]
async fn what_failed_is_counted_and_then_made_again_once_each_under_its_old_id() -> Result<()> {
    const EVENTS: usize = 40;
    let receiver = Receiver::start().await?;
    let scene = failing(&receiver).await?;
    let daemon = scene.start().await?;
    scene.topic("tracking").produce(events(EVENTS)).await?;
    scene.outcomes(EVENTS).await?;
    receiver.answer("/hook", [Answer::ok()]);

    let dry = ask(&daemon, json!({ "dry_run": true })).await?;
    let counted = done(&daemon, &dry).await?;
    assert_eq!((&counted["matched"], &counted["parked"]), (&json!(EVENTS), &json!(0)));
    assert_eq!(receiver.requests("/hook").len(), EVENTS, "a dry run sends nothing");
    for (narrowed, count) in [
        (json!({ "webhook": "wh" }), EVENTS),
        (json!({ "webhook": "other" }), 0),
        (json!({ "account": "other" }), 0),
        (json!({ "event": "order_shipped" }), 0),
        (json!({ "result": "skipped" }), 0),
        (json!({ "to": an_hour_ago().after(Duration::from_secs(1_800)) }), 0),
    ] {
        let mut request = narrowed.clone();
        request["dry_run"] = json!(true);
        let id = ask(&daemon, request).await?;
        assert_eq!(done(&daemon, &id).await?["matched"], count, "{narrowed}");
    }

    let id = ask(&daemon, json!({ "result": "failed", "rate_per_second": 100 })).await?;
    let ended = done(&daemon, &id).await?;
    let counts = ["matched", "parked", "lost_source"].map(|name| ended[name].as_u64());
    assert_eq!(counts, [Some(EVENTS as u64), Some(EVENTS as u64), Some(0)]);
    let outcomes = replayed(&scene, &id, EVENTS).await?;
    let again = of_replay(&outcomes, &id);
    assert_eq!((again.len(), outcomes.len()), (EVENTS, 2 * EVENTS));
    for outcome in again {
        assert_eq!(
            (outcome.trigger, outcome.attempt, outcome.result),
            (Trigger::Replay, 1, OutcomeResult::Success)
        );
    }
    let requests = receiver.requests("/hook");
    let messages = messages(&requests);
    assert_eq!(messages.len(), EVENTS);
    assert!(messages.values().all(|times| *times == 2), "{messages:?}");
    let (first, second) = requests.split_at(EVENTS);
    carry_the_same(first, second);
    nothing_waits(&daemon).await?;
    let none = ask(&daemon, json!({ "dry_run": true })).await?;
    assert_eq!(done(&daemon, &none).await?["matched"], 0, "they succeeded since");
    Ok(())
}

#[tokio::test]
async fn a_replays_failures_are_retried_under_its_id_and_what_is_under_way_is_not_crossed() -> Result<()> {
    let receiver = Receiver::start().await?;
    let fails = || Answer::status(503);
    let (retry, taken_up) = (Gate::shut(), Gate::shut());
    receiver.answer(
        "/hook",
        [fails(), fails().behind(&retry), fails().behind(&taken_up), fails()],
    );
    let mut scene = Scene::new("replay").await?;
    scene.config["delivery"]["timeout"] = json!("5m");
    scene.config["delivery"]["retry"] = json!({ "initial": "1s", "multiplier": 1, "jitter": 0 });
    let mut hook = webhook("wh", receiver.url("/hook"), &["tracking_update"]);
    hook["retry"] = json!({ "max_retries": 1 });
    scene.webhooks([hook]);
    let daemon = scene.start().await?;
    scene.topic("tracking").produce(events(1)).await?;
    scene.outcomes(1).await?;
    let crossing = ask(&daemon, json!({ "result": "any" })).await?;
    assert_eq!(
        done(&daemon, &crossing).await?["matched"],
        0,
        "it is still being retried"
    );
    retry.open();
    scene.outcomes(2).await?;

    let first = ask(&daemon, json!({})).await?;
    // Right behind it: what the first has taken up has no new outcome yet, and is left alone.
    let second = ask(&daemon, json!({ "result": "any" })).await?;
    assert_eq!(done(&daemon, &first).await?["parked"], 1);
    assert_eq!(done(&daemon, &second).await?["matched"], 0, "the first replay has it");
    taken_up.open();
    let outcomes = replayed(&scene, &first, 1).await?;
    let attempts: Vec<(u32, OutcomeResult)> = of_replay(&outcomes, &first)
        .iter()
        .map(|one| (one.attempt, one.result))
        .collect();
    assert_eq!(attempts, [(1, OutcomeResult::Retrying), (2, OutcomeResult::Failed)]);
    assert_eq!(outcomes.len(), 4);
    assert_eq!(scene.dead_letters(2).await?.len(), 2, "each end left its dead letter");
    nothing_waits(&daemon).await
}

#[tokio::test]
async fn killed_again_and_again_it_goes_on_where_it_was() -> Result<()> {
    const EVENTS: usize = 300;
    let receiver = Receiver::start().await?;
    let scene = failing(&receiver).await?;
    let mut daemon = scene.start().await?;
    scene.topic("tracking").produce(events(EVENTS)).await?;
    scene.outcomes(EVENTS).await?;
    receiver.answer("/hook", [Answer::ok().after(Duration::from_millis(5))]);
    let id = ask(&daemon, json!({ "rate_per_second": 60 })).await?;
    parked(&daemon, &id, 40).await?;
    daemon.kill().await?;
    // Before a commit that parks some, and right after one.
    for failpoint in ["r1=2", "r2=2"] {
        let mut aborting = Daemon::spawn_to_abort(&scene.write_config()?, failpoint).await?;
        let ended = aborting.exit(PATIENCE).await?;
        assert!(!ended.success(), "{failpoint}: {ended}");
    }
    daemon = Daemon::start(&scene.write_config()?).await?;
    let ended = done(&daemon, &id).await?;
    assert_eq!((&ended["matched"], &ended["parked"]), (&json!(EVENTS), &json!(EVENTS)));
    let outcomes = replayed(&scene, &id, EVENTS).await?;
    let again = of_replay(&outcomes, &id);
    assert_eq!(again.len(), EVENTS, "each has one outcome of the replay");
    assert!(
        again
            .iter()
            .all(|one| one.attempt == 1 && one.result == OutcomeResult::Success)
    );
    let requests = receiver.requests("/hook");
    let messages = messages(&requests[EVENTS..]);
    assert_eq!(messages.len(), EVENTS);
    let twice = messages.values().filter(|times| **times > 1).count();
    // Only what had no committed outcome at one of the three kills may come again.
    eprintln!("3 kills: {twice} of {EVENTS} requests came again");
    assert!(twice < EVENTS / 3, "{twice} came again");
    nothing_waits(&daemon).await
}

#[tokio::test]
async fn when_its_runner_is_gone_for_good_another_instance_takes_over() -> Result<()> {
    const EVENTS: usize = 200;
    let receiver = Receiver::start().await?;
    let mut scene = failing(&receiver).await?;
    scene.config["kafka"]["properties"] = json!({ "session.timeout.ms": 6000 });
    scene.create_topics().await?;
    let mut daemons = Vec::new();
    for instance in ["a", "b"] {
        daemons.push(Daemon::start(&scene.write_instance(instance)?).await?);
    }
    scene.topic("tracking").produce(events(EVENTS)).await?;
    scene.outcomes(EVENTS).await?;
    receiver.answer("/hook", [Answer::ok()]);
    let id = ask(&daemons[0], json!({ "rate_per_second": 20 })).await?;
    parked(&daemons[0], &id, 20).await?;
    let leads = daemons[0].metric("postrider_replay_leader", &[]).await? == 1.0;
    let mut runner = daemons.swap_remove(usize::from(!leads));
    assert_eq!(runner.metric("postrider_replay_leader", &[]).await?, 1.0);
    runner.kill().await?;
    let other = daemons.pop().context("the other instance")?;
    assert_eq!(done(&other, &id).await?["parked"], EVENTS);
    let outcomes = replayed(&scene, &id, EVENTS).await?;
    assert_eq!(of_replay(&outcomes, &id).len(), EVENTS);
    nothing_waits(&other).await
}

#[tokio::test]
async fn what_a_disabled_webhook_missed_is_made_again_once_it_is_enabled() -> Result<()> {
    const EVENTS: usize = 5;
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("replay").await?;
    let mut hook = webhook("wh", receiver.url("/hook"), &["tracking_update"]);
    hook["enabled"] = json!(false);
    scene.webhooks([hook.clone()]);
    let daemon = scene.start().await?;
    scene.topic("tracking").produce(events(EVENTS)).await?;
    let skipped = scene.outcomes(EVENTS).await?;
    assert!(skipped.iter().all(|outcome| outcome.result == OutcomeResult::Skipped));

    hook["enabled"] = json!(true);
    scene.webhooks([hook]);
    scene.write_config()?;
    daemon.signal(Signal::HUP)?;
    daemon.says("Webhooks reloaded").await?;
    let id = ask(&daemon, json!({ "result": "skipped" })).await?;
    assert_eq!(done(&daemon, &id).await?["parked"], EVENTS);
    let outcomes = replayed(&scene, &id, EVENTS).await?;
    let again = of_replay(&outcomes, &id);
    assert!(again.iter().all(|one| one.result == OutcomeResult::Success));
    assert_eq!(receiver.requests("/hook").len(), EVENTS);
    Ok(())
}

#[tokio::test]
async fn what_its_topic_keeps_no_more_comes_from_the_dead_letters() -> Result<()> {
    const EVENTS: usize = 20;
    let receiver = Receiver::start().await?;
    let scene = failing(&receiver).await?;
    let daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    topic.produce(events(EVENTS)).await?;
    scene.dead_letters(EVENTS).await?;
    topic.trim().await?;
    receiver.answer("/hook", [Answer::ok()]);
    let id = ask(&daemon, json!({ "rate_per_second": 100 })).await?;
    let ended = done(&daemon, &id).await?;
    assert_eq!((&ended["parked"], &ended["lost_source"]), (&json!(EVENTS), &json!(0)));
    replayed(&scene, &id, EVENTS).await?;
    let requests = receiver.requests("/hook");
    let (first, second) = requests.split_at(EVENTS);
    assert_eq!(messages(first), messages(second));
    carry_the_same(first, second);

    // What succeeded has no dead letter, and of it nothing is left.
    let lost = ask(&daemon, json!({ "result": "any" })).await?;
    let ended = done(&daemon, &lost).await?;
    let counts = ["matched", "parked", "lost_source"].map(|name| ended[name].as_u64());
    assert_eq!(
        counts,
        [Some(EVENTS as u64), Some(EVENTS as u64), Some(0)],
        "their letters are still there"
    );
    scene.topic("dead-letters").trim().await?;
    replayed(&scene, &lost, EVENTS).await?;
    let lost = ask(&daemon, json!({ "result": "any" })).await?;
    let ended = done(&daemon, &lost).await?;
    assert_eq!((&ended["parked"], &ended["lost_source"]), (&json!(0), &json!(EVENTS)));
    Ok(())
}

#[tokio::test]
async fn records_that_could_not_be_read_are_delivered_once_they_can_be() -> Result<()> {
    const EVENTS: usize = 6;
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("replay").await?;
    scene.config["consumer"]["max_event_bytes"] = json!("1KiB");
    scene.webhooks([webhook("wh", receiver.url("/hook"), &["tracking_update"])]);
    let mut daemon = scene.start().await?;
    let large = |number: usize| {
        let value = format!("{{\"OrderID\":{number},\"note\":\"{}\"}}", "x".repeat(2_000));
        Sent::value(value).header("x-mine", "kept")
    };
    let topic = scene.topic("tracking");
    topic
        .produce((0..EVENTS).map(large).chain([Sent::value("no JSON")]))
        .await?;
    scene.dead_letters(EVENTS + 1).await?;
    let id = ask(&daemon, json!({ "result": "dead_letter" })).await?;
    let ended = done(&daemon, &id).await?;
    assert_eq!(
        (&ended["matched"], &ended["unreadable"]),
        (&json!(0), &json!(EVENTS + 1))
    );

    daemon.stop().await?;
    scene.config["consumer"]["max_event_bytes"] = json!("4KiB");
    daemon = Daemon::start(&scene.write_config()?).await?;
    // Where the source record is kept no more, its dead letter has all there was.
    topic.trim().await?;
    let other = json!({ "result": "dead_letter", "webhook": "other", "dry_run": true });
    let other = ask(&daemon, other).await?;
    assert_eq!(done(&daemon, &other).await?["matched"], 0);
    let id = ask(&daemon, json!({ "result": "dead_letter" })).await?;
    let ended = done(&daemon, &id).await?;
    let counts = ["matched", "parked", "lost_source", "unreadable"].map(|name| ended[name].as_u64());
    assert_eq!(counts, [Some(EVENTS as u64), Some(EVENTS as u64), Some(0), Some(1)]);
    let outcomes = replayed(&scene, &id, EVENTS).await?;
    assert!(
        of_replay(&outcomes, &id)
            .iter()
            .all(|one| one.result == OutcomeResult::Success)
    );
    let positions: BTreeMap<&str, usize> = outcomes.iter().map(|one| (one.event_id.as_str(), 1)).collect();
    assert_eq!(positions.len(), EVENTS, "each under its own position");
    assert!(receiver.requests("/hook").iter().all(|one| one.body.len() > 2_000));
    let again = ask(&daemon, json!({ "result": "dead_letter" })).await?;
    assert_eq!(done(&daemon, &again).await?["matched"], 0, "they have outcomes now");
    nothing_waits(&daemon).await
}

#[tokio::test]
async fn the_command_line_counts_first_follows_it_to_its_end_and_lists_it() -> Result<()> {
    const EVENTS: usize = 10;
    let receiver = Receiver::start().await?;
    let scene = failing(&receiver).await?;
    let daemon = scene.start().await?;
    scene.topic("tracking").produce(events(EVENTS)).await?;
    scene.outcomes(EVENTS).await?;
    receiver.answer("/hook", [Answer::ok()]);
    let api = format!("http://{}", daemon.admin());
    let counted = binary::run(&["replay", "--from", "1h", "--dry-run", "--api", &api]).await?;
    assert_eq!(counted.code, Some(0), "{counted:?}");
    assert!(counted.stdout.contains("10 deliveries match"), "{counted:?}");
    let ran = binary::run(&[
        "replay", "--from", "1h", "--result", "failed", "--rate", "200", "--api", &api,
    ])
    .await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("10 deliveries match"), "{ran:?}");
    assert!(ran.stdout.contains("done"), "{ran:?}");
    receiver.wait_for("/hook", 2 * EVENTS).await?;
    let listed = binary::run(&["replay", "list", "--api", &api]).await?;
    assert_eq!(listed.stdout.lines().count(), 3, "{listed:?}");
    let bad = binary::run(&["replay", "--from", "soon", "--api", &api]).await?;
    assert_eq!(bad.code, Some(64), "{bad:?}");
    Ok(())
}

/// Each header takes more in a retry record than in its own, where it has no prefix.
#[tokio::test]
async fn what_the_retry_topics_would_not_take_is_counted_as_lost_and_the_rest_is_made_again() -> Result<()> {
    const MAX_RECORD: usize = 200_000;
    const HEADERS: usize = 48_000;
    let receiver = Receiver::start().await?;
    let mut scene = failing_in(scene_for("crowded", &MAX_RECORD.to_string()).await?, &receiver);
    scene.config["kafka"]["properties"]["compression.codec"] = json!("none");
    let daemon = scene.start().await?;
    let crowded = (0..HEADERS).fold(Sent::value("{}").partition(0), |sent, _| sent.header("a", "1"));
    scene.topic("tracking").produce([crowded]).await?;
    scene.topic("tracking").produce(events(1)).await?;
    scene.outcomes(2).await?;
    receiver.answer("/hook", [Answer::ok()]);

    let id = ask(&daemon, json!({})).await?;
    let ended = done(&daemon, &id).await?;
    let counts = ["matched", "parked", "lost_source"].map(|name| ended[name].as_u64());
    assert_eq!(counts, [Some(2), Some(1), Some(1)]);
    replayed(&scene, &id, 1).await?;
    Ok(())
}
