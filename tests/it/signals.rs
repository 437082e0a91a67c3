//! Signals: SIGTERM drains and leaves with 0, a second one leaves at once, SIGHUP reads the webhooks again.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use postrider_tests::contract::sample;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Answer, Daemon, Receiver, Scene, Sent, promise};
use postrider_types::OutcomeResult;
use rustix::process::Signal;

use crate::delivery::webhook;

fn event() -> Sent {
    Sent::value(sample("tracking_update"))
}

/// A daemon with a webhook that leads to a path.
async fn started(receiver: &Receiver, path: &str) -> Result<(Scene, Daemon)> {
    let mut scene = Scene::new("signals").await?;
    scene.webhooks([webhook("wh_1", receiver.url(path), &["tracking_update"])]);
    let daemon = scene.start().await?;
    Ok((scene, daemon))
}

/// A pipe that nobody writes to, in place of a file.
fn hang(path: &Path) -> Result<()> {
    std::fs::remove_file(path)?;
    let made = Command::new("mkfifo").arg(path).status()?;
    ensure!(made.success(), "{made}");
    Ok(())
}

#[tokio::test]
async fn sigterm_lets_requests_in_flight_finish_and_sends_nothing_twice() -> Result<()> {
    const EVENTS: usize = 200;
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::ok().after(Duration::from_millis(300))]);
    let (scene, mut daemon) = started(&receiver, "/hook").await?;
    scene.topic("tracking").produce((0..EVENTS).map(|_| event())).await?;
    receiver.wait_for("/hook", 40).await?;

    let status = daemon.stop().await?;
    assert_eq!(status.code(), Some(0));
    let sent = receiver.requests("/hook").len();
    let settled = scene.outcomes(sent).await?;
    assert_eq!(settled.len(), sent, "every request in flight has its outcome");

    let _daemon = Daemon::start(&scene.write_config()?).await?;
    let outcomes = scene.outcomes(EVENTS).await?;
    let deliveries = promise::deliveries(&outcomes);
    assert_eq!(promise::ended_in(&deliveries, OutcomeResult::Success), EVENTS);
    assert_eq!(
        receiver.requests("/hook").len(),
        EVENTS,
        "a planned stop sends none twice"
    );
    Ok(())
}

#[tokio::test]
async fn the_second_signal_leaves_at_once() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::ok().after(Duration::from_secs(600))]);
    let (scene, mut daemon) = started(&receiver, "/hook").await?;
    scene.topic("tracking").produce([event()]).await?;
    receiver.wait_for("/hook", 1).await?;

    daemon.signal(Signal::TERM)?;
    let draining = || async { Ok((daemon.get("/readyz").await.map_or(503, |answer| answer.0) == 503).then_some(())) };
    until("/readyz to say no while it drains", PATIENCE, draining).await?;
    daemon.signal(Signal::TERM)?;
    // Much less than the 15 s that the request in flight would take, and the 20 s of `delivery.drain`.
    let status = daemon.exit(Duration::from_secs(8)).await?;
    assert!(!status.success(), "{status}");
    assert_eq!(status.signal(), None, "it leaves by itself");
    Ok(())
}

#[tokio::test]
async fn sighup_reads_the_webhooks_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    let (mut scene, daemon) = started(&receiver, "/old").await?;
    let topic = scene.topic("tracking");
    topic.produce([event()]).await?;
    receiver.wait_for("/old", 1).await?;

    scene.webhooks([webhook("wh_1", receiver.url("/new"), &["tracking_update"])]);
    scene.write_config()?;
    daemon.signal(Signal::HUP)?;
    let arrived = || async {
        topic.produce([event()]).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok((!receiver.requests("/new").is_empty()).then_some(()))
    };
    until("an event at the new URL", PATIENCE, arrived).await?;
    let old = receiver.requests("/old").len();
    let new = receiver.requests("/new").len();
    topic.produce([event(), event()]).await?;
    receiver.wait_for("/new", new + 2).await?;
    assert_eq!(receiver.requests("/old").len(), old);
    Ok(())
}

#[tokio::test]
async fn a_file_that_hangs_when_it_is_read_again_holds_nothing_up() -> Result<()> {
    let receiver = Receiver::start().await?;
    let (scene, mut daemon) = started(&receiver, "/hook").await?;
    let path = scene.write_config()?;
    hang(&path)?;
    daemon.signal(Signal::HUP)?;
    scene.topic("tracking").produce([event()]).await?;
    receiver.wait_for("/hook", 1).await?;
    let (status, _) = daemon.api("GET", "/webhooks", None).await?;
    assert_eq!(status, 200);

    std::fs::remove_file(&path)?;
    scene.write_config()?;
    daemon.signal(Signal::HUP)?;
    daemon.says("Webhooks reloaded").await?;

    hang(&path)?;
    daemon.signal(Signal::HUP)?;
    let ended = daemon.stop().await?;
    assert!(ended.success(), "nor does it keep the daemon from leaving: {ended}");
    Ok(())
}

#[tokio::test]
async fn a_broken_file_leaves_the_webhooks_as_they_were() -> Result<()> {
    let receiver = Receiver::start().await?;
    let (scene, mut daemon) = started(&receiver, "/hook").await?;
    let path = scene.write_config()?;
    // The second is what a file looks like that is just being written.
    for broken in ["routing: { webhooks: [ {", ""] {
        let lines = daemon.log().len();
        std::fs::write(&path, broken)?;
        daemon.signal(Signal::HUP)?;
        let complained = || async {
            let log = daemon.log();
            let kept = |line: &String| line.contains("going on with the old webhooks");
            Ok(log[lines..].iter().any(kept).then_some(()))
        };
        until("a complaint in the log", PATIENCE, complained).await?;
    }
    scene.topic("tracking").produce([event()]).await?;
    receiver.wait_for("/hook", 1).await?;
    assert_eq!(daemon.get("/readyz").await?.0, 200);
    assert!(daemon.stop().await?.success());
    Ok(())
}
