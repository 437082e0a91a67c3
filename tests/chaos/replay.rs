//! An endpoint was down for an hour of events, and they are made again: each once more under its old id, beside live
//! traffic for the same webhook that hardly notices, though the daemon is killed in the middle.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::patience::until;
use postrider_tests::{Daemon, contract};
use postrider_types::{Clock, Outcome, OutcomeResult, Timestamp, Trigger};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::trial::{Trial, say};
use crate::turn;

/// Live events a second; an hour has 36,000 of ten a second.
const LIVE: u64 = 100;
/// Deliveries a second of the replay.
const RATE: u64 = 200;
/// How long a replay of all of them may take.
const PATIENT: Duration = Duration::from_secs(600);

async fn parked(daemon: &Daemon, id: &str) -> Result<(Value, u64)> {
    let (status, replay) = daemon.api("GET", &format!("/replays/{id}"), None).await?;
    ensure!(status == 200 && replay["state"] != "failed", "{status}: {replay}");
    let parked = replay["parked"].as_u64().context("a count")?;
    Ok((replay, parked))
}

async fn come_to(daemon: &Daemon, id: &str, count: u64) -> Result<Timestamp> {
    let ask = || async { Ok((parked(daemon, id).await?.1 >= count).then_some(())) };
    until("the replay to go on", PATIENT, ask).await?;
    Ok(Clock::system().now())
}

/// How long it took from a record to its request, of live events within a time: p50 and p99.
fn latency(outcomes: &[Outcome], (from, to): (Timestamp, Timestamp)) -> (Duration, Duration, usize) {
    let live = outcomes.iter().filter(|outcome| outcome.replay.is_none());
    let within = live.filter(|outcome| (from..to).contains(&outcome.event_time) && outcome.attempt == 1);
    let mut took: Vec<Duration> = within
        .filter_map(|one| Some(one.date_end?.since(one.event_time)))
        .collect();
    took.sort();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    (at(50), at(99), took.len())
}

/// An endpoint that is down for so many events; every delivery is given up.
async fn an_hour_down(events: u64) -> Result<(Trial, Daemon)> {
    let mut trial = Trial::new("replay").await?;
    let mut hooks = trial.hooks(&["hook"]);
    hooks[0]["retry"] = json!({ "enabled": false });
    trial.owe(&["hook"], hooks);
    trial.endpoints.always("/hook", 503, Duration::ZERO);
    trial.scene.config["delivery"]["circuit"]["failures"] = json!(1_000_000_000);
    trial.begin().await?;
    let daemon = trial.start("a").await?;
    trial.load_of(events, events)?;
    trial.loaded().await?;
    trial.all_ended(usize::try_from(events)?).await?;
    trial.endpoints.always("/hook", 200, Duration::from_millis(5));
    Ok((trial, daemon))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_of_events_is_made_again_beside_live_traffic_and_a_kill() -> Result<()> {
    let _turn = turn::alone().await;
    let events = turn::sized(2_000, 36_000);
    let (mut trial, mut daemon) = an_hour_down(events).await?;
    let begun = Clock::system().now();
    trial.load_of(LIVE, u64::MAX)?;
    sleep(Duration::from_secs(2)).await;
    let alone = Clock::system().now();
    sleep(Duration::from_secs(turn::sized(5, 60))).await;

    let from = Timestamp::from_millis(begun.as_millis() - 7_200_000);
    let request = json!({ "from": from, "to": begun, "result": "failed", "rate_per_second": RATE });
    let (status, asked) = daemon.api("POST", "/replays", Some(&request)).await?;
    ensure!(status == 202, "{status}: {asked}");
    let id = asked["id"].as_str().context("an id")?.to_owned();
    let counted = come_to(&daemon, &id, RATE).await?;
    let middle = come_to(&daemon, &id, events / 2).await?;
    trial.kill(&mut daemon).await?;
    daemon = trial.start("a").await?;
    let ask = || async { Ok(Some(parked(&daemon, &id).await?.0).filter(|replay| replay["state"] == "done")) };
    let done = until("the replay's end", PATIENT, ask).await?;
    assert_eq!(
        (&done["matched"], &done["parked"]),
        (&json!(events), &json!(events)),
        "{done}"
    );
    trial.unload().await?;
    let nothing_waits = || async { Ok((daemon.metric("postrider_webhook_pending", &[]).await? == 0.0).then_some(())) };
    until("nothing to be parked any more", PATIENT, nothing_waits).await?;
    sleep(Duration::from_secs(2)).await;
    daemon.stop().await?;

    let outcomes = contract::outcomes(&trial.scene.topic("results").read().await?)?;
    let unique: HashSet<_> = outcomes
        .iter()
        .map(|one| (&one.delivery_id, &one.replay, one.attempt))
        .map(|key| format!("{key:?}"))
        .collect();
    assert_eq!(unique.len(), outcomes.len(), "no outcome comes twice");
    let again: Vec<&Outcome> = outcomes
        .iter()
        .filter(|one| one.replay.as_deref() == Some(&*id))
        .collect();
    assert_eq!(again.len() as u64, events);
    let well =
        |one: &&&Outcome| one.trigger == Trigger::Replay && one.attempt == 1 && one.result == OutcomeResult::Success;
    assert_eq!(again.iter().filter(well).count() as u64, events);
    let mut times: HashMap<String, usize> = HashMap::new();
    for request in trial.endpoints.requests() {
        *times.entry(request.message).or_default() += 1;
    }
    let messages = again
        .iter()
        .map(|one| postrider_tests::history::message_id(&one.event_id.to_string(), "hook"));
    let more: Vec<usize> = messages.map(|message| times[&message]).collect();
    assert!(more.iter().all(|times| *times >= 2), "each came once more");
    let twice = more.iter().filter(|times| **times > 2).count();
    let (before, during) = (
        latency(&outcomes, (alone, counted)),
        latency(&outcomes, (counted, middle)),
    );
    say(&format!(
        "replay: {events} deliveries at {RATE}/s beside {LIVE} live ones/s and a kill -9: {} once more, {twice} of them \
         twice; live record to reply alone p50 {:?}, p99 {:?} ({}), beside it p50 {:?}, p99 {:?} ({})",
        more.len(),
        before.0,
        before.1,
        before.2,
        during.0,
        during.1,
        during.2
    ));
    assert!(twice as u64 <= RATE * 3, "{twice} came twice");
    Ok(())
}
