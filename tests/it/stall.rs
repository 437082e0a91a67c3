//! Kafka stands still for longer than a member of the group may be silent. It does not go away: connections stay open,
//! and what was asked meanwhile is answered later, beside what is asked again.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use postrider_tests::contract::sample;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Broker, Daemon, Receiver, Scene, Sent};
use serde_json::json;
use tokio::time::sleep;

use crate::delivery::webhook;

#[tokio::test]
async fn every_instance_goes_on_by_itself_after_kafka_stood_still_for_longer_than_a_session() -> Result<()> {
    const EVENTS: usize = 20;
    let broker = Broker::start(1).await?;
    let receiver = Receiver::start().await?;
    let mut scene = Scene::on(&broker, "stall").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    scene.config["kafka"]["properties"]["session.timeout.ms"] = json!("6000");
    scene.create_topics().await?;
    let mut daemons = Vec::new();
    for instance in ["a", "b"] {
        daemons.push(Daemon::start(&scene.write_instance(instance)?).await?);
    }
    for turn in 1..=3 {
        broker.node("pause", 1).await?;
        sleep(Duration::from_secs(9)).await;
        broker.node("cont", 1).await?;
        let events = vec![Sent::value(sample("tracking_update")); EVENTS];
        scene.topic("tracking").produce(events).await?;
        // Some may be there twice: Kafka alone on its node forgets to abort transactions when it stands still.
        let all = || async {
            let outcomes = scene.outcomes(turn * EVENTS).await?;
            let different: BTreeSet<String> = outcomes.iter().map(|outcome| outcome.delivery_id.to_string()).collect();
            Ok((different.len() == turn * EVENTS).then_some(()))
        };
        until("an outcome of every event", PATIENCE, all).await?;
        for daemon in &mut daemons {
            assert_eq!(daemon.ended()?, None);
        }
    }
    for daemon in &mut daemons {
        assert!(daemon.stop().await?.success());
    }
    Ok(())
}
