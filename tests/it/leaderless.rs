//! A partition that nobody leads keeps nobody else waiting, and is read once somebody does.

use anyhow::Result;
use postrider_tests::contract::sample;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Broker, Daemon, Receiver, Scene, Sent};
use rustix::process::Signal;
use serde_json::json;

use crate::delivery::webhook;

/// Which of the three has the partitions that nobody else has. Any will do.
const NODE: u32 = 2;

/// One to each partition, of three.
fn one_each() -> impl Iterator<Item = Sent> {
    (0..3).map(|partition| Sent::value(sample("tracking_update")).partition(partition))
}

/// Waits until Kafka knows that a node is gone.
async fn gone(scene: &Scene) -> Result<()> {
    let topic = scene.topic("moves");
    let noticed = || async { Ok((!topic.is_led().await?).then_some(())) };
    until("the node to be missed", PATIENCE, noticed).await
}

/// `moves` was read before the node died, `news` was not, and `lonely` is of that node alone.
#[tokio::test]
async fn what_others_lead_is_delivered_at_once_and_the_rest_when_its_leader_is_back() -> Result<()> {
    let broker = Broker::three_watchful().await?;
    let receiver = Receiver::start().await?;
    let mut scene = Scene::on(&broker, "leaderless").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    for (name, nodes) in [("moves", vec![1, 2, 3]), ("news", vec![1, 2, 3]), ("lonely", vec![2])] {
        scene.topic(name).create_on(&nodes).await?;
    }
    let source = |name: &str| json!({ "topic": scene.topic(name).name(), "event": "tracking_update" });
    let (first, all) = (
        json!([source("moves")]),
        json!([source("moves"), source("news"), source("lonely")]),
    );
    scene.config["consumer"]["sources"] = first;
    let mut daemon = scene.start().await?;
    scene.topic("moves").produce(one_each()).await?;
    scene.outcomes(3).await?;
    daemon.stop().await?;

    scene.topic("moves").produce(one_each()).await?;
    scene.topic("news").produce(one_each()).await?;
    scene
        .topic("lonely")
        .produce([Sent::value(sample("tracking_update"))])
        .await?;
    broker.node("kill9", NODE).await?;
    gone(&scene).await?;
    scene.config["consumer"]["sources"] = all;
    let mut daemon = Daemon::start(&scene.write_config()?).await?;
    assert_eq!(
        scene.outcomes(7).await?.len(),
        7,
        "two of each topic of three have a leader"
    );

    daemon.signal(Signal::TERM)?;
    assert_eq!(
        daemon.exit(PATIENCE).await?.code(),
        Some(0),
        "what is late keeps nobody from leaving"
    );
    let mut daemon = Daemon::start(&scene.write_config()?).await?;
    broker.node("restart", NODE).await?;
    assert_eq!(scene.outcomes(10).await?.len(), 10);
    scene.topic("moves").produce(one_each()).await?;
    assert_eq!(scene.outcomes(13).await?.len(), 13);
    daemon.stop().await.map(drop)
}

/// All partitions are of the node that is away: they are moved without ever having been read.
#[tokio::test]
async fn partitions_without_a_leader_move_between_instances_and_are_each_read_once() -> Result<()> {
    let broker = Broker::three_watchful().await?;
    let receiver = Receiver::start().await?;
    let mut scene = Scene::on(&broker, "late-moves").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    scene.topic("moves").create_on(&[2, 2, 2, 2]).await?;
    let source = json!({ "topic": scene.topic("moves").name(), "event": "tracking_update" });
    scene.config["consumer"]["sources"] = json!([source]);
    scene.create_topics().await?;
    let events = || (0..4).map(|partition| Sent::value(sample("tracking_update")).partition(partition));
    let mut first = Daemon::start(&scene.write_instance("a")?).await?;
    scene.topic("moves").produce(events()).await?;
    scene.outcomes(4).await?;
    first.stop().await?;

    scene.topic("moves").produce(events()).await?;
    broker.node("kill9", NODE).await?;
    gone(&scene).await?;
    first.restart().await?;
    let mut second = Daemon::start(&scene.write_instance("b")?).await?;
    second.says("it is read once they can").await?;
    broker.node("restart", NODE).await?;
    assert_eq!(scene.outcomes(8).await?.len(), 8);
    first.stop().await?;
    second.stop().await.map(drop)
}
