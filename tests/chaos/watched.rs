//! A failing and a hanging endpoint under load, as it looks to whoever watches: a real Prometheus with the rules and alerts
//! of `deploy/prometheus`, and the queries of all dashboards.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use postrider_tests::Prometheus;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::prometheus::panels;
use serde_json::json;
use tokio::time::sleep;

use crate::trial::{Trial, say};
use crate::turn;

/// Events a second; each is owed to all three.
const RATE: u64 = 30;
const WEBHOOKS: [&str; 3] = ["healthy", "failing", "hanging"];
/// How many times sooner alerts fire than they do in production.
const HURRY: u32 = 60;
/// What fires, and for what: two endpoints do nothing but fail, so their circuits stay open.
const MEANT: [&str; 3] = [
    "PostriderCircuitsOpen",
    "PostriderWebhookFailing failing",
    "PostriderWebhookFailing hanging",
];

/// What tells that a machine is too slow for its work, which one that runs tests may be.
const OF_A_SLOW_MACHINE: [&str; 4] = [
    "PostriderCommitsSlow",
    "PostriderPartitionsPaused",
    "PostriderRetriesImprecise",
    "PostriderRetriesLate",
];

async fn trial() -> Result<Trial> {
    let mut trial = Trial::new("watched").await?;
    trial.usual_schedule();
    let hooks = trial.hooks(&WEBHOOKS);
    trial.owe(&WEBHOOKS, hooks);
    trial.endpoints.always("/healthy", 200, Duration::from_millis(5));
    trial.endpoints.always("/failing", 503, Duration::ZERO);
    trial.endpoints.always("/hanging", 200, Duration::from_secs(600));
    trial.scene.config["delivery"]["timeout"] = json!("2s");
    trial.scene.config["delivery"]["connect_timeout"] = json!("1s");
    trial.scene.config["delivery"]["circuit"] = json!({ "failures": 20, "open": "5s", "max_open": "1m" });
    trial.scene.config["admin"]["logs"] = json!({ "path": trial.scene.folder().join("logs.db") });
    trial.begin().await?;
    Ok(trial)
}

/// The alerts that fire but for those of a slow machine, each with its webhook where it has one.
async fn firing(prometheus: &Prometheus) -> Result<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    for alert in prometheus.firing().await? {
        let name = &alert["alertname"];
        if !OF_A_SLOW_MACHINE.contains(&name.as_str()) {
            let webhook = alert.get("webhook").map(|webhook| format!("{name} {webhook}"));
            named.insert(webhook.unwrap_or_else(|| name.clone()));
        }
    }
    Ok(named)
}

/// The titles of the panels that have nothing to show yet.
async fn empty_panels(prometheus: &Prometheus) -> Result<BTreeSet<String>> {
    let mut empty = BTreeSet::new();
    for (title, query) in panels()? {
        if prometheus.ask(&query).await?.is_empty() {
            empty.insert(title);
        }
    }
    Ok(empty)
}

#[tokio::test]
async fn with_a_failing_and_a_hanging_endpoint_every_panel_shows_data_and_the_alerts_meant_for_them_fire() -> Result<()>
{
    let _turn = turn::shared().await;
    let mut trial = trial().await?;
    let prometheus = Prometheus::start(&[trial.admin("a")?], HURRY).await?;
    let mut daemon = trial.start("a").await?;
    trial.load_of(RATE, u64::MAX)?;

    let shown = || async { Ok(empty_panels(&prometheus).await?.is_empty().then_some(())) };
    let shown = until("data of every panel", PATIENCE * 2, shown).await;
    say(&format!(
        "watched: {} queries; panels without data: {:?}",
        panels()?.len(),
        empty_panels(&prometheus).await?
    ));
    shown?;

    let meant: BTreeSet<String> = MEANT.map(str::to_owned).into();
    let fire = || async { Ok((firing(&prometheus).await? == meant).then_some(())) };
    let fired = until("the alerts to fire", PATIENCE * 2, fire).await;
    say(&format!("watched: firing: {:?}", firing(&prometheus).await?));
    fired?;
    // Those that wait longest have had their time by then.
    sleep(turn::sized(Duration::from_secs(10), Duration::from_secs(60))).await;
    assert_eq!(firing(&prometheus).await?, meant);
    assert!(daemon.stop().await?.success());
    Ok(())
}
