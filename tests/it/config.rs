//! Configuration: every fault is named at once, secrets are never shown, and a missing Kafka is said, not died of.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use postrider_tests::contract::sample;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Broker, Daemon, Receiver, Scene, Sent, binary, port};
use serde_json::json;

use crate::delivery::webhook;

fn scene() -> Result<Scene> {
    Scene::at("127.0.0.1:1", "config")
}

async fn check(scene: &Scene) -> Result<binary::Ran> {
    let path = scene.write_config()?;
    binary::run(&["check-config", "--config", &path.to_string_lossy()]).await
}

#[tokio::test]
async fn every_fault_is_named_at_once() -> Result<()> {
    let mut scene = scene()?;
    let mut hook = webhook("wh_1", "ftp://merchant.example/".to_owned(), &["order_lost"]);
    hook["auth"] = json!({ "username": "u", "password": "hunter2" });
    scene.webhooks([hook]);
    scene.config["delivery"]["timeout"] = json!("soon");
    scene.config["delivery"]["retry"]["permanent_statuses"] = json!([503]);
    scene.config["consumer"]["max_held_bites"] = json!("1MiB");
    scene.config["egress"]["allow"] = json!(["10.0.0.0/99"]);
    scene.config["telemetry"] = json!({ "max_webhook_series": "many" });
    let ran = check(&scene).await?;
    assert_eq!(ran.code, Some(78), "{ran:?}");
    for named in [
        "routing.webhooks[0].events",
        "delivery.timeout",
        "consumer.max_held_bites",
        "telemetry.max_webhook_series",
    ] {
        assert!(ran.stderr.contains(named), "{named} is not named:\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("hunter2") && !ran.stdout.contains("hunter2"));
    Ok(())
}

#[tokio::test]
async fn faults_of_meaning_are_named_at_once_too() -> Result<()> {
    let mut scene = scene()?;
    scene.webhooks([
        webhook("wh_1", "http://169.254.169.254/latest".to_owned(), &["order_shipped"]),
        webhook("wh_1", "https://u:p@merchant.example/".to_owned(), &["order_shipped"]),
    ]);
    scene.config["delivery"]["retry"]["permanent_statuses"] = json!([503]);
    scene.config["admin"]["listen"] = json!("0.0.0.0:8080");
    let ran = check(&scene).await?;
    assert_eq!(ran.code, Some(78), "{ran:?}");
    for named in [
        "routing.webhooks[0].url",
        "routing.webhooks[1].url",
        "routing.webhooks[1].id",
        "delivery.retry.permanent_statuses",
        "admin.listen",
    ] {
        assert!(ran.stderr.contains(named), "{named} is not named:\n{}", ran.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_network_is_named() -> Result<()> {
    let mut scene = scene()?;
    scene.config["egress"] = json!({ "allow": ["10.0.0.0/99"], "deny": ["here"] });
    let ran = check(&scene).await?;
    assert_eq!(ran.code, Some(78), "{ran:?}");
    for named in ["egress.allow[0]", "egress.deny[0]"] {
        assert!(ran.stderr.contains(named), "{named} is not named:\n{}", ran.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn the_effective_configuration_is_printed_with_secrets_masked() -> Result<()> {
    let mut scene = scene()?;
    std::fs::write(scene.folder().join("secret"), "hunter2\n")?;
    let reference = format!("${{file:{}}}", scene.folder().join("secret").display());
    let mut hook = webhook("wh_1", "https://merchant.example/hooks".to_owned(), &["order_shipped"]);
    hook["auth"] = json!({ "username": "u", "password": reference });
    scene.webhooks([hook]);
    scene.config["kafka"]["properties"] = json!({ "sasl.password": "hunter3" });
    let path = scene.write_config()?;
    let mut command = binary::command(["check-config", "--format", "json", "--config"]).await?;
    command.arg(path).env("POSTRIDER_DELIVERY__TIMEOUT", "10s");
    let ran = binary::run_command(command).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stdout.contains("hunter"), "{}", ran.stdout);
    let shown: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!(shown["delivery"]["timeout"], "10s", "the environment beats the default");
    assert_eq!(
        shown["delivery"]["retry"]["initial"], "500ms",
        "the file beats the default"
    );
    assert_eq!(shown["delivery"]["retry"]["max_retries"], 10);
    assert_eq!(shown["routing"]["webhooks"][0]["auth"]["password"], "********");
    Ok(())
}

#[tokio::test]
async fn a_missing_file_and_broken_yaml_are_bad_configuration() -> Result<()> {
    let scene = scene()?;
    let missing = scene.folder().join("nowhere.yaml");
    let broken = scene.folder().join("broken.yaml");
    std::fs::write(&broken, "kafka:\n  brokers: [\n")?;
    for path in [&missing, &broken] {
        let ran = binary::run(&["check-config", "--config", &path.to_string_lossy()]).await?;
        assert_eq!(ran.code, Some(78), "{ran:?}");
        assert!(ran.stderr.contains(&*path.to_string_lossy()), "{ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_documented_file_is_the_default() -> Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/postrider.yaml");
    let run = async |configured: Option<&str>| -> Result<String> {
        let arguments = ["check-config", "--format", "json"].into_iter();
        let arguments = arguments.chain(configured.into_iter().flat_map(|file| ["--config", file]));
        let mut command: Command = binary::command(arguments).await?;
        command.env("POSTRIDER_INSTANCE_ID", "the-same");
        let ran = binary::run_command(command).await?;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        Ok(ran.stdout)
    };
    assert_eq!(run(Some(file)).await?, run(None).await?);
    Ok(())
}

#[tokio::test]
async fn without_kafka_the_daemon_says_so_and_keeps_trying() -> Result<()> {
    let scene = Scene::at(&format!("127.0.0.1:{}", port::free()), "config")?;
    let mut daemon = Daemon::spawn(&scene.write_config()?).await?;
    let answered = || async { Ok(daemon.get("/readyz").await.ok()) };
    let (status, body) = until("the admin port", PATIENCE, answered).await?;
    assert_eq!(status, 503);
    assert!(body.contains("kafka"), "{body}");
    assert_eq!(daemon.get("/healthz").await?.0, 200, "it is alive");
    daemon.says("Kafka").await?;
    assert_eq!(daemon.metric("postrider_kafka_up", &[]).await?, 0.0);
    let outlived = daemon.exit(Duration::from_secs(5)).await;
    assert!(outlived.is_err(), "it keeps trying");
    assert!(daemon.stop().await?.success(), "and still stops when asked");
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_the_brokers_find_too_long_is_named_with_what_to_set() -> Result<()> {
    let mut scene = Scene::new("config").await?;
    // The brokers' transaction.max.timeout.ms is 15 minutes unless set.
    scene.config["kafka"]["properties"]["transaction.timeout.ms"] = json!(900_001);
    scene.create_topics().await?;
    let mut daemon = Daemon::spawn(&scene.write_config()?).await?;
    let named = || async {
        let ready = daemon.get("/readyz").await.ok();
        Ok(ready.filter(|(status, body)| *status == 503 && body.contains("transaction.max.timeout.ms")))
    };
    let (_, body) = until("/readyz to name it", PATIENCE, named).await?;
    assert!(body.contains("900001 ms"), "{body}");
    assert!(daemon.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn when_kafka_comes_back_the_daemon_goes_on_by_itself() -> Result<()> {
    let broker = Broker::start(1).await?;
    let receiver = Receiver::start().await?;
    let mut scene = Scene::on(&broker, "outage").await?;
    // Longer than the broker is away on a slow machine: the member keeps its partitions, and nothing is sent again.
    scene.config["kafka"]["properties"]["session.timeout.ms"] = json!(120_000);
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    let daemon = scene.start().await?;
    let event = || Sent::value(sample("tracking_update"));
    scene.topic("tracking").produce([event()]).await?;
    scene.outcomes(1).await?;

    broker.node("kill9", 1).await?;
    let unready = || async { Ok((daemon.get("/readyz").await?.0 == 503).then_some(())) };
    until("/readyz to say no", PATIENCE, unready).await?;
    broker.node("restart", 1).await?;
    scene.topic("tracking").produce([event()]).await?;
    let outcomes = scene.outcomes(2).await?;
    assert_eq!(outcomes.len(), 2);
    assert_eq!(receiver.requests("/hook").len(), 2);
    let ready = || async { Ok((daemon.get("/readyz").await?.0 == 200).then_some(())) };
    until("/readyz to say yes", PATIENCE, ready).await
}
