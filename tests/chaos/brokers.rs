//! Brokers die, freeze and come back; a source grows; topics are deleted and made anew; the results topic cannot
//! be written for a while.

use std::time::Duration;

use anyhow::Result;
use postrider_tests::laws::Bounds;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Broker, Daemon};
use tokio::time::sleep;

use crate::trial::{PARTITIONS, Trial, say};
use crate::turn;

/// What it costs when a call to Kafka never comes back and the daemon's watchdog ends it: all that it holds
/// settled and uncommitted, 10,000 records waiting and 5,000 in a batch, with three deliveries each. Where
/// nothing was ended, nothing may come again.
const WATCHDOG: Bounds = Bounds {
    per_crash: 45_000,
    horizon: Duration::from_secs(180),
};
/// How long nothing may come to an end: longer than the watchdog waits, and a start.
const STALL: Duration = Duration::from_secs(120);

/// The nodes to break: the group's coordinator alone in the quick form, all in turn from there in the long one.
async fn nodes(broker: &Broker, trial: &Trial) -> Result<Vec<u32>> {
    let first: u32 = broker.coordinator(trial.scene.group()).await?;
    let all = (first..first + 3).map(|node| (node - 1) % 3 + 1);
    Ok(all.take(turn::sized(1, 3)).collect())
}

async fn loaded(broker: &Broker, name: &'static str) -> Result<Trial> {
    let mut trial = Trial::on(broker, name).await?;
    trial.patience = STALL;
    trial.begin().await?;
    trial.load()?;
    Ok(trial)
}

#[tokio::test]
async fn brokers_that_die_and_freeze_cost_time_and_nothing_else() -> Result<()> {
    let _turn = turn::shared().await;
    let broker = Broker::three_watchful().await?;
    let mut trial = loaded(&broker, "brokers").await?;
    let daemon = trial.start("a").await?;
    sleep(Duration::from_secs(2)).await;
    for (breaks, mends) in [("kill9", "restart"), ("pause", "cont")] {
        for node in nodes(&broker, &trial).await? {
            say(&format!("brokers: {breaks} node {node}"));
            broker.node(breaks, node).await?;
            sleep(Duration::from_secs(9)).await;
            broker.node(mends, node).await?;
            sleep(turn::sized(Duration::from_secs(2), Duration::from_secs(15))).await;
        }
    }
    trial.judge(&mut [daemon], WATCHDOG).await.map(drop)
}

/// Longer than a transaction may take and than the session lasts: the daemon is fenced and put out of the
/// group, and starts over by itself. What it had in flight may come again then.
#[tokio::test]
async fn all_brokers_freeze_for_a_minute() -> Result<()> {
    if !turn::is_long() {
        return Ok(());
    }
    let _turn = turn::shared().await;
    let broker = Broker::three_watchful().await?;
    let mut trial = loaded(&broker, "all-freeze").await?;
    let daemon = trial.start("a").await?;
    sleep(Duration::from_secs(5)).await;
    let at = trial.endpoints.now();
    for node in 1..=3 {
        broker.node("pause", node).await?;
    }
    sleep(Duration::from_secs(60)).await;
    for node in 1..=3 {
        broker.node("cont", node).await?;
    }
    trial.crashed(at).await?;
    trial.crashed_again(trial.endpoints.now())?;
    let bounds = Bounds {
        per_crash: 10_000,
        horizon: Duration::from_secs(90),
    };
    trial.judge(&mut [daemon], bounds).await.map(drop)
}

#[tokio::test]
async fn partitions_that_a_source_gains_are_read_from_their_beginning() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("wider").await?;
    trial.property("topic.metadata.refresh.interval.ms", 2_000);
    trial.begin().await?;
    trial.load()?;
    let daemon = trial.start("a").await?;
    sleep(Duration::from_secs(1)).await;
    trial.source().widen(6).await?;
    trial.loading()?.widen(6);
    sleep(Duration::from_secs(5)).await;
    let verdict = trial.judge(&mut [daemon], Bounds::NOTHING).await?;
    let records = trial.source().read().await?;
    let gained = records.iter().filter(|record| record.partition >= 3).count();
    assert!(gained > 0, "the new partitions had events");
    assert_eq!(verdict.numbers.owed, records.len() * trial.webhooks.len());
    Ok(())
}

/// The deliveries that were parked in it are lost with it. Nothing else is, and what was lost is told of.
#[tokio::test]
async fn a_retry_topic_that_is_deleted_takes_what_was_parked_in_it_and_nothing_else() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("deleted").await?;
    trial.property("message.timeout.ms", 4_000);
    trial.property("topic.metadata.refresh.interval.ms", 2_000);
    trial.begin().await?;
    trial.load()?;
    let daemon = trial.start("a").await?;
    sleep(Duration::from_secs(3)).await;
    trial.scene.topic("retry.1s").delete().await?;
    let told = || async {
        let (ready, reasons) = daemon.get("/readyz").await?;
        let named = ready == 503 && reasons.contains("retry.1s did not take a record");
        Ok(named.then_some(()))
    };
    until("/readyz to name the topic", PATIENCE, told).await?;
    daemon.says("has vanished").await?;
    trial.scene.create_topics().await?;
    let after = trial.ended().await?;
    let lost = trial.unended(Duration::from_secs(15)).await?;
    assert!(trial.ended().await? > after, "it goes on once the topic is there again");
    let pending = daemon.metric("postrider_webhook_pending", &[]).await?;
    say(&format!(
        "deleted: {lost} deliveries were parked in the topic that was deleted; {pending} are shown as parked"
    ));
    assert_eq!(
        pending, lost as f64,
        "what has no end is what was parked there, and is told of"
    );
    Ok(())
}

/// Its offsets begin anew, and the group's are of other records: nothing of the new ones may count as settled.
#[tokio::test]
async fn a_source_topic_that_is_made_anew_is_read_from_its_beginning() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("anew").await?;
    trial.property("topic.metadata.refresh.interval.ms", 2_000);
    trial.begin().await?;
    let daemon = trial.start("a").await?;
    trial.load_of(500, 400)?;
    trial.loaded().await?;
    trial.all_ended(400).await?;
    trial.source().delete().await?;
    sleep(turn::sized(Duration::from_secs(3), Duration::from_secs(30))).await;
    trial.source().create(PARTITIONS).await?;
    // Fewer than before, so that the old offsets lie beyond the end.
    trial.load_of(500, 200)?;
    trial.loaded().await?;
    trial.all_ended(400 + 200).await?;
    drop(daemon);
    Ok(())
}

/// Waits until commits fail, and checks what that looks like.
async fn unwritable(trial: &mut Trial, daemon: &Daemon) -> Result<()> {
    let aborted = || async {
        let aborted = daemon
            .metric("postrider_transactions_total", &["result=\"aborted\""])
            .await?;
        Ok((aborted >= 1.0).then_some(()))
    };
    until("an aborted transaction", PATIENCE, aborted).await?;
    // Batches without a record of the topic may still commit for a moment.
    let mut before = trial.ended().await?;
    for _ in 0..10 {
        sleep(Duration::from_secs(2)).await;
        let now = trial.ended().await?;
        if std::mem::replace(&mut before, now) == now {
            break;
        }
    }
    sleep(turn::sized(Duration::from_secs(4), Duration::from_secs(40))).await;
    assert_eq!(trial.ended().await?, before, "nothing commits");
    let (ready, reasons) = daemon.get("/readyz").await?;
    say(&format!(
        "unwritable: {before} had ended; meanwhile /readyz says {ready} {}",
        reasons.trim()
    ));
    assert_eq!(ready, 503, "nothing can be recorded");
    Ok(())
}

#[tokio::test]
async fn while_the_results_topic_refuses_nothing_ends_and_afterwards_everything_does() -> Result<()> {
    let _turn = turn::shared().await;
    let broker = Broker::start(1).await?;
    let mut trial = loaded(&broker, "refusing").await?;
    let daemon = trial.start("a").await?;
    sleep(Duration::from_secs(2)).await;
    let results = trial.scene.topic("results");
    // Less than an outcome, and more than a transaction's marker, which has to be written to abort.
    broker
        .ask(&["topic-set", results.name(), "max.message.bytes=200"])
        .await?;
    unwritable(&mut trial, &daemon).await?;
    broker
        .ask(&["topic-set", results.name(), "max.message.bytes=1048588"])
        .await?;
    trial.judge(&mut [daemon], Bounds::NOTHING).await.map(drop)
}

/// Kafka takes no more in-sync replicas than there are replicas, so one of three has to be away.
#[tokio::test]
async fn while_the_results_topic_lacks_replicas_nothing_ends_and_afterwards_everything_does() -> Result<()> {
    if !turn::is_long() {
        return Ok(());
    }
    let _turn = turn::shared().await;
    let broker = Broker::three_watchful().await?;
    let mut trial = Trial::on(&broker, "lacking").await?;
    trial.patience = STALL;
    trial.property("message.timeout.ms", 3_000);
    trial.begin().await?;
    trial.load()?;
    let daemon = trial.start("a").await?;
    sleep(Duration::from_secs(2)).await;
    let results = trial.scene.topic("results");
    broker
        .ask(&["topic-set", results.name(), "min.insync.replicas=3"])
        .await?;
    let coordinator = broker.coordinator(trial.scene.group()).await?;
    broker.node("kill9", coordinator % 3 + 1).await?;
    unwritable(&mut trial, &daemon).await?;
    broker
        .ask(&["topic-set", results.name(), "min.insync.replicas=2"])
        .await?;
    broker.node("restart", coordinator % 3 + 1).await?;
    trial.judge(&mut [daemon], WATCHDOG).await.map(drop)
}
