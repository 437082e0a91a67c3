//! Instances are added and taken away under load, and a real Prometheus looks on.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use postrider_tests::Prometheus;
use postrider_tests::laws::Bounds;
use postrider_tests::patience::{PATIENCE, until};
use postrider_types::Clock;
use tokio::time::sleep;

use crate::trial::say;
use crate::{groups, turn};

const LAG: &str = r#"sum(postrider_consumer_lag{topic=~".*tracking"})"#;
const PARTITIONS: &str = "count by (instance) (postrider_consumer_lag)";
const OF_THE_SOURCES: &str = r#"count by (instance) (postrider_consumer_lag{topic!~".*retry.*"})"#;
const STEP: Duration = Duration::from_secs(1);

/// Waits, and tells the lag meanwhile, as Prometheus has it.
async fn watch(prometheus: &Prometheus, what: &str, time: Duration) -> Result<()> {
    let began = Clock::system().now();
    sleep(time).await;
    let over = prometheus.ask_over(LAG, (began, Clock::system().now()), STEP).await?;
    let values = over.iter().flat_map(|series| &series.values);
    let told: Vec<String> = values.map(|(_, lag)| lag.to_string()).collect();
    say(&format!(
        "scale: {what}: events behind, second by second: {}",
        told.join(" ")
    ));
    Ok(())
}

/// How many partitions each instance has, as Prometheus has it, those with the fewest first.
async fn owned(prometheus: &Prometheus, query: &str) -> Result<Vec<f64>> {
    let counts = prometheus.ask(query).await?;
    let mut counts: Vec<f64> = counts
        .iter()
        .filter_map(|series| Some(series.values.first()?.1))
        .collect();
    counts.sort_by(f64::total_cmp);
    Ok(counts)
}

/// Waits until nothing is parked any more. Where that does not come, tells what each instance shows.
async fn nothing_parked(prometheus: &Prometheus) -> Result<()> {
    let empty = || async {
        let pending = prometheus.ask("sum(postrider_webhook_pending) > 0").await?;
        Ok(pending.is_empty().then_some(()))
    };
    let waited = until("nothing parked in Prometheus", PATIENCE * 2, empty).await;
    if waited.is_err() {
        for query in [
            "postrider_webhook_pending > 0",
            "postrider_parked_lag_seconds > 1",
            "postrider_partitions_paused",
            "postrider_circuits_open",
            "postrider_in_flight",
            "postrider_held_events",
            "postrider_consumer_lag > 0",
        ] {
            for series in prometheus.ask(query).await? {
                say(&format!("scale: {query}: {:?} {:?}", series.labels, series.values));
            }
        }
    }
    waited
}

/// The one that goes has a name that does not come back, so that its partitions wait for the end of its session.
#[tokio::test]
async fn one_instance_becomes_three_and_then_two_and_each_delivery_is_made_once() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = groups::resting("scale").await?;
    let targets: Result<Vec<SocketAddr>> = ["a", "b", "c"].map(|name| trial.admin(name)).into_iter().collect();
    let prometheus = Prometheus::start(&targets?, 1).await?;
    let phase = turn::sized(Duration::from_secs(8), Duration::from_secs(60));

    let first = trial.start("a").await?;
    watch(&prometheus, "one instance", phase).await?;
    let (second, mut third) = (trial.start("b").await?, trial.start("c").await?);
    watch(&prometheus, "three instances", phase).await?;
    let shared = || async { Ok((owned(&prometheus, OF_THE_SOURCES).await? == [2.0; 3]).then_some(())) };
    until(
        "each of three instances reads two partitions of the sources",
        PATIENCE,
        shared,
    )
    .await?;
    let counts = owned(&prometheus, PARTITIONS).await?;
    say(&format!(
        "scale: they have {counts:?} partitions, two of the sources each"
    ));
    assert!(third.stop().await?.success());
    watch(
        &prometheus,
        "two instances, the third's partitions waiting at first",
        phase * 2,
    )
    .await?;

    trial.unload().await?;
    let behind = || async {
        let lag = prometheus.ask(LAG).await?;
        let (_, lag) = lag.first().and_then(|series| series.values.first()).context("a lag")?;
        Ok((*lag == 0.0).then_some(()))
    };
    until("no lag in Prometheus", PATIENCE * 2, behind).await?;
    nothing_parked(&prometheus).await?;
    let verdict = trial.judge(&mut [first, second], Bounds::NOTHING).await?;
    assert_eq!(verdict.numbers.repeated, 0, "nothing was sent twice");
    Ok(())
}
