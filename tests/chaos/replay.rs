//! An endpoint was down for an hour of events, and they are made again: each once more under its old id, beside live
//! traffic for the same webhook that hardly notices, though the daemon is killed in the middle.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::history::message_id;
use postrider_tests::patience::until;
use postrider_tests::{Daemon, contract};
use postrider_types::{Clock, Outcome, OutcomeResult, Timestamp, Trigger};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::trial::{Trial, say};
use crate::turn;

/// Live events a second.
const LIVE: u64 = 100;
/// Deliveries a second of a replay.
const RATE: u64 = 200;
/// How long a replay may take.
const PATIENT: Duration = Duration::from_secs(600);

/// From and to.
type Time = (Timestamp, Timestamp);

/// What the live p50 may move by whatever it was: the rest is noise of the machine.
const NOISE: Duration = Duration::from_millis(2);

fn now() -> Timestamp {
    Clock::system().now()
}

/// A trial whose endpoint was down, and is not any more.
struct Hour {
    trial: Trial,
    daemon: Daemon,
    /// When the events of each slice happened, and how many there were.
    slices: Vec<(Time, u64)>,
}

impl Hour {
    async fn down(slices: &[u64]) -> Result<Self> {
        let mut trial = Trial::new("replay").await?;
        let mut hooks = trial.hooks(&["hook"]);
        hooks[0]["retry"] = json!({ "enabled": false });
        trial.owe(&["hook"], hooks);
        trial.endpoints.always("/hook", 503, Duration::ZERO);
        trial.scene.config["delivery"]["circuit"]["failures"] = json!(1_000_000_000);
        trial.begin().await?;
        let daemon = trial.start("a").await?;
        let (mut times, mut all) = (Vec::new(), 0);
        for events in slices {
            let from = now();
            trial.load_of(*events, *events)?;
            trial.loaded().await?;
            all += events;
            trial.all_ended(usize::try_from(all)?).await?;
            times.push(((from, now()), *events));
        }
        trial.endpoints.always("/hook", 200, Duration::from_millis(5));
        Ok(Self {
            trial,
            daemon,
            slices: times,
        })
    }

    async fn ask(&self, (from, to): Time) -> Result<String> {
        let request = json!({ "from": from, "to": to, "result": "failed", "rate_per_second": RATE });
        let (status, asked) = self.daemon.api("POST", "/replays", Some(&request)).await?;
        ensure!(status == 202, "{status}: {asked}");
        Ok(asked["id"].as_str().context("an id")?.to_owned())
    }

    /// The replay; `None` while it is not known, right after a start.
    async fn replay(&self, id: &str) -> Result<Option<Value>> {
        let (status, replay) = self.daemon.api("GET", &format!("/replays/{id}"), None).await?;
        ensure!(
            matches!(status, 200 | 503) && replay["state"] != "failed",
            "{status}: {replay}"
        );
        Ok(Some(replay).filter(|_| status == 200))
    }

    async fn come_to(&self, id: &str, count: u64) -> Result<Timestamp> {
        let ask = || async {
            let parked = self.replay(id).await?.and_then(|replay| replay["parked"].as_u64());
            Ok((parked >= Some(count)).then(now))
        };
        until("the replay to go on", PATIENT, ask).await
    }

    async fn done(&self, id: &str, events: u64) -> Result<()> {
        let ask = || async { Ok(self.replay(id).await?.filter(|replay| replay["state"] == "done")) };
        let done = until("the replay's end", PATIENT, ask).await?;
        ensure!(done["matched"] == events && done["parked"] == events, "{done}");
        Ok(())
    }

    /// Runs a replay to its end; returns its id, and when it ran.
    async fn run(&self, (time, events): (Time, u64)) -> Result<(String, Time)> {
        let id = self.ask(time).await?;
        let from = self.come_to(&id, 1).await?;
        self.done(&id, events).await?;
        Ok((id, (from, now())))
    }

    /// Runs a replay to its end with a kill in its middle.
    async fn run_through_a_kill(&mut self, (time, events): (Time, u64)) -> Result<String> {
        let id = self.ask(time).await?;
        self.come_to(&id, events / 2).await?;
        self.trial.kill(&mut self.daemon).await?;
        self.daemon = self.trial.start("a").await?;
        self.done(&id, events).await?;
        Ok(id)
    }

    async fn over(&mut self) -> Result<Vec<Outcome>> {
        self.trial.unload().await?;
        let pending =
            || async { Ok((self.daemon.metric("postrider_webhook_pending", &[]).await? == 0.0).then_some(())) };
        until("nothing to be parked any more", PATIENT, pending).await?;
        sleep(Duration::from_secs(2)).await;
        self.daemon.stop().await?;
        contract::outcomes(&self.trial.scene.topic("results").read().await?)
    }
}

/// How long it took from records to their replies, of live events within these times: p50, p90 and p99.
fn latency(outcomes: &[Outcome], times: &[Time]) -> [Duration; 3] {
    let within = |outcome: &&Outcome| {
        times
            .iter()
            .any(|(from, to)| (*from..*to).contains(&outcome.event_time))
    };
    let live = outcomes
        .iter()
        .filter(|outcome| outcome.replay.is_none())
        .filter(within);
    let mut took: Vec<Duration> = live
        .filter_map(|one| Some(one.date_end?.since(one.event_time)))
        .collect();
    took.sort();
    [50, 90, 99].map(|percent| took.get(took.len() * percent / 100).copied().unwrap_or_default())
}

/// The p99 of each time, ascending: on a busy machine the one in the middle says more than that of all.
fn windows(outcomes: &[Outcome], times: &[Time]) -> Vec<Duration> {
    let mut all: Vec<Duration> = times.iter().map(|time| latency(outcomes, &[*time])[2]).collect();
    all.sort();
    all
}

/// Each delivery has one outcome of a replay, and its request came once more, or twice when a kill came between.
/// Returns how many came twice.
fn judge(hour: &Hour, outcomes: &[Outcome], ids: &[String], events: u64) -> usize {
    let key = |one: &Outcome| (one.delivery_id.to_string(), one.replay.clone(), one.attempt);
    let unique: HashSet<_> = outcomes.iter().map(key).collect();
    assert_eq!(unique.len(), outcomes.len(), "no outcome comes twice");
    let of_them = |one: &&Outcome| {
        one.replay
            .as_ref()
            .is_some_and(|replay| ids.iter().any(|id| id == replay))
    };
    let again: Vec<&Outcome> = outcomes.iter().filter(of_them).collect();
    assert_eq!(again.len() as u64, events);
    for one in &again {
        let made = (one.trigger, one.attempt, one.result);
        assert_eq!(made, (Trigger::Replay, 1, OutcomeResult::Success), "{one:?}");
    }
    let mut times: HashMap<String, usize> = HashMap::new();
    for request in hour.trial.endpoints.requests() {
        *times.entry(request.message).or_default() += 1;
    }
    let came = again
        .iter()
        .map(|one| times[&message_id(one.event_id.as_str(), "hook")]);
    let came: Vec<usize> = came.collect();
    assert!(came.iter().all(|times| *times >= 2), "each came once more");
    came.iter().filter(|times| **times > 2).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_of_events_is_made_again_beside_live_traffic_and_a_kill() -> Result<()> {
    let _turn = turn::alone().await;
    let mut slices = vec![turn::sized(600, 3_000); turn::sized(1, 6)];
    slices.push(turn::sized(1_200, 18_000));
    let events: u64 = slices.iter().sum();
    let mut hour = Hour::down(&slices).await?;
    hour.trial.load_of(LIVE, u64::MAX)?;
    sleep(Duration::from_secs(3)).await;
    // In turn, so that what else the machine does is on both sides.
    let (mut ids, mut alone, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    let (last, measured) = hour.slices.split_last().context("slices")?;
    let last = *last;
    for slice in measured {
        let from = now();
        sleep(Duration::from_secs(slice.1 / RATE)).await;
        alone.push((from, now()));
        let (id, time) = hour.run(*slice).await?;
        ids.push(id);
        beside.push(time);
    }
    ids.push(hour.run_through_a_kill(last).await?);
    let outcomes = hour.over().await?;
    let twice = judge(&hour, &outcomes, &ids, events);
    say(&format!(
        "replay: {events} deliveries at {RATE}/s beside {LIVE} live ones/s and a kill -9: all came once more, {twice} of \
         them twice"
    ));
    let (times, alone, beside) = (
        (&alone, &beside),
        latency(&outcomes, &alone),
        latency(&outcomes, &beside),
    );
    say(&format!(
        "replay: live record to reply at p50, p90, p99: alone {alone:?}, beside a replay {beside:?}; the p99s of each time: \
         {:?}, {:?}",
        windows(&outcomes, times.0),
        windows(&outcomes, times.1)
    ));
    assert!(twice as u64 <= RATE * 3, "{twice} came twice");
    assert!(
        !turn::is_long() || beside[0] <= alone[0].mul_f64(1.1) + NOISE,
        "{alone:?} {beside:?}"
    );
    Ok(())
}
