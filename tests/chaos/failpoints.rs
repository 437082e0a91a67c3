//! The process ends, as by kill -9, at each point where something is half done: K1 to K5 and K7 to K10 of the
//! failure matrix. (K6, a reply that is lost, is in `links`.) Needs a binary that was built with failpoints.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use postrider_tests::laws::{Bounds, Verdict};
use postrider_tests::{Daemon, Topic};
use tokio::time::sleep;

use crate::trial::{BOUNDS, Trial, say};
use crate::turn;

/// How long the load goes on before and after an abort.
const WHILE: Duration = Duration::from_secs(2);

/// Ends the process at a failpoint under load, starts it again, and judges what came of it.
async fn ended_at(trial: &mut Trial, failpoint: &str, bounds: Bounds) -> Result<Verdict> {
    trial.begin().await?;
    trial.load()?;
    trial.abort_at("a", failpoint).await?;
    let daemon = trial.start("a").await?;
    sleep(WHILE).await;
    trial.judge(&mut [daemon], bounds).await
}

/// How many attempts a reader of uncommitted records sees more than once.
async fn seen_twice(results: &Topic) -> Result<usize> {
    let mut copies: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for record in results.read_uncommitted().await? {
        let outcome: serde_json::Value = serde_json::from_slice(&record.value.unwrap_or_default())?;
        let delivery = outcome["delivery_id"].as_str().unwrap_or_default().to_owned();
        *copies
            .entry((delivery, outcome["attempt"].as_u64().unwrap_or(0)))
            .or_default() += 1;
    }
    Ok(copies.values().filter(|copies| **copies > 1).count())
}

#[tokio::test]
async fn k1_ended_after_the_poll_nothing_was_sent_and_nothing_is_lost() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("k1-first").await?;
    let costs_nothing = Bounds { per_crash: 0, ..BOUNDS };
    let verdict = ended_at(&mut trial, "k1=1", costs_nothing).await?;
    assert_eq!(verdict.numbers.repeated, 0);
    Ok(())
}

#[tokio::test]
async fn k1_ended_after_a_poll_under_load_only_what_was_in_flight_comes_again() -> Result<()> {
    let _turn = turn::shared().await;
    ended_at(&mut Trial::new("k1").await?, "k1=150", BOUNDS).await.map(drop)
}

#[tokio::test]
async fn k2_ended_with_a_request_sent_its_attempt_is_repeated_under_the_same_number() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("k2").await?;
    let verdict = ended_at(&mut trial, "k2=200", BOUNDS).await?;
    assert!(verdict.numbers.repeated >= 1, "what was in flight is sent again");
    Ok(())
}

#[tokio::test]
async fn k3_ended_with_an_answer_judged_its_attempt_is_told_once() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("k3").await?;
    let verdict = ended_at(&mut trial, "k3=200", BOUNDS).await?;
    assert!(verdict.numbers.repeated >= 1, "what was judged is sent again");
    Ok(())
}

#[tokio::test]
async fn k4_ended_with_the_records_published_they_are_never_visible() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("k4").await?;
    ended_at(&mut trial, "k4=8", BOUNDS).await?;
    let twice = seen_twice(&trial.scene.topic("results")).await?;
    assert!(twice > 0, "the first copies were published");
    say(&format!("k4: {twice} attempts have an aborted copy"));
    Ok(())
}

#[tokio::test]
async fn k5_ended_with_the_offsets_sent_neither_they_nor_the_records_count() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("k5").await?;
    ended_at(&mut trial, "k5=8", BOUNDS).await?;
    assert!(seen_twice(&trial.scene.topic("results")).await? > 0);
    Ok(())
}

/// The other instance has to wait until the open transaction's time is over; that time is measured.
#[tokio::test]
async fn k5_another_instance_takes_over_what_an_open_transaction_held() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("k5-takeover").await?;
    trial.property("session.timeout.ms", 6_000);
    trial.property("transaction.timeout.ms", 8_000);
    trial.property("message.timeout.ms", 6_000);
    trial.property("socket.timeout.ms", 5_000);
    trial.begin().await?;
    trial.load()?;
    let other = trial.start("b").await?;
    let mut aborting = Daemon::spawn_to_abort(&trial.instance("a")?, "k5=8").await?;
    trial.aborted(&mut aborting).await?;
    let (ended, aborted) = (trial.endpoints.now(), trial.loading()?.sent());
    sleep(WHILE).await;
    trial.unload().await?;
    let bounds = Bounds {
        per_crash: 1_500,
        horizon: Duration::from_secs(60),
    };
    trial.judge(&mut [other], bounds).await?;
    let took = trial.endpoints.now().since(ended);
    say(&format!(
        "k5-takeover: {aborted} events were in; everything had ended {took:?} after the abort"
    ));
    Ok(())
}

#[tokio::test]
async fn k7_ended_after_the_commit_nothing_of_it_is_sent_again() -> Result<()> {
    let _turn = turn::shared().await;
    ended_at(&mut Trial::new("k7").await?, "k7=8", BOUNDS).await.map(drop)
}

/// Ends one of two instances while it gives partitions to the other; returns the other.
async fn ended_while_giving(trial: &mut Trial) -> Result<Daemon> {
    trial.property("session.timeout.ms", 6_000);
    trial.begin().await?;
    trial.load()?;
    let mut giving = Daemon::spawn_to_abort(&trial.instance("a")?, "k8=1").await?;
    giving.ready().await?;
    sleep(WHILE).await;
    let other = Daemon::spawn(&trial.instance("b")?).await?;
    trial.aborted(&mut giving).await?;
    Ok(other)
}

#[tokio::test]
async fn k8_ended_while_giving_partitions_back_their_new_owner_goes_on_where_they_were() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("k8").await?;
    let other = ended_while_giving(&mut trial).await?;
    sleep(WHILE).await;
    trial.judge(&mut [other], BOUNDS).await.map(drop)
}

/// The member comes back within its session, before the partitions it was giving have an owner.
#[tokio::test]
async fn k8_ended_while_giving_partitions_back_and_started_again_at_once_no_partition_is_left_alone() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("k8-again").await?;
    let other = ended_while_giving(&mut trial).await?;
    let again = trial.start("a").await?;
    sleep(WHILE).await;
    trial.judge(&mut [other, again], BOUNDS).await.map(drop)
}

#[tokio::test]
async fn k9_ended_with_a_retry_released_it_is_repeated_under_the_same_number() -> Result<()> {
    let _turn = turn::shared().await;
    ended_at(&mut Trial::new("k9").await?, "k9=60", BOUNDS).await.map(drop)
}

#[tokio::test]
async fn k10_ended_again_and_again_while_starting_nothing_is_consumed() -> Result<()> {
    let _turn = turn::shared().await;
    let mut trial = Trial::new("k10").await?;
    trial.begin().await?;
    trial.load_of(500, 300)?;
    trial.loaded().await?;
    for _ in 0..turn::sized(5, 20) {
        trial.abort_at("a", "k10=1").await?;
    }
    assert_eq!(trial.endpoints.total(), 0, "nothing is sent before the start");
    assert_eq!(trial.source().committed(trial.scene.group()).await?.len(), 0);
    let daemon = trial.start("a").await?;
    let verdict = trial.judge(&mut [daemon], Bounds::NOTHING).await?;
    assert_eq!(
        (verdict.numbers.crashes, verdict.numbers.repeated),
        (turn::sized(5, 20), 0)
    );
    Ok(())
}
