//! An offset that its partition does not have any more is no end of reading: a running daemon goes on where it should.

use std::time::Duration;

use anyhow::Result;
use postrider_tests::contract::sample;
use postrider_tests::{Daemon, Receiver, Scene, Sent};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::delivery::webhook;

fn events(count: usize) -> impl Iterator<Item = Sent> {
    (0..count).map(|_| Sent::value(sample("tracking_update")).partition(0))
}

async fn scene(name: &str, receiver: &Receiver) -> Result<Scene> {
    let mut scene = Scene::new(name).await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    Ok(scene)
}

async fn lost(daemon: &Daemon) -> Result<f64> {
    daemon.metric("postrider_source_events_lost_total", &[]).await
}

#[tokio::test]
async fn what_retention_removed_unread_is_counted_and_what_comes_then_is_delivered() -> Result<()> {
    let receiver = Receiver::start().await?;
    let scene = scene("retention", &receiver).await?;
    let daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    topic.produce(events(50)).await?;
    scene.outcomes(50).await?;

    daemon.signal(Signal::STOP)?;
    topic.produce(events(20)).await?;
    topic.trim().await?;
    daemon.signal(Signal::CONT)?;
    topic.produce(events(10)).await?;
    assert_eq!(scene.outcomes(60).await?.len(), 60);
    assert_eq!(lost(&daemon).await?, 20.0);
    assert_eq!(daemon.get("/readyz").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn a_source_topic_that_is_made_anew_is_read_from_its_beginning_as_it_stands() -> Result<()> {
    let receiver = Receiver::start().await?;
    let scene = scene("anew", &receiver).await?;
    let _daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    topic.produce(events(50)).await?;
    scene.outcomes(50).await?;

    topic.delete().await?;
    sleep(Duration::from_millis(500)).await;
    topic.create(3).await?;
    topic.produce(events(20)).await?;
    assert_eq!(scene.outcomes(70).await?.len(), 70);
    Ok(())
}
