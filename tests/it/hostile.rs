//! What endpoints that mean harm can do: nothing but fail, each for its own reason.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::contract::sample;
use postrider_tests::hostile::desyncing;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Behaviour, Daemon, Fate, Hostile, Receiver, Scene, Sent};
use postrider_types::{ErrorKind, Outcome, OutcomeResult};
use serde_json::{Value, json};

use crate::delivery::webhook;

/// Events that meet each behaviour: what leaks once leaks as often.
const MEETINGS: usize = 5;
/// Descriptors and tasks that may come and go by themselves: a client's second connection, whoever asks.
const LOOSE: f64 = 4.0;
/// How much longer than its deadline an attempt may take.
const GRACE: f64 = 500.0;

fn once(id: &str, url: String) -> Value {
    let mut hook = webhook(id, url, &["tracking_update"]);
    hook["retry"] = json!({ "enabled": false });
    hook
}

async fn open_descriptors(daemon: &Daemon) -> Result<f64> {
    daemon.metric("process_open_fds", &[]).await
}

fn fate(outcome: &Outcome) -> Result<Fate> {
    if let Some(error) = &outcome.error {
        return Ok(Fate::Unanswered(error.kind));
    }
    let response = outcome.response.as_ref().context("an answer has a response")?;
    Ok(Fate::Answered {
        status: outcome.status_code.context("an answer has a status")?,
        truncated: response.truncated,
    })
}

fn check(outcome: &Outcome, behaviour: &Behaviour) -> Result<()> {
    let came = fate(outcome)?;
    let broken = [
        ErrorKind::Reset,
        ErrorKind::ClosedBeforeResponse,
        ErrorKind::ConnectFailed,
    ];
    let expected = match behaviour.fate {
        Fate::Broken => broken.map(Fate::Unanswered).contains(&came),
        exact => came == exact,
    };
    ensure!(expected, "{}: {came:?} instead of {:?}", behaviour.name, behaviour.fate);
    let succeeded = matches!(behaviour.fate, Fate::Answered { status: 200, .. });
    ensure!(
        (outcome.result == OutcomeResult::Success) == succeeded,
        "{}",
        behaviour.name
    );
    ensure!(
        outcome.time_spent_ms.unwrap_or_default() <= 2_000.0 + GRACE,
        "{outcome:?}"
    );
    Ok(())
}

/// What of the attempts is not as the behaviours' table says.
fn faults(outcomes: &[Outcome], behaviours: &[Behaviour]) -> Vec<String> {
    let mut faults = Vec::new();
    for behaviour in behaviours {
        let met = outcomes
            .iter()
            .filter(|outcome| outcome.webhook_id.as_str() == behaviour.name);
        let checked: Vec<Result<()>> = met.map(|outcome| check(outcome, behaviour)).collect();
        if checked.len() != MEETINGS {
            faults.push(format!("{}: {} attempts", behaviour.name, checked.len()));
        }
        faults.extend(
            checked
                .into_iter()
                .filter_map(Result::err)
                .map(|fault| fault.to_string()),
        );
    }
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_behaviour_has_its_own_outcome_and_leaves_nothing_behind() -> Result<()> {
    let behaviours = Behaviour::all();
    let mut endpoints = Vec::new();
    for behaviour in &behaviours {
        endpoints.push(Hostile::start(*behaviour).await?);
    }
    let mut scene = Scene::new("hostile").await?;
    scene.config["delivery"]["timeout"] = json!("2s");
    scene.config["delivery"]["connect_timeout"] = json!("1s");
    scene.config["telemetry"]["log"] = json!("debug,librdkafka=info");
    let named = behaviours.iter().zip(&endpoints);
    let hooks = named.map(|(behaviour, endpoint)| once(behaviour.name, endpoint.url()));
    let receiver = Receiver::start().await?;
    let good = webhook("good", receiver.url("/good"), &["order_shipped"]);
    scene.webhooks(hooks.chain([good]));
    let mut daemon = scene.start().await?;
    // Everything that a delivery needs is open after the first.
    scene
        .topic("shipments")
        .produce([Sent::value(sample("order_shipped"))])
        .await?;
    scene.outcomes(1).await?;
    let before = (
        open_descriptors(&daemon).await?,
        daemon.metric("postrider_tasks", &[]).await?,
    );
    let tracking = scene.topic("tracking");
    tracking
        .produce(vec![Sent::value(sample("tracking_update")); MEETINGS])
        .await?;

    let outcomes = scene.outcomes(1 + MEETINGS * behaviours.len()).await?;
    assert_eq!(faults(&outcomes, &behaviours), [""; 0]);
    assert!(endpoints.iter().all(|endpoint| endpoint.accepted() > 0));

    let settled = || async {
        let in_flight = daemon.metric("postrider_in_flight", &[]).await?;
        let now = (
            open_descriptors(&daemon).await?,
            daemon.metric("postrider_tasks", &[]).await?,
        );
        let back = now.0 <= before.0 + LOOSE && now.1 <= before.1 + LOOSE;
        Ok((in_flight == 0.0 && back).then_some(now))
    };
    let after = until("descriptors and tasks to be back where they were", PATIENCE, settled).await?;
    eprintln!("descriptors and tasks: {before:?} before, {after:?} after");
    let series = daemon.get("/metrics").await?.1;
    let series = series.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series <= 2_000, "{series} series");
    assert_eq!(daemon.metric("postrider_panics_total", &[]).await?, 0.0);
    assert!(daemon.stop().await?.success());
    for line in daemon.log() {
        let parsed: serde_json::Result<BTreeMap<String, Value>> = serde_json::from_str(&line);
        assert!(parsed.is_ok_and(|fields| fields.contains_key("timestamp")), "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thousand_failures_of_a_server_out_of_step_are_no_success_of_another() -> Result<()> {
    const EACH: usize = 1_000;
    let mut scene = Scene::new("desync").await?;
    scene.config["delivery"]["circuit"]["failures"] = json!(1_000_000);
    let mut servers = Vec::new();
    let mut hooks = Vec::new();
    let gaps = [None, Some(Duration::ZERO), Some(Duration::from_millis(1))];
    for (number, gap) in gaps.into_iter().enumerate() {
        let (url, serving) = desyncing(gap).await?;
        hooks.push(once(&format!("wh_{number}"), url));
        servers.push(serving);
    }
    scene.webhooks(hooks);
    let _daemon = scene.start().await?;
    let event = Sent::value(sample("tracking_update"));
    scene.topic("tracking").produce(vec![event; EACH]).await?;
    let all = EACH * servers.len();
    let outcomes = scene.outcomes(all).await?;
    let failed = |outcome: &&Outcome| (outcome.result, outcome.status_code) == (OutcomeResult::Failed, Some(500));
    assert_eq!(outcomes.iter().filter(failed).count(), all);
    assert_eq!(outcomes.len(), all);
    servers.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}
