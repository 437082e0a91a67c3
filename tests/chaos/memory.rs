//! Memory does not grow with what is parked, and nothing is rebuilt at a start.

use std::time::Duration;

use anyhow::Result;
use postrider_tests::Daemon;
use postrider_tests::patience::{PATIENCE, until};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::trial::{Trial, say};
use crate::turn;

const ROOM: u64 = 50 << 20;
/// What a start may take when nothing has to be read back: seconds, on a slow machine too.
const START: Duration = Duration::from_secs(10);

async fn attempted(daemon: &Daemon, count: u64) -> Result<()> {
    let made = || async { Ok((daemon.metric("postrider_attempts_total", &[]).await? >= count as f64).then_some(())) };
    until("the attempts", PATIENCE * 10, made).await?;
    // The last of them commit, and what they held is given back.
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_deliveries_take_no_memory_and_no_time_to_start() -> Result<()> {
    let _turn = turn::alone().await;
    let events = turn::sized(20_000, 1_000_000);
    let mut trial = Trial::new("parked").await?;
    let hooks = trial.hooks(&["hook"]);
    trial.owe(&["hook"], hooks);
    trial.endpoints.always("/hook", 200, Duration::ZERO);
    trial.scene.config["delivery"]["retry"] = json!({ "initial": "1h", "multiplier": 1, "max_interval": "1h" });
    // Every delivery is attempted once, and none twice.
    trial.scene.config["delivery"]["circuit"]["failures"] = json!(1_000_000_000);
    trial.scene.create_topics().await?;
    let mut daemon = trial.start("a").await?;

    trial.load_of(events, events)?;
    trial.loaded().await?;
    attempted(&daemon, events).await?;
    let none = daemon.memory()?;
    trial.endpoints.always("/hook", 503, Duration::ZERO);
    trial.load_of(events, events)?;
    trial.loaded().await?;
    attempted(&daemon, 2 * events).await?;
    let parked = daemon.memory()?;
    assert_eq!(
        daemon.metric("postrider_parked_total", &["cause=\"retry\""]).await?,
        events as f64
    );

    daemon.kill().await?;
    let began = Instant::now();
    let daemon = trial.start("a").await?;
    let start = began.elapsed();
    sleep(Duration::from_secs(3)).await;
    let again = daemon.memory()?;
    let shown = [none, parked, again].map(|bytes| bytes >> 20);
    say(&format!(
        "parked: {events}; RSS in MiB with none, parked, after a restart {shown:?}; ready in {start:?}"
    ));
    assert!(parked <= none + ROOM, "{shown:?}");
    assert!(again <= none + ROOM, "{shown:?}");
    assert!(start <= START, "{start:?}");
    Ok(())
}
