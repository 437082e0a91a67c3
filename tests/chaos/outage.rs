//! Kafka is away, and a real Prometheus with the alerts of `deploy/prometheus` looks on: whoever is woken is told why, and
//! need not do anything.

use std::time::Duration;

use anyhow::Result;
use postrider_tests::laws::Bounds;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Broker, Daemon, Prometheus};
use postrider_types::Timestamp;
use tokio::time::{Instant, sleep};

use crate::trial::{Trial, say};
use crate::turn;

const ALERT: &str = "PostriderKafkaDown";
/// Longer than a session may be silent, so that partitions count as lost and what was on its way may be sent again.
const BOUNDS: Bounds = Bounds {
    per_crash: 10_000,
    horizon: Duration::from_secs(120),
};

async fn fires(prometheus: &Prometheus) -> Result<bool> {
    Ok(prometheus
        .firing()
        .await?
        .iter()
        .any(|alert| alert["alertname"] == ALERT))
}

/// Ends the broker, and starts it again once the alert has fired and the time is over. Returns that time: until then
/// what was sent could not be recorded.
async fn outage(broker: &Broker, trial: &Trial, daemon: &Daemon, prometheus: &Prometheus) -> Result<Timestamp> {
    let began = Instant::now();
    broker.node("kill9", 1).await?;
    let fired = || async { Ok(fires(prometheus).await?.then_some(())) };
    until("the alert to fire", PATIENCE * 2, fired).await?;
    let after = began.elapsed();
    let (ready, reasons) = daemon.get("/readyz").await?;
    say(&format!(
        "outage: {ALERT} fires after {:.1} s; /readyz says {ready} {}",
        after.as_secs_f64(),
        reasons.trim()
    ));
    assert_eq!(ready, 503);
    assert!(reasons.contains("kafka"), "{reasons}");
    let sent = trial.endpoints.total();
    sleep(turn::sized(Duration::from_secs(12), Duration::from_secs(60)).saturating_sub(after)).await;
    say(&format!(
        "outage: {} s long; {} requests since the alert fired",
        began.elapsed().as_secs(),
        trial.endpoints.total() - sent
    ));
    assert_eq!(daemon.get("/healthz").await?.0, 200, "it is alive all the time");
    let at = trial.endpoints.now();
    broker.node("restart", 1).await?;
    Ok(at)
}

#[tokio::test]
async fn when_kafka_is_away_the_alert_fires_and_everything_mends_itself() -> Result<()> {
    let _turn = turn::shared().await;
    let broker = Broker::start(1).await?;
    let mut trial = Trial::on(&broker, "outage").await?;
    trial.patience = PATIENCE * 2;
    trial.begin().await?;
    trial.load()?;
    let prometheus = Prometheus::start(&[trial.admin("a")?], turn::sized(12, 1)).await?;
    let daemon = trial.start("a").await?;
    let reached = || async { Ok((!prometheus.ask("postrider_kafka_up == 1").await?.is_empty()).then_some(())) };
    until("Prometheus to see Kafka reached", PATIENCE, reached).await?;
    sleep(Duration::from_secs(4)).await;
    assert!(!fires(&prometheus).await?, "nothing is wrong yet");

    let at = outage(&broker, &trial, &daemon, &prometheus).await?;
    let back = Instant::now();
    let ready = || async { Ok((daemon.get("/readyz").await?.0 == 200).then_some(())) };
    until("/readyz to say yes", PATIENCE * 2, ready).await?;
    let resolved = || async { Ok((!fires(&prometheus).await?).then_some(())) };
    until("the alert to be over", PATIENCE, resolved).await?;
    say(&format!(
        "outage: over {:.1} s after the broker's start",
        back.elapsed().as_secs_f64()
    ));
    trial.crashed(at).await?;
    trial.crashed_again(trial.endpoints.now())?;
    trial.judge(&mut [daemon], BOUNDS).await?;
    Ok(())
}
