//! What one endpoint does is not felt by the others, and is answered by parking, circuits and disabling.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use postrider_types::webhook::WebhookStatus;
use postrider_types::{
    DeadLetterReason, ErrorKind, NoticeKind, OutcomeResult, ParkCause, Resolution, Timestamp, Webhook,
};
use prometheus::Registry;
use tokio::time::Instant;

use super::stage::*;
use crate::config::{CircuitConfig, Config};
use crate::samples::{self, Gate, Receiver, answer};

fn cause(resolution: &Resolution) -> Option<ParkCause> {
    resolution.parked.as_ref().map(|parked| parked.waiting.cause)
}

fn notices(resolution: &Resolution) -> Vec<NoticeKind> {
    resolution.notices.iter().map(|notice| notice.notice).collect()
}

fn of<'a>(resolutions: &'a [Resolution], webhook: &'a Webhook) -> impl Iterator<Item = &'a Resolution> {
    resolutions.iter().filter(move |one| {
        let outcome = one.outcome.as_ref().map(|outcome| &outcome.webhook_id);
        let parked = one.parked.as_ref().map(|parked| &parked.waiting.webhook_id);
        outcome.or(parked) == Some(&webhook.id)
    })
}

/// A webhook whose lane is never full here, however busy the machine.
fn roomy(id: &str, receiver: &Receiver) -> Arc<Webhook> {
    let mut webhook = samples::webhook(id, &receiver.url);
    webhook.max_in_flight = Some(64);
    Arc::new(webhook)
}

/// Answers with whatever status is set.
async fn switchable(status: u16) -> (Arc<AtomicU16>, Receiver) {
    let switch = Arc::new(AtomicU16::new(status));
    let set = Arc::clone(&switch);
    let receiver = Receiver::start(move |_, _| {
        let set = Arc::clone(&set);
        async move { answer(set.load(Ordering::SeqCst), "") }
    });
    (switch, receiver.await)
}

async fn slow(delay: Duration) -> Receiver {
    Receiver::start(move |_, _| async move {
        tokio::time::sleep(delay).await;
        answer(200, "{}")
    })
    .await
}

#[tokio::test]
async fn what_waits_for_a_hanging_endpoint_is_parked_and_the_others_go_on() {
    let (stuck, receiver) = (hanging().await, healthy().await);
    let config = Config {
        max_in_flight_per_webhook: 2,
        max_lane_wait: Duration::from_millis(300),
        drain: Duration::from_millis(10),
        ..Config::default()
    };
    let mut stage = Stage::with_room(&config, 1_000);
    let (bad, good) = (hook("wh_bad", &stuck), roomy("wh_good", &receiver));
    for _ in 0..20 {
        stage.offer(&bad).await;
        stage.offer(&good).await;
    }
    let resolutions = stage.resolutions(38).await;
    assert_eq!(of(&resolutions, &good).filter(|one| one.outcome.is_some()).count(), 20);
    let parked: Vec<_> = of(&resolutions, &bad).collect();
    assert_eq!(parked.len(), 18);
    for one in parked {
        assert_eq!((cause(one), one.outcome.is_none()), (Some(ParkCause::LaneSlow), true));
        let parked = one.parked.as_ref().unwrap();
        let progress = &parked.waiting.progress;
        assert_eq!((progress.attempts, progress.parkings), (0, 1));
        assert_eq!(parked.tier, Duration::from_secs(5));
        let wait = parked.waiting.due.since(START);
        assert!(wait >= Duration::from_millis(5_300) && wait < PATIENCE, "{wait:?}");
    }
    // Known to hang now: the next one does not even wait.
    stage.offer(&bad).await;
    assert_eq!(cause(&stage.next().await), Some(ParkCause::LaneSlow));
    assert_eq!(
        (
            stuck.open(),
            stage.metric(r#"postrider_parked_total{cause="lane_slow"}"#)
        ),
        (2, 19.0)
    );
    stage.end().await;
    assert_eq!(stage.resolutions(2).await.iter().filter_map(cause).count(), 2);
    assert_eq!(stage.losses.count(), 0);
}

#[tokio::test]
async fn the_kth_parking_without_an_attempt_takes_the_kth_step() {
    let stuck = hanging().await;
    let config = Config {
        max_in_flight_per_webhook: 1,
        max_lane_wait: Duration::from_millis(100),
        drain: Duration::from_millis(10),
        ..Config::default()
    };
    let mut stage = Stage::start(&config);
    let bad = hook("wh_bad", &stuck);
    stage.offer(&bad).await;
    let mut delivery = stage.delivery(&bad);
    for (parkings, step) in (1..).zip([5, 20, 80, 320, 1_280, 5_120, 18_000, 18_000].map(Duration::from_secs)) {
        stage.hand_over(delivery).await;
        let parked = stage.next().await.parked.unwrap();
        assert_eq!((parked.tier, parked.waiting.progress.parkings), (step, parkings));
        let wait = parked.waiting.due.since(START);
        let most = step + step.mul_f64(0.1).min(Duration::from_secs(30)) + PATIENCE;
        assert!(wait >= step && wait <= most, "{wait:?}");
        delivery = stage.delivery(&bad);
        (delivery.due, delivery.progress) = (Some(parked.waiting.due), parked.waiting.progress);
    }
    drop(delivery);
}

#[tokio::test]
async fn a_slow_endpoint_keeps_what_it_can_do_in_time_and_the_rest_is_parked() {
    const EVENTS: usize = 600;
    // 4 at once, 20 ms each: about 200 a second, about 100 within the time that a delivery may wait.
    let (slow, receiver) = (slow(Duration::from_millis(20)).await, healthy().await);
    let config = Config {
        max_in_flight_per_webhook: 4,
        max_lane_wait: Duration::from_millis(500),
        ..Config::default()
    };
    let mut stage = Stage::with_room(&config, 2 * EVENTS);
    let (bad, good) = (hook("wh_slow", &slow), roomy("wh_good", &receiver));
    for _ in 0..EVENTS {
        stage.offer(&bad).await;
        stage.offer(&good).await;
    }
    let resolutions = stage.resolutions(2 * EVENTS).await;
    let parked = of(&resolutions, &bad)
        .filter(|one| cause(one) == Some(ParkCause::LaneSlow))
        .count();
    let sent = of(&resolutions, &bad).filter(|one| one.outcome.is_some()).count();
    assert_eq!(parked + sent, EVENTS);
    assert!(parked >= 100 && sent >= 20, "{parked} parked, {sent} sent");
    let neighbour: Vec<_> = of(&resolutions, &good).collect();
    assert_eq!(neighbour.len(), EVENTS);
    assert!(
        neighbour.iter().all(|one| one.outcome.is_some()),
        "a healthy one is never parked"
    );
    assert_eq!(
        stage.metric(r#"postrider_parked_total{cause="lane_slow"}"#),
        parked as f64
    );
}

#[tokio::test]
async fn a_backlog_for_a_healthy_endpoint_is_not_parked_but_makes_the_source_wait() {
    let receiver = healthy().await;
    let config = Config {
        max_waiting_per_webhook: 40,
        ..Config::default()
    };
    let mut stage = Stage::with_room(&config, 2_000);
    let good = hook("wh_good", &receiver);
    for _ in 0..2_000 {
        stage.offer(&good).await;
    }
    let outcomes = stage.outcomes(2_000).await;
    assert!(outcomes.iter().all(|outcome| outcome.result == OutcomeResult::Success));
}

fn circuit(open: u64, max_open: u64) -> Config {
    Config {
        max_in_flight_per_webhook: 1,
        circuit: CircuitConfig {
            failures: 3,
            open: Duration::from_millis(open),
            max_open: Duration::from_millis(max_open),
        },
        ..patient()
    }
}

#[tokio::test]
async fn a_circuit_opens_parks_probes_with_retries_only_and_closes_by_a_success() {
    let (status, receiver) = switchable(500).await;
    let mut stage = Stage::start(&circuit(200, 400));
    let webhook = hook("wh_1", &receiver);
    let mut last = Instant::now();
    for opens in [false, false, true] {
        last = Instant::now();
        stage.offer(&webhook).await;
        let one = stage.next().await;
        assert_eq!((cause(&one), one.outcome.is_some()), (Some(ParkCause::Retry), true));
        assert_eq!(notices(&one) == [NoticeKind::CircuitOpened], opens);
    }
    stage.offer_retry(&webhook).await;
    let next = cause(&stage.next().await);
    // On a busy machine it may have been time for a probe, which failed.
    if last.elapsed() < Duration::from_millis(200) {
        assert_eq!(next, Some(ParkCause::CircuitOpen));
        assert_eq!(receiver.requests().len(), 3);
    }
    assert_eq!(stage.metric("postrider_circuits_open"), 1.0);
    tokio::time::sleep(Duration::from_millis(450)).await;
    stage.offer(&webhook).await;
    assert_eq!(
        cause(&stage.next().await),
        Some(ParkCause::CircuitOpen),
        "fresh ones never probe"
    );
    status.store(200, Ordering::SeqCst);
    stage.offer_retry(&webhook).await;
    let probe = stage.next().await;
    assert_eq!(probe.outcome.as_ref().unwrap().result, OutcomeResult::Success);
    assert_eq!(notices(&probe), [NoticeKind::CircuitClosed]);
    stage.offer(&webhook).await;
    assert_eq!(stage.outcome().await.result, OutcomeResult::Success);
    assert_eq!(stage.metric("postrider_circuits_open"), 0.0);
}

#[tokio::test]
async fn what_waits_when_the_circuit_opens_is_parked_with_it_and_one_probe_is_out_at_a_time() {
    let (gate, receiver) = Gate::receiver_with(503).await;
    let mut stage = Stage::start(&circuit(50, 50));
    let webhook = hook("wh_1", &receiver);
    for _ in 0..8 {
        stage.offer(&webhook).await;
    }
    gate.open(3);
    let resolutions = stage.resolutions(8).await;
    assert_eq!(resolutions.iter().filter(|one| one.outcome.is_some()).count(), 3);
    let parked = resolutions
        .iter()
        .filter(|one| cause(one) == Some(ParkCause::CircuitOpen));
    assert_eq!(parked.count(), 5);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..5 {
        stage.offer_retry(&webhook).await;
    }
    // One is out; the others came with it, or while it was.
    let causes: Vec<_> = stage.resolutions(4).await.iter().map(cause).collect();
    assert_eq!(causes, [Some(ParkCause::CircuitOpen); 4]);
    until_true(|| (receiver.open(), receiver.requests().len()) == (1, 4)).await;
    gate.open(1);
    assert_eq!(cause(&stage.next().await), Some(ParkCause::Retry));
}

#[tokio::test]
async fn a_rate_limit_spaces_requests_and_parks_what_would_wait_too_long() {
    let receiver = healthy().await;
    let config = Config {
        max_lane_wait: Duration::from_millis(500),
        ..Config::default()
    };
    let mut stage = Stage::start(&config);
    let mut limited = samples::webhook("wh_limited", &receiver.url);
    limited.rate_limit_per_second = Some(20);
    let limited = Arc::new(limited);
    let before = Instant::now();
    for _ in 0..30 {
        stage.offer(&limited).await;
    }
    let resolutions = stage.resolutions(30).await;
    let took = before.elapsed();
    let sent = resolutions.iter().filter(|one| one.outcome.is_some()).count();
    let parked = resolutions
        .iter()
        .filter(|one| cause(one) == Some(ParkCause::RateLimit))
        .count();
    assert_eq!((sent + parked, receiver.requests().len()), (30, sent));
    assert!(sent >= 10 && parked > 0, "{sent} sent, {parked} parked");
    assert!(sent as f64 <= took.as_secs_f64() * 20.0 + 1.0, "{sent} in {took:?}");
    assert!(took >= Duration::from_millis(450), "{took:?}");
}

#[tokio::test]
async fn fresh_events_and_retries_do_not_starve_each_other() {
    let (gate, receiver) = Gate::receiver().await;
    let config = Config {
        max_in_flight_per_webhook: 4,
        max_waiting_per_webhook: 8,
        drain: Duration::from_millis(10),
        ..patient()
    };
    let mut stage = Stage::with_room(&config, 200);
    let webhook = hook("wh_1", &receiver);
    // Retries fill the places, their queue, what is kept aside and the channel; fresh ones still come in.
    for _ in 0..21 {
        stage.offer_retry(&webhook).await;
    }
    let retry = stage.retry(&webhook);
    assert!(stage.retries.as_ref().unwrap().try_send(retry).is_err());
    for _ in 0..8 {
        stage.offer(&webhook).await;
    }
    until_true(|| receiver.open() == 4).await;
    gate.open(12);
    stage.resolutions(12).await;
    until_true(|| receiver.requests().len() == 16).await;
    // The first four were retries. Of the next twelve half are fresh.
    let requests = receiver.requests();
    let is_fresh = |request: &&samples::Request| request.headers["x-postrider-attempt"] == "1";
    assert_eq!(requests[..4].iter().filter(is_fresh).count(), 0);
    let fresh = requests[4..].iter().filter(is_fresh).count();
    assert!((4..=8).contains(&fresh), "{fresh} of 12");
    stage.end().await;
}

#[tokio::test]
async fn a_410_disables_the_webhook_at_once_and_once_until_a_person_enables_it() {
    let (status, receiver) = switchable(410).await;
    let mut stage = Stage::start(&patient());
    let webhook = hook("wh_1", &receiver);
    stage.offer(&webhook).await;
    let gone = stage.next().await;
    assert_eq!(gone.outcome.as_ref().unwrap().result, OutcomeResult::Failed);
    assert_eq!(gone.dead_letter.as_ref().unwrap().reason, DeadLetterReason::Gone);
    assert_eq!(notices(&gone), [NoticeKind::WebhookDisabled]);
    let change = gone.status_change.unwrap();
    assert_eq!(
        (change.status, change.reason.as_deref()),
        (WebhookStatus::Disabled, Some("gone"))
    );
    assert_eq!(change.webhook_id, webhook.id);
    // The same document again, also in another copy, is still the disabled one.
    for copy in [Arc::clone(&webhook), Arc::new(Webhook::clone(&webhook))] {
        stage.offer_retry(&copy).await;
        let skipped = stage.next().await;
        assert_eq!((skipped.notices.len(), skipped.status_change), (0, None));
        let outcome = skipped.outcome.unwrap().read().unwrap();
        assert_eq!((outcome.result, outcome.attempt), (OutcomeResult::Skipped, 2));
        assert_eq!(outcome.error.unwrap().kind, ErrorKind::WebhookDisabled);
    }
    assert_eq!(
        stage.metric(r#"postrider_deliveries_total{event="tracking_update",result="skipped"}"#),
        2.0
    );
    status.store(200, Ordering::SeqCst);
    let mut enabled = Webhook::clone(&webhook);
    enabled.updated_at = Some(START);
    stage.offer(&Arc::new(enabled)).await;
    assert_eq!(stage.outcome().await.result, OutcomeResult::Success);
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test]
async fn what_waits_for_a_webhook_that_is_gone_is_skipped_and_a_second_410_changes_nothing() {
    let (gate, receiver) = Gate::receiver_with(410).await;
    let config = Config {
        max_in_flight_per_webhook: 2,
        ..patient()
    };
    let mut stage = Stage::start(&config);
    let webhook = hook("wh_1", &receiver);
    for _ in 0..6 {
        stage.offer(&webhook).await;
    }
    until_true(|| receiver.open() == 2).await;
    gate.open(6);
    let resolutions = stage.resolutions(6).await;
    let results: Vec<_> = resolutions
        .iter()
        .map(|one| one.outcome.as_ref().unwrap().result)
        .collect();
    let count = |result| results.iter().filter(|one| **one == result).count();
    assert_eq!((count(OutcomeResult::Failed), count(OutcomeResult::Skipped)), (2, 4));
    assert_eq!(resolutions.iter().filter(|one| one.status_change.is_some()).count(), 1);
    assert_eq!(resolutions.iter().flat_map(notices).count(), 1);
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test]
async fn a_webhook_that_has_failed_for_days_is_disabled_at_its_next_failure() {
    let receiver = failing(500).await;
    let config = patient();
    let registry = Registry::new();
    let mut parts = parts(&config, &registry);
    let (old, recent) = (hook("wh_old", &receiver), hook("wh_recent", &receiver));
    let ago = |secs: i64| Timestamp::from_millis(START.as_millis() - secs * 1_000);
    parts
        .failing_since
        .extend([(old.id.clone(), ago(5 * 86_400)), (recent.id.clone(), ago(4 * 86_400))]);
    let mut stage = Stage::of(&config, parts, registry, 64);
    stage.offer(&recent).await;
    let one = stage.next().await;
    assert_eq!((one.status_change, one.notices.len()), (None, 0));
    stage.offer(&old).await;
    let one = stage.next().await;
    assert_eq!(one.outcome.as_ref().unwrap().result, OutcomeResult::Retrying);
    assert_eq!(one.status_change.as_ref().unwrap().reason.as_deref(), Some("failing"));
    assert_eq!(notices(&one), [NoticeKind::WebhookDisabled]);
    assert_eq!(
        one.notices[0].message,
        "The webhook was disabled: every attempt has failed for 5 d"
    );
    stage.offer(&old).await;
    assert_eq!(stage.outcome().await.result, OutcomeResult::Skipped);
}

#[tokio::test]
async fn what_cannot_be_parked_waits_instead_and_is_sent_past_an_open_circuit() {
    let well = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&well);
    let receiver = Receiver::start(move |_, _| {
        let says = Arc::clone(&says);
        async move { answer(if says.load(Ordering::SeqCst) { 200 } else { 500 }, "") }
    });
    let receiver = receiver.await;
    let config = circuit(60_000, 60_000);
    let registry = Registry::new();
    let mut parts = parts(&config, &registry);
    parts.largest_parked = 100;
    let mut stage = Stage::of(&config, parts, registry, 64);
    let webhook = hook("wh_1", &receiver);
    for _ in 0..5 {
        stage.offer(&webhook).await;
        let one = stage.next().await;
        assert_eq!(one.outcome.unwrap().result, OutcomeResult::Failed);
        let letter = one.dead_letter.unwrap();
        assert_eq!(letter.reason, DeadLetterReason::Exhausted);
        assert!(letter.message.contains("max.message.bytes"), "{}", letter.message);
        assert!(
            one.notices
                .iter()
                .any(|notice| notice.notice == NoticeKind::DeliveryExhausted)
        );
    }
    assert_eq!(stage.metric("postrider_circuits_open"), 1.0);
    well.store(true, Ordering::SeqCst);
    stage.offer(&webhook).await;
    assert_eq!(stage.outcome().await.result, OutcomeResult::Success);
    assert_eq!(stage.metric("postrider_circuits_open"), 0.0);
}
