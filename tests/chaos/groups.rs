//! Several instances in one group: they come and go, one after the other or all the time, planned or not.

use std::time::Duration;

use anyhow::Result;
use postrider_tests::laws::Bounds;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::trial::{BOUNDS, Trial, say};
use crate::turn;

/// The lowered time after which the group gives a silent member's partitions away.
const SESSION: u32 = 6_000;

/// A trial under load whose group is quick to give partitions away.
pub(crate) async fn trial(name: &'static str) -> Result<Trial> {
    begun(Trial::new(name).await?).await
}

/// The same, in which partitions of a retry topic rest most of the time, so that they come and go resting.
pub(crate) async fn resting(name: &'static str) -> Result<Trial> {
    let mut trial = Trial::new(name).await?;
    trial.resting_schedule();
    begun(trial).await
}

async fn begun(mut trial: Trial) -> Result<Trial> {
    trial.property("session.timeout.ms", SESSION);
    trial.property("heartbeat.interval.ms", 1_000);
    trial.begin().await?;
    trial.load()?;
    Ok(trial)
}

/// Each member that leaves has a name that does not come back, so its partitions move when its session ends.
#[tokio::test]
async fn members_that_join_and_leave_all_the_time_cost_progress_and_nothing_else() -> Result<()> {
    const EVERY: Duration = Duration::from_secs(2);
    let _turn = turn::shared().await;
    let mut trial = resting("storm").await?;
    let stays = trial.start("stays").await?;
    let end = Instant::now() + turn::sized(Duration::from_secs(30), Duration::from_secs(300));
    let mut joined = 0;
    while Instant::now() < end {
        joined += 1;
        let mut passing = trial.start(&format!("passing-{joined}")).await?;
        sleep(EVERY).await;
        assert!(passing.stop().await?.success());
        sleep(EVERY).await;
    }
    let due = usize::try_from(trial.loading()?.sent())? * trial.webhooks.len();
    let ended = trial.ended().await?;
    say(&format!(
        "storm: {joined} members came and went; {ended} of {due} had ended by then"
    ));
    assert!(ended * 2 > due, "progress: {ended} of {due}");
    trial.judge(&mut [stays], Bounds::NOTHING).await.map(drop)
}

#[tokio::test]
async fn rolling_restarts_send_nothing_twice() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = trial("rolling").await?;
    let mut daemons = [trial.start("a").await?, trial.start("b").await?];
    for round in 0..turn::sized(4, 10) {
        sleep(
            trial
                .seed
                .between(Duration::from_millis(500), Duration::from_millis(1_500)),
        )
        .await;
        let (name, daemon) = if round % 2 == 0 {
            ("a", &mut daemons[0])
        } else {
            ("b", &mut daemons[1])
        };
        assert!(daemon.stop().await?.success());
        *daemon = trial.start(name).await?;
    }
    let verdict = trial.judge(&mut daemons, Bounds::NOTHING).await?;
    assert_eq!(verdict.numbers.repeated, 0);
    Ok(())
}

#[tokio::test]
async fn one_is_killed_and_the_other_goes_on_with_what_it_had() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = trial("left-alone").await?;
    let other = trial.start("a").await?;
    let mut killed = trial.start("b").await?;
    sleep(Duration::from_secs(4)).await;
    trial.kill(&mut killed).await?;
    sleep(Duration::from_secs(4)).await;
    trial.judge(&mut [other], BOUNDS).await.map(drop)
}

/// The one that was frozen wakes up with work of partitions that another has gone on with.
#[tokio::test]
async fn one_is_frozen_past_its_session_and_settles_nothing_when_it_wakes() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = trial("frozen").await?;
    let frozen = trial.start("a").await?;
    sleep(Duration::from_secs(3)).await;
    let at = trial.endpoints.now();
    frozen.signal(Signal::STOP)?;
    trial.crashed(at).await?;
    let other = trial.start("b").await?;
    sleep(turn::sized(Duration::from_secs(12), Duration::from_secs(60))).await;
    frozen.signal(Signal::CONT)?;
    trial.crashed_again(trial.endpoints.now())?;
    sleep(Duration::from_secs(3)).await;
    let horizon = Duration::from_secs(70);
    trial
        .judge(&mut [frozen, other], Bounds { horizon, ..BOUNDS })
        .await
        .map(drop)
}
