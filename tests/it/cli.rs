//! The command line: what it prints, and the exit code of each end.

use anyhow::Result;
use postrider_tests::binary::{Ran, run};
use postrider_tests::contract::schemas;
use postrider_tests::{Scene, port};
use serde_json::json;

use crate::delivery::webhook;

async fn run_on(scene: &Scene, arguments: &[&str]) -> Result<Ran> {
    let path = scene.write_config()?;
    run(&[arguments, &["--config", &path.to_string_lossy()]].concat()).await
}

#[tokio::test]
async fn help_names_every_command() -> Result<()> {
    let ran = run(&["--help"]).await?;
    assert_eq!(ran.code, Some(0));
    for command in [
        "run",
        "demo",
        "check-config",
        "topics",
        "route",
        "schema",
        "receive",
        "completions",
    ] {
        let listed = ran.stdout.lines().any(|line| line.trim_start().starts_with(command));
        assert!(listed, "{command}:\n{}", ran.stdout);
        let help = run(&[command, "--help"]).await?;
        assert_eq!(help.code, Some(0), "{command}");
    }
    Ok(())
}

#[tokio::test]
async fn bad_usage_is_64() -> Result<()> {
    for arguments in [
        &["frobnicate"][..],
        &["run", "--frobnicate"],
        &["topics"],
        &[],
        &["replay", "--from", "2h", "--rate", "0"],
        &["replay", "--from", "2h", "--result", "success"],
        &["logs", "--retry", "x"],
    ] {
        let ran = run(arguments).await?;
        assert_eq!(ran.code, Some(64), "{arguments:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert_ne!(ran.stderr, "", "{arguments:?}");
    }
    Ok(())
}

#[tokio::test]
async fn schemas_are_printed_as_they_are_in_the_repository() -> Result<()> {
    for name in [
        "outcome.v1",
        "order_shipped.v1",
        "order_error.v1",
        "tracking_update.v1",
        "webhook.v1",
        "notice.v1",
        "webhook-record.v1",
    ] {
        let ran = run(&["schema", name]).await?;
        let file = std::fs::read_to_string(schemas().join(format!("{name}.json")))?;
        assert_eq!((ran.code, ran.stdout.trim_end()), (Some(0), file.trim_end()), "{name}");
    }
    let topics = std::fs::read_to_string(schemas().join("asyncapi.yaml"))?;
    assert_eq!(run(&["schema", "asyncapi"]).await?.stdout.trim_end(), topics.trim_end());
    let unknown = run(&["schema", "nonsense.v1"]).await?;
    assert!(matches!(unknown.code, Some(1 | 64)), "{unknown:?}");
    assert!(
        unknown.stderr.contains("outcome.v1"),
        "it names those there are: {unknown:?}"
    );
    Ok(())
}

#[tokio::test]
async fn completions_are_printed_for_shells() -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]).await?;
        assert_eq!(ran.code, Some(0), "{shell}");
        assert!(ran.stdout.contains("check-config"), "{shell}");
    }
    Ok(())
}

#[tokio::test]
async fn route_shows_who_would_get_an_event_and_why_not_the_others() -> Result<()> {
    let mut scene = Scene::at("127.0.0.1:1", "cli")?;
    let url = || "https://merchant.example/hooks".to_owned();
    let mut filtered = webhook("wh_ups", url(), &["tracking_update"]);
    filtered["filter"] = json!({ "TrackingCarrier": ["UPS"] });
    let mut disabled = webhook("wh_off", url(), &["tracking_update"]);
    disabled["enabled"] = json!(false);
    scene.webhooks([
        webhook("wh_yes", url(), &["tracking_update"]),
        webhook("wh_orders", url(), &["order_shipped"]),
        filtered,
        disabled,
    ]);
    let event = schemas().join("samples/tracking_update.json");
    let arguments = [
        "route",
        "--type",
        "tracking_update",
        "--event",
        &*event.to_string_lossy(),
    ];
    let ran = run_on(&scene, &arguments).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let line = |id: &str| {
        ran.stdout
            .lines()
            .find(|line| line.contains(id))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(line("wh_ups").contains("TrackingCarrier"), "{}", ran.stdout);
    assert!(line("wh_orders").contains("tracking_update"), "{}", ran.stdout);
    assert!(line("wh_off").contains("disabled"), "{}", ran.stdout);
    assert_ne!(line("wh_yes"), "", "{}", ran.stdout);
    Ok(())
}

#[tokio::test]
async fn topics_are_checked_made_and_found_right() -> Result<()> {
    let scene = Scene::new("cli").await?;
    let missing = run_on(&scene, &["topics", "check"]).await?;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    for topic in ["results", "dead-letters", "retry.500ms"] {
        let named = format!("{}{}", missing.stdout, missing.stderr).contains(scene.topic(topic).name());
        assert!(named, "{topic}: {missing:?}");
    }
    for _ in 0..2 {
        let made = run_on(&scene, &["topics", "create"]).await?;
        assert_eq!(made.code, Some(0), "{made:?}");
    }
    let right = run_on(&scene, &["topics", "check"]).await?;
    assert_eq!(right.code, Some(0), "{right:?}");
    Ok(())
}

/// A broker takes a moment to tell of what it made.
#[tokio::test]
async fn topics_that_were_made_are_there_for_whoever_looks_next() -> Result<()> {
    for _ in 0..5 {
        let scene = Scene::new("cli-seen").await?;
        let made = run_on(&scene, &["topics", "create"]).await?;
        let right = run_on(&scene, &["topics", "check"]).await?;
        assert_eq!((made.code, right.code), (Some(0), Some(0)), "{right:?}");
    }
    Ok(())
}

#[tokio::test]
async fn kafka_out_of_reach_is_69() -> Result<()> {
    let mut scene = Scene::at(&format!("127.0.0.1:{}", port::free()), "cli")?;
    scene.config["kafka"]["properties"] = json!({ "socket.timeout.ms": "2000" });
    for verb in ["create", "check"] {
        let ran = run_on(&scene, &["topics", verb]).await?;
        assert_eq!(ran.code, Some(69), "{ran:?}");
        assert_eq!(
            ran.stderr.lines().filter(|line| line.starts_with("error")).count(),
            1,
            "{ran:?}"
        );
    }
    Ok(())
}
