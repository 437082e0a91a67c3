//! Instances share the work: each has as many partitions of the sources as the others, and as many of the retry topics.

use anyhow::Result;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Daemon, Scene};
use serde_json::json;

const SOURCES: [&str; 2] = ["orders", "moves"];
/// Of each source.
const PARTITIONS: i32 = 12;
/// Of all retry topics of the usual schedule: seven, of 6 each.
const RETRY_PARTITIONS: usize = 42;

/// How many partitions of the sources an instance has, and how many of the retry topics.
async fn owned(daemon: &Daemon) -> Result<(usize, usize)> {
    let (_, text) = daemon.get("/metrics").await?;
    let lags = text.lines().filter(|line| line.starts_with("postrider_consumer_lag{"));
    let (retries, sources): (Vec<&str>, Vec<&str>) = lags.partition(|line| line.contains(".retry."));
    Ok((sources.len(), retries.len()))
}

/// Waits until each has its share, give or take two.
async fn shared(daemons: &[Daemon]) -> Result<()> {
    let fair = |each: usize, all: usize| each.abs_diff(all / daemons.len()) <= 2;
    let all = || async {
        let mut each = Vec::new();
        for daemon in daemons {
            each.push(owned(daemon).await?);
        }
        let (sources, retries): (Vec<usize>, Vec<usize>) = each.into_iter().unzip();
        let (of_sources, of_retries): (usize, usize) = (sources.iter().sum(), retries.iter().sum());
        let is_fair = of_sources == 24
            && of_retries == RETRY_PARTITIONS
            && sources.iter().all(|each| fair(*each, of_sources))
            && retries.iter().all(|each| fair(*each, of_retries));
        Ok(is_fair.then_some(()))
    };
    let waited = until("each instance has its share of both kinds", PATIENCE * 2, all).await;
    if waited.is_err() {
        for daemon in daemons {
            eprintln!("spread: {:?} of the sources and the retry topics", owned(daemon).await);
        }
    }
    waited
}

/// Two sources of 12 partitions, and the retry topics of the usual schedule.
async fn scene(name: &str) -> Result<Scene> {
    let mut scene = Scene::new(name).await?;
    for source in SOURCES {
        scene.topic(source).create(PARTITIONS).await?;
    }
    let sources = SOURCES.map(|source| json!({ "topic": scene.topic(source).name(), "event": "tracking_update" }));
    scene.config["consumer"]["sources"] = sources.into_iter().collect();
    scene.config["delivery"]["retry"] = json!({});
    scene.config["topics"]["retry_partitions"] = json!(6);
    scene.create_topics().await?;
    Ok(scene)
}

#[tokio::test]
async fn one_instance_that_becomes_three_gives_two_thirds_of_each_kind_away() -> Result<()> {
    let scene = scene("becomes-three").await?;
    let mut daemons = vec![Daemon::start(&scene.write_instance("a")?).await?];
    shared(&daemons).await?;
    for name in ["b", "c"] {
        daemons.push(Daemon::start(&scene.write_instance(name)?).await?);
    }
    shared(&daemons).await
}

#[tokio::test]
async fn three_instances_that_start_at_once_share_each_kind() -> Result<()> {
    let scene = scene("at-once").await?;
    let mut daemons = Vec::new();
    for name in ["a", "b", "c"] {
        daemons.push(Daemon::spawn(&scene.write_instance(name)?).await?);
    }
    for daemon in &mut daemons {
        daemon.ready().await?;
    }
    shared(&daemons).await
}
