//! Memory does not grow with what is parked, nothing is rebuilt at a start, and what is due comes at its time beside
//! all that is not.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use postrider_tests::Daemon;
use postrider_tests::history::Seen;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::receiver::Answer;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::trial::{Trial, say};
use crate::turn;

const ROOM: u64 = 50 << 20;
/// What a start may take when nothing has to be read back: seconds, on a slow machine too.
const START: Duration = Duration::from_secs(10);
/// The schedule's first step, and the last.
const SOON: Duration = Duration::from_secs(2);
const LATE: &str = "3600";
/// How much the clocks of daemon and endpoint may differ, as in the laws.
const CLOCK_GRAIN: Duration = Duration::from_millis(5);
/// How late a retry may be, for 99 of 100.
const PUNCTUAL: Duration = Duration::from_millis(250);

async fn attempted(daemon: &Daemon, count: u64) -> Result<()> {
    let made = || async { Ok((daemon.metric("postrider_attempts_total", &[]).await? >= count as f64).then_some(())) };
    until("the attempts", PATIENCE * 15, made).await?;
    // The last of them commit, and what they held is given back.
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

async fn load(trial: &mut Trial, daemon: &Daemon, events: u64, so_far: u64) -> Result<u64> {
    trial.load_of(events, events)?;
    trial.loaded().await?;
    attempted(daemon, so_far + events).await?;
    daemon.memory()
}

/// How late the second requests of the messages came that had their first among `requests`, ascending; the first one
/// was answered at once, and the second due a step after that.
fn lateness(requests: &[Seen]) -> Result<Vec<Duration>> {
    let first = requests.iter().filter(|request| request.attempt == 1);
    let first: HashMap<&str, &Seen> = first.map(|request| (&*request.message, request)).collect();
    let second = requests.iter().filter(|request| request.attempt == 2);
    let mut lateness: Vec<Duration> = second
        .filter_map(|second| Some((second, first.get(&*second.message)?)))
        .map(|(second, first)| {
            let early = || format!("{} came early: {} after {}", second.message, second.at, first.at);
            let since = second.at.after(CLOCK_GRAIN).since(first.at);
            since.checked_sub(SOON).with_context(early)
        })
        .collect::<Result<_>>()?;
    lateness.sort();
    Ok(lateness)
}

fn histogram(lateness: &[Duration]) -> String {
    let below = |millis: u64| lateness.partition_point(|late| *late <= Duration::from_millis(millis));
    let bounds = [5, 10, 25, 50, 100, 250, 500, 1_000];
    let told = bounds.map(|millis| format!("≤ {millis} ms {}", below(millis)));
    format!("{}, all {}", told.join(", "), lateness.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_deliveries_take_no_memory_no_time_to_start_and_nothing_of_what_is_due() -> Result<()> {
    let _turn = turn::alone().await;
    let events = turn::sized(20_000, 1_000_000);
    let mut trial = Trial::new("parked").await?;
    let hooks = trial.hooks(&["hook"]);
    trial.owe(&["hook"], hooks);
    trial.endpoints.always("/hook", 200, Duration::ZERO);
    trial.scene.config["delivery"]["retry"] =
        json!({ "initial": "2s", "multiplier": 60, "max_interval": "1h", "jitter": 0 });
    // Every delivery is attempted once, and none twice.
    trial.scene.config["delivery"]["circuit"]["failures"] = json!(1_000_000_000);
    trial.scene.create_topics().await?;
    let mut daemon = trial.start("a").await?;

    let none = load(&mut trial, &daemon, events, 0).await?;
    trial
        .endpoints
        .conduct("/hook", |_| Answer::status(503).header("retry-after", LATE));
    let parked = load(&mut trial, &daemon, events, events).await?;
    let waiting = daemon.metric("postrider_webhook_pending", &[]).await?;
    assert_eq!(waiting, events as f64);

    daemon.kill().await?;
    let began = Instant::now();
    let daemon = trial.start("a").await?;
    let start = began.elapsed();
    let before = trial.endpoints.total();
    trial.endpoints.conduct("/hook", |seen| {
        Answer::status(if seen.attempt == 1 { 503 } else { 200 })
    });
    let rate = 50;
    let due = rate * turn::sized(10, 60);
    trial.load_of(rate, due)?;
    trial.loaded().await?;
    attempted(&daemon, 2 * due).await?;
    let again = daemon.memory()?;
    let lateness = lateness(&trial.endpoints.requests()[before..])?;
    let p99 = lateness[lateness.len() * 99 / 100 - 1];
    let shown = [none, parked, again].map(|bytes| bytes >> 20);
    say(&format!(
        "parked: {events}; RSS in MiB with none, parked, after a restart {shown:?}; ready in {start:?}; beside them \
         retries late by p99 {p99:?}: {}",
        histogram(&lateness)
    ));
    assert_eq!(u64::try_from(lateness.len())?, due, "each is tried again");
    assert!(parked <= none + ROOM, "{shown:?}");
    assert!(again <= none + ROOM, "{shown:?}");
    assert!(start <= START, "{start:?}");
    assert!(p99 <= PUNCTUAL || !turn::is_long(), "{p99:?}");
    Ok(())
}
