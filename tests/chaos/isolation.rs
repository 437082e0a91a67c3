//! What a bad endpoint may cost the good ones, and how a backlog drains. Times are measured here, so each of
//! these tests has the machine to itself.

use std::time::Duration;

use anyhow::Result;
use postrider_tests::laws::Bounds;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Daemon, contract};
use postrider_types::Outcome;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::trial::{Trial, say};
use crate::turn;

/// Events a second.
const RATE: u64 = 200;
/// Events of the first moments are not measured: connections are made then.
const WARM: Duration = Duration::from_secs(2);
/// How often a delivery may be parked on the way, on average.
const HANDFUL: f64 = 5.0;
/// A p99 below this is good whatever it was alone: on a busy machine the rest is noise.
const FLOOR: Duration = Duration::from_millis(50);

/// Only the webhooks of these names, under a load of their own.
async fn trial(name: &'static str, ids: &[&'static str]) -> Result<Trial> {
    let mut trial = Trial::new(name).await?;
    let hooks = trial.hooks(ids);
    trial.owe(ids, hooks);
    Ok(trial)
}

/// How long the healthy webhook's replies took from their records, at p50 and p99.
async fn healthy_latency(trial: &Trial) -> Result<(Duration, Duration)> {
    let outcomes = contract::outcomes(&trial.scene.topic("results").read().await?)?;
    let first = outcomes
        .iter()
        .map(|outcome| outcome.event_time)
        .min()
        .unwrap_or_default();
    let warm = |outcome: &&Outcome| outcome.event_time >= first.after(WARM);
    let healthy = outcomes
        .iter()
        .filter(warm)
        .filter(|outcome| outcome.webhook_id.as_str() == "healthy");
    let took = |outcome: &Outcome| Some(outcome.date_end?.since(outcome.event_time));
    let mut took: Vec<Duration> = healthy.filter_map(took).collect();
    took.sort();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or(Duration::MAX);
    Ok((at(50), at(99)))
}

async fn alone(seconds: u64) -> Result<Duration> {
    let mut trial = trial("healthy-alone", &["healthy"]).await?;
    trial.begin().await?;
    let daemon = trial.start("a").await?;
    trial.load_of(RATE, RATE * seconds)?;
    trial.loaded().await?;
    trial.judge(&mut [daemon], Bounds::NOTHING).await?;
    let (p50, p99) = healthy_latency(&trial).await?;
    say(&format!("healthy-alone: record to reply p50 {p50:?}, p99 {p99:?}"));
    Ok(p99)
}

/// How many events are produced and not yet below the committed offsets.
async fn lag(trial: &Trial) -> Result<u64> {
    let produced = trial.loading()?.sent();
    let committed = trial.source().committed(trial.scene.group()).await?;
    let settled: i64 = committed.values().map(|(offset, _)| offset).sum();
    Ok(produced.saturating_sub(u64::try_from(settled)?))
}

async fn circuits_open(daemon: &Daemon, count: f64) -> Result<()> {
    let opened = || async { Ok((daemon.metric("postrider_circuits_open", &[]).await? >= count).then_some(())) };
    until("circuits to open", PATIENCE, opened).await
}

/// A hanging and a failing endpoint beside the healthy one: its p99, and the source's worst lag in events
/// once both circuits are open.
async fn beside() -> Result<(Duration, u64)> {
    let mut trial = trial("beside", &["healthy", "hanging", "failing"]).await?;
    trial.endpoints.always("/hanging", 200, Duration::from_secs(600));
    trial.endpoints.always("/failing", 503, Duration::ZERO);
    trial.scene.config["delivery"]["timeout"] = json!("3s");
    trial.scene.config["delivery"]["connect_timeout"] = json!("1s");
    trial.scene.config["delivery"]["circuit"] = json!({ "failures": 20, "open": "5s", "max_open": "1m" });
    trial.begin().await?;
    let daemon = trial.start("a").await?;
    trial.load_of(RATE, u64::MAX)?;
    circuits_open(&daemon, 2.0).await?;
    // The requests that were in flight when it opened still have their time.
    sleep(Duration::from_secs(4)).await;
    let mut worst = 0;
    for _ in 0..20 {
        worst = worst.max(lag(&trial).await?);
        sleep(Duration::from_millis(200)).await;
    }
    trial.unload().await?;
    let (p50, p99) = healthy_latency(&trial).await?;
    say(&format!(
        "beside: record to reply p50 {p50:?}, p99 {p99:?}; lag at most {worst} events"
    ));
    Ok((p99, worst))
}

/// A slow moment of the machine passes; what the endpoints cost each other would be there each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_and_a_failing_endpoint_leave_the_healthy_one_its_pace_and_the_source_its_lag() -> Result<()> {
    const TRIES: usize = 3;
    let _turn = turn::alone().await;
    let mut measured = Vec::new();
    for _ in 0..TRIES {
        let alone = alone(6).await?;
        let (p99, worst) = beside().await?;
        if p99 <= (alone * 2).max(FLOOR) && worst <= RATE {
            return Ok(());
        }
        measured.push(format!(
            "p99 {p99:?} beside, {alone:?} alone; lag {worst} events, {RATE} come in a second"
        ));
    }
    panic!("{measured:#?}");
}

async fn parked(daemon: &Daemon) -> Result<f64> {
    daemon.metric("postrider_parked_total", &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_for_a_healthy_webhook_drains_without_being_parked() -> Result<()> {
    let _turn = turn::alone().await;
    let events = turn::sized(50_000, 1_000_000);
    let mut trial = trial("backlog", &["healthy"]).await?;
    trial.endpoints.always("/healthy", 200, Duration::ZERO);
    trial.begin().await?;
    trial.load_of(events, events)?;
    trial.loaded().await?;
    let began = Instant::now();
    let daemon = trial.start("a").await?;
    let all = usize::try_from(events)?;
    let answered = || async { Ok((trial.endpoints.count("/healthy").answers >= all).then_some(())) };
    until("the backlog to drain", PATIENCE * 10, answered).await?;
    let rate = events as f64 / began.elapsed().as_secs_f64();
    let parked = parked(&daemon).await?;
    say(&format!(
        "backlog: {events} events at {rate:.0} a second, {parked} parked"
    ));
    assert_eq!(parked, 0.0);
    trial.judge(&mut [daemon], Bounds::NOTHING).await.map(drop)
}

/// A trial with a backlog for two webhooks, one of which answers at once, and the other after `wait`.
async fn two(name: &'static str, other: &'static str, wait: Duration, events: u64) -> Result<Trial> {
    let mut trial = trial(name, &["healthy", other]).await?;
    trial.usual_schedule();
    trial.endpoints.always("/healthy", 200, Duration::ZERO);
    trial.endpoints.always(&format!("/{other}"), 200, wait);
    trial.begin().await?;
    trial.load_of(events, events)?;
    trial.loaded().await?;
    Ok(trial)
}

async fn answered(trial: &Trial, path: &str, count: usize) -> Result<()> {
    let answered = || async { Ok((trial.endpoints.count(path).answers >= count).then_some(())) };
    until("the backlog to drain", PATIENCE * 30, answered).await
}

/// How long the healthy webhook takes for a backlog beside one that is as healthy: both share the machine.
async fn beside_its_like(events: u64) -> Result<Duration> {
    let mut trial = two("backlog-pair", "swift", Duration::ZERO, events).await?;
    let began = Instant::now();
    let daemon = trial.start("a").await?;
    answered(&trial, "/healthy", usize::try_from(events)?).await?;
    let took = began.elapsed();
    say(&format!("backlog-pair: /healthy has {events} after {took:?}"));
    trial.judge(&mut [daemon], Bounds::NOTHING).await?;
    Ok(took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_drains_for_a_healthy_webhook_beside_one_of_50_ms() -> Result<()> {
    let _turn = turn::alone().await;
    let events: u64 = turn::sized(5_000, 100_000);
    let all = usize::try_from(events)?;
    let pair = beside_its_like(events).await?;
    let mut trial = two("backlog-beside", "fifty", Duration::from_millis(50), events).await?;
    let began = Instant::now();
    let daemon = trial.start("a").await?;
    answered(&trial, "/healthy", all).await?;
    let healthy = began.elapsed();
    say(&format!("backlog-beside: /healthy has {events} after {healthy:?}"));
    // The few that found no place three times and more wait long steps by themselves, so most of it is timed apart.
    for count in [all * 9 / 10, all] {
        answered(&trial, "/fifty", count).await?;
        let (took, parked) = (began.elapsed(), parked(&daemon).await?);
        let rate = count as f64 / took.as_secs_f64();
        say(&format!(
            "backlog-beside: /fifty has {count} after {took:?}, {rate:.0} a second; {parked} parked so far"
        ));
    }
    let each = parked(&daemon).await? / events as f64;
    assert!(each <= HANDFUL, "each was parked {each} times");
    assert!(
        healthy <= pair * 2 || !turn::is_long(),
        "{healthy:?} beside a slow one, {pair:?} beside its like"
    );
    trial.judge(&mut [daemon], Bounds::NOTHING).await.map(drop)
}
