//! The way between daemon and broker breaks: cut, slowed, swallowing everything, and swallowing the one reply that
//! says whether a transaction took effect (K6). The tests themselves go past the proxy.

use std::time::Duration;

use anyhow::Result;
use postrider_tests::laws::{Bounds, Verdict};
use postrider_tests::proxy::{END_TXN, Way};
use postrider_tests::{Broker, Daemon, Proxy, Scene, Sent, Topic, port};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::trial::{BOUNDS, Trial};
use crate::turn;

/// A broker with a proxy before it that daemons go through.
struct Link {
    broker: Broker,
    proxy: Proxy,
    port: u16,
}

impl Link {
    async fn new() -> Result<Self> {
        let port = port::free();
        let broker = Broker::start_with(1, vec![("KAFKA_PROXIED", port.to_string())]).await?;
        let proxy = Proxy::open(port, broker.proxied(1)?).await?;
        Ok(Self { broker, proxy, port })
    }

    async fn trial(&self, name: &'static str) -> Result<Trial> {
        let mut trial = Trial::on(&self.broker, name).await?;
        trial.scene.config["kafka"]["brokers"] = json!(format!("127.0.0.1:{}", self.port));
        // Soon enough for a test, and still longer than anything on a slow machine takes.
        trial.property("socket.timeout.ms", 3_000);
        trial.property("session.timeout.ms", 120_000);
        trial.begin().await?;
        trial.load()?;
        Ok(trial)
    }
}

/// Loses the reply of one commit under load.
async fn reply_lost(link: &Link, name: &'static str) -> Result<(Trial, Daemon)> {
    let trial = link.trial(name).await?;
    let daemon = trial.start("a").await?;
    sleep(Duration::from_secs(2)).await;
    link.proxy.swallow_reply(END_TXN);
    link.proxy.swallowed(1).await?;
    Ok((trial, daemon))
}

#[tokio::test]
async fn k6_the_reply_to_a_commit_is_lost_and_the_daemon_finds_out_by_itself() -> Result<()> {
    let _turn = turn::shared().await;
    let link = Link::new().await?;
    let (mut trial, daemon) = reply_lost(&link, "k6").await?;
    sleep(Duration::from_secs(5)).await;
    trial.judge(&mut [daemon], Bounds::NOTHING).await.map(drop)
}

#[tokio::test]
async fn k6_the_reply_to_a_commit_is_lost_and_the_daemon_with_it() -> Result<()> {
    let _turn = turn::shared().await;
    let link = Link::new().await?;
    let (mut trial, mut daemon) = reply_lost(&link, "k6-killed").await?;
    trial.kill(&mut daemon).await?;
    let daemon = trial.start("a").await?;
    sleep(Duration::from_secs(1)).await;
    trial.judge(&mut [daemon], BOUNDS).await.map(drop)
}

/// Nothing crashes here, and the session outlasts it all, the client's waits of up to 10 s between connections
/// included: nothing is sent twice.
#[tokio::test]
async fn cut_slow_and_swallowing_ways_cost_time_and_nothing_else() -> Result<()> {
    let _turn = turn::shared().await;
    let link = Link::new().await?;
    let mut trial = link.trial("ways").await?;
    let daemon = trial.start("a").await?;
    for _ in 0..turn::sized(5, 60) {
        sleep(
            trial
                .seed
                .between(Duration::from_millis(100), Duration::from_millis(900)),
        )
        .await;
        link.proxy.make(Way::Cut);
        sleep(
            trial
                .seed
                .between(Duration::from_millis(10), Duration::from_millis(700)),
        )
        .await;
        link.proxy.make(Way::Open);
    }
    link.proxy.make(Way::Slow(Duration::from_millis(40)));
    sleep(turn::sized(Duration::from_secs(3), Duration::from_secs(30))).await;
    link.proxy.make(Way::Swallowing);
    sleep(turn::sized(Duration::from_secs(5), Duration::from_secs(12))).await;
    link.proxy.make(Way::Open);
    sleep(Duration::from_secs(1)).await;
    let verdict: Verdict = trial.judge(&mut [daemon], Bounds::NOTHING).await?;
    assert_eq!(verdict.numbers.repeated, 0);
    Ok(())
}

/// The proxy keeps its own promises: what the tests above rest on.
#[tokio::test]
async fn a_way_that_is_cut_lets_nothing_pass_and_one_that_is_open_everything() -> Result<()> {
    let _turn = turn::shared().await;
    let link = Link::new().await?;
    let scene = Scene::on(&link.broker, "way").await?;
    let direct = scene.topic("tracking");
    let through = Topic::new(format!("127.0.0.1:{}", link.port), direct.name());
    through.produce([Sent::value("1")]).await?;
    for way in [Way::Cut, Way::Swallowing] {
        link.proxy.make(way);
        let (stuck, value) = (through.clone(), format!("{way:?}"));
        let sent = Sent::value(value.clone());
        let producing = tokio::spawn(async move { stuck.produce([sent]).await });
        sleep(Duration::from_secs(1)).await;
        assert_eq!(copies(&direct, &value).await?, 0, "{way:?}");
        link.proxy.make(Way::Open);
        producing.await??;
        assert_eq!(copies(&direct, &value).await?, 1, "{way:?}");
    }
    link.proxy.make(Way::Slow(Duration::from_millis(50)));
    let began = Instant::now();
    through.produce([Sent::value("2")]).await?;
    assert!(
        began.elapsed() >= Duration::from_millis(100),
        "a request and its reply wait each"
    );
    assert_eq!(copies(&through, "2").await?, 1);
    Ok(())
}

async fn copies(topic: &Topic, value: &str) -> Result<usize> {
    let records = topic.read().await?;
    Ok(records
        .iter()
        .filter(|record| record.value.as_deref() == Some(value.as_bytes()))
        .count())
}
