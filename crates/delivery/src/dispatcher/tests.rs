mod isolation;
mod stage;

use std::collections::{HashMap, HashSet};

use postrider_types::{DeadLetterReason, OutcomeResult, ParkCause};
use prometheus::Registry;
use tokio::time::timeout;

use self::stage::*;
use super::*;
use crate::config::RetryConfig;
use crate::samples::{self, Gate, Receiver, answer};

fn short_drain(millis: u64) -> Config {
    Config {
        drain: Duration::from_millis(millis),
        ..patient()
    }
}

#[tokio::test]
async fn a_delivery_that_succeeds_is_settled_and_counted() {
    let receiver = healthy().await;
    let mut stage = Stage::start(&patient());
    stage.offer(&hook("wh_1", &receiver)).await;
    let outcome = stage.outcome().await;
    assert_eq!((outcome.result, outcome.attempt), (OutcomeResult::Success, 1));
    stage.end().await;
    assert_eq!((receiver.requests().len(), stage.losses.count()), (1, 0));
    let metrics = stage.metrics();
    for line in [
        r#"postrider_attempts_total{event="tracking_update",outcome="2xx"} 1"#,
        r#"postrider_deliveries_total{event="tracking_update",result="success"} 1"#,
        r#"postrider_event_to_delivery_seconds_count{event="tracking_update"} 1"#,
        "postrider_in_flight 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn a_failed_attempt_is_parked_until_its_due_time() {
    let receiver = failing(503).await;
    let mut stage = Stage::start(&patient());
    stage.offer(&hook("wh_1", &receiver)).await;
    let resolution = stage.next().await;
    let (outcome, parked) = (resolution.outcome.unwrap().read().unwrap(), resolution.parked.unwrap());
    assert_eq!(outcome.result, OutcomeResult::Retrying);
    assert_eq!(parked.tier, Duration::from_secs(5));
    assert_eq!(outcome.next_attempt_at, Some(parked.waiting.due));
    let wait = parked.waiting.due.since(outcome.date_end.unwrap());
    assert!((5_000..=5_501).contains(&wait.as_millis()), "{wait:?}");
    assert!(stage.metrics().contains(r#"postrider_parked_total{cause="retry"} 1"#));
}

#[tokio::test]
async fn the_last_failed_attempt_gives_up_with_a_dead_letter() {
    let receiver = failing(500).await;
    let mut stage = Stage::start(&patient());
    let webhook = hook("wh_1", &receiver);
    let mut delivery = samples::delivery(&webhook, 0, &stage.losses);
    delivery.progress.attempts = 10;
    delivery.due = Some(START);
    stage.hand_over(delivery).await;
    let resolution = stage.next().await;
    assert_eq!(resolution.outcome.unwrap().read().unwrap().attempt, 11);
    assert_eq!(resolution.dead_letter.unwrap().reason, DeadLetterReason::Exhausted);
    assert_eq!(receiver.requests()[0].headers["x-postrider-attempt"], "11");
    assert!(stage.metrics().contains("postrider_retry_skew_seconds_count 1"));
}

#[tokio::test]
async fn a_permanent_status_gives_up_at_once() {
    let receiver = failing(422).await;
    let config = Config {
        retry: RetryConfig {
            permanent_statuses: vec![422],
            ..RetryConfig::default()
        },
        ..patient()
    };
    let mut stage = Stage::start(&config);
    stage.offer(&hook("wh_1", &receiver)).await;
    let letter = stage.next().await.dead_letter.unwrap();
    assert_eq!(letter.reason, DeadLetterReason::PermanentStatus);
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_in_time_is_tried_again() {
    let receiver = hanging().await;
    let config = Config {
        timeout: Duration::from_millis(150),
        connect_timeout: Duration::from_millis(150),
        ..patient()
    };
    let mut stage = Stage::start(&config);
    stage.offer(&hook("wh_1", &receiver)).await;
    let outcome = stage.outcome().await;
    assert_eq!(
        (outcome.status_code, outcome.result),
        (Some(499), OutcomeResult::Retrying)
    );
}

#[tokio::test]
async fn what_a_webhook_asks_for_itself_is_no_more_than_a_quarter_of_all() {
    let (gate, receiver) = Gate::receiver().await;
    let config = Config {
        max_in_flight: 16,
        max_in_flight_per_webhook: 2,
        ..patient()
    };
    let mut stage = Stage::start(&config);
    let mut greedy = samples::webhook("wh_1", &receiver.url);
    greedy.max_in_flight = Some(16);
    let webhook = Arc::new(greedy);
    for _ in 0..20 {
        stage.offer(&webhook).await;
    }
    until_true(|| receiver.open() == 4).await;
    gate.open(20);
    stage.outcomes(20).await;
    assert_eq!(receiver.most(), 4);
}

#[tokio::test]
async fn a_webhook_never_has_more_requests_open_than_it_may() {
    let (gate, receiver) = Gate::receiver().await;
    let config = Config {
        max_in_flight_per_webhook: 3,
        ..patient()
    };
    let mut stage = Stage::start(&config);
    let mut own = samples::webhook("wh_1", &receiver.url);
    for (limit, most) in [(None, 3), (Some(5), 5), (Some(1), 1)] {
        own.max_in_flight = limit;
        let webhook = Arc::new(own.clone());
        for _ in 0..20 {
            stage.offer(&webhook).await;
        }
        until_true(|| receiver.open() == most).await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(receiver.open(), most, "{limit:?}");
        gate.open(20);
        let outcomes = stage.outcomes(20).await;
        assert!(outcomes.iter().all(|outcome| outcome.result == OutcomeResult::Success));
        assert!(receiver.most() <= 5);
    }
}

#[tokio::test]
async fn all_webhooks_together_keep_to_the_global_limit() {
    let (gate, receiver) = Gate::receiver().await;
    let config = Config {
        max_in_flight: 4,
        max_in_flight_per_webhook: 4,
        ..patient()
    };
    let mut stage = Stage::start(&config);
    let webhooks: Vec<_> = (0..8).map(|n| hook(&format!("wh_{n}"), &receiver)).collect();
    for webhook in webhooks.iter().cycle().take(32) {
        stage.offer(webhook).await;
    }
    until_true(|| receiver.open() == 4).await;
    tokio::time::sleep(A_WHILE).await;
    gate.open(32);
    let outcomes = stage.outcomes(32).await;
    assert_eq!(receiver.most(), 4);
    let mut by_webhook: HashMap<String, usize> = HashMap::new();
    for outcome in outcomes {
        *by_webhook.entry(outcome.webhook_id.to_string()).or_default() += 1;
    }
    assert_eq!(by_webhook.len(), 8);
    assert!(by_webhook.values().all(|count| *count == 4));
}

#[tokio::test]
async fn a_hanging_endpoint_with_a_full_queue_does_not_hold_up_a_healthy_one() {
    let (stuck, receiver) = (hanging().await, healthy().await);
    let config = Config {
        max_in_flight_per_webhook: 2,
        max_waiting_per_webhook: 16,
        drain: Duration::from_millis(10),
        ..patient()
    };
    let mut stage = Stage::start(&config);
    let (bad, good) = (hook("wh_bad", &stuck), hook("wh_good", &receiver));
    // Two in flight, eight in the queue of fresh ones, ten kept aside.
    for _ in 0..20 {
        stage.offer(&bad).await;
    }
    for _ in 0..50 {
        stage.offer(&good).await;
        assert_eq!(stage.outcome().await.webhook_id, good.id);
    }
    assert_eq!((stuck.open(), receiver.requests().len()), (2, 50));
    stage.end().await;
    // The two in flight were parked at the end; the others waited alone and are read again.
    assert_eq!(stage.losses.count(), 18);
}

#[tokio::test]
async fn what_cannot_be_kept_makes_the_source_wait() {
    let stuck = hanging().await;
    let config = Config {
        max_in_flight_per_webhook: 1,
        max_waiting_per_webhook: 1,
        drain: Duration::from_millis(10),
        ..patient()
    };
    let mut stage = Stage::start(&config);
    let webhook = hook("wh_1", &stuck);
    // One in flight, one in the queue, three kept aside, one in the channel.
    for _ in 0..6 {
        stage.offer(&webhook).await;
    }
    let refused = samples::delivery(&webhook, 6, &stage.losses);
    assert!(stage.fresh.as_ref().unwrap().try_send(refused).is_err());
    assert_eq!(stage.losses.count(), 1);
    // Nothing is read any more, and yet the end of the input is noticed.
    stage.end().await;
    // The one that was refused above, and all that waited; the one in flight was parked.
    assert_eq!(stage.losses.count(), 6);
}

#[tokio::test]
async fn nothing_is_sent_that_could_not_be_recorded() {
    let (gate, receiver) = Gate::receiver().await;
    let config = Config {
        max_in_flight: 2,
        max_in_flight_per_webhook: 2,
        ..patient()
    };
    let mut stage = Stage::with_room(&config, 1);
    let webhook = hook("wh_1", &receiver);
    for _ in 0..4 {
        stage.offer(&webhook).await;
    }
    until_true(|| receiver.requests().len() == 2).await;
    gate.open(1);
    until_true(|| receiver.requests().len() == 3).await;
    gate.open(3);
    // One record was accepted; two more wait to be, and until they are nothing is started.
    until_true(|| receiver.open() == 0).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(receiver.requests().len(), 3);
    assert_eq!(stage.outcomes(4).await.len(), 4);
    assert_eq!(receiver.requests().len(), 4);
}

#[tokio::test]
async fn every_delivery_comes_to_exactly_one_outcome_whatever_the_endpoints_do() {
    let by_turns = Receiver::start(|number, _| async move {
        match number % 4 {
            0 => answer(200, "{}"),
            1 => answer(500, "broken"),
            2 => answer(503, ""),
            _ => std::future::pending().await,
        }
    });
    let (odd, good, gone) = (by_turns.await, healthy().await, failing(410).await);
    let config = Config {
        timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_millis(200),
        max_in_flight: 7,
        max_in_flight_per_webhook: 3,
        max_waiting_per_webhook: 5,
        ..patient()
    };
    let mut stage = Stage::with_room(&config, 200);
    let webhooks = [hook("wh_odd", &odd), hook("wh_good", &good), hook("wh_gone", &gone)];
    for webhook in webhooks.iter().cycle().take(150) {
        stage.offer(webhook).await;
    }
    let outcomes = stage.outcomes(150).await;
    let ids: HashSet<&str> = outcomes.iter().map(|outcome| outcome.delivery_id.as_str()).collect();
    assert_eq!(ids.len(), 150);
    stage.end().await;
    assert_eq!((stage.settled.try_recv().is_err(), stage.losses.count()), (true, 0));
}

#[tokio::test]
async fn the_stage_ends_when_its_input_has_and_everything_was_sent() {
    let receiver = healthy().await;
    let mut stage = Stage::start(&patient());
    let webhook = hook("wh_1", &receiver);
    for _ in 0..50 {
        stage.offer(&webhook).await;
    }
    stage.end().await;
    assert_eq!(stage.outcomes(50).await.len(), 50);
    assert!(stage.settled.recv().await.is_none());
    assert_eq!(stage.losses.count(), 0);
}

#[tokio::test]
async fn requests_in_flight_are_waited_for_when_the_input_ends() {
    let (gate, receiver) = Gate::receiver().await;
    // Too short to start anything that waits, long enough for what is in flight.
    let config = Config {
        max_in_flight_per_webhook: 1,
        ..short_drain(14_000)
    };
    let mut stage = Stage::start(&config);
    let webhook = hook("wh_1", &receiver);
    for _ in 0..3 {
        stage.offer(&webhook).await;
    }
    until_true(|| receiver.open() == 1).await;
    stage.close();
    until_true(|| stage.losses.count() == 2).await;
    assert!(!stage.task.is_finished());
    gate.open(3);
    stage.end().await;
    assert_eq!(stage.outcome().await.result, OutcomeResult::Success);
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(stage.losses.count(), 2);
}

#[tokio::test]
async fn what_waits_is_still_sent_when_the_input_ends_and_there_is_time() {
    let (gate, receiver) = Gate::receiver().await;
    let config = Config {
        max_in_flight_per_webhook: 1,
        drain: PATIENCE * 2,
        ..patient()
    };
    let mut stage = Stage::start(&config);
    let webhook = hook("wh_1", &receiver);
    for _ in 0..3 {
        stage.offer(&webhook).await;
    }
    stage.close();
    gate.open(3);
    stage.end().await;
    assert_eq!(stage.outcomes(3).await.len(), 3);
    assert_eq!(stage.losses.count(), 0);
}

#[tokio::test]
async fn what_is_unanswered_after_the_drain_is_cut_short_and_parked_without_an_outcome() {
    let stuck = hanging().await;
    let mut stage = Stage::start(&short_drain(100));
    stage.offer(&hook("wh_1", &stuck)).await;
    until_true(|| stuck.open() == 1).await;
    let before = Instant::now();
    stage.end().await;
    assert!(before.elapsed() >= Duration::from_millis(100));
    let resolution = stage.next().await;
    let waiting = resolution.parked.unwrap().waiting;
    assert_eq!((waiting.progress.attempts, waiting.cause), (0, ParkCause::LaneSlow));
    assert!(resolution.outcome.is_none() && stage.settled.recv().await.is_none());
    assert_eq!(stage.losses.count(), 0);
    assert!(stage.metrics().contains("postrider_in_flight 0"));
}

#[tokio::test]
async fn the_stage_ends_when_nobody_takes_what_settled() {
    let receiver = healthy().await;
    let mut stage = Stage::start(&patient());
    stage.settled.close();
    timeout(PATIENCE, &mut stage.task).await.unwrap().unwrap();
    let webhook = hook("wh_1", &receiver);
    let delivery = samples::delivery(&webhook, 0, &stage.losses);
    assert!(stage.fresh.as_ref().unwrap().send(delivery).await.is_err());
}

#[tokio::test]
async fn what_is_under_way_when_nobody_takes_what_settled_is_cut_off_and_counted_as_lost() {
    let stuck = hanging().await;
    let mut stage = Stage::start(&patient());
    stage.offer(&hook("wh_1", &stuck)).await;
    until_true(|| stuck.open() == 1).await;
    assert!(stage.metrics().contains("postrider_in_flight 1"));
    stage.settled.close();
    timeout(PATIENCE, &mut stage.task).await.unwrap().unwrap();
    assert_eq!(stage.losses.count(), 1);
    assert!(stage.metrics().contains("postrider_in_flight 0"));
}

#[tokio::test]
async fn at_a_stop_what_waits_beside_a_sent_delivery_is_parked_so_that_nothing_is_sent_twice() {
    let (stuck, receiver) = (hanging().await, healthy().await);
    let config = Config {
        max_in_flight_per_webhook: 1,
        timeout: Duration::from_secs(60),
        max_lane_wait: Duration::from_secs(60),
        ..short_drain(300)
    };
    let mut stage = Stage::start(&config);
    let (bad, good) = (hook("wh_bad", &stuck), hook("wh_good", &receiver));
    stage.offer(&bad).await;
    until_true(|| stuck.open() == 1).await;
    for delivery in samples::deliveries(&[&bad, &good], 50, &stage.losses) {
        stage.hand_over(delivery).await;
    }
    stage.offer(&bad).await;
    until_true(|| receiver.requests().len() == 1).await;
    stage.close();
    let settled = timeout(PATIENCE, stage.settled.recv()).await.unwrap().unwrap();
    assert_eq!((settled.position.offset.0, settled.resolutions.len()), (50, 2));
    assert_eq!(settled.resolutions.iter().filter(|one| one.parked.is_some()).count(), 1);
    stage.end().await;
    // One request was cut short and parked; one delivery that waited alone is read again.
    assert_eq!((stuck.requests().len(), stage.losses.count()), (1, 1));
}

#[tokio::test]
async fn todays_credentials_are_used_and_an_edited_description_keeps_the_target() {
    let receiver = healthy().await;
    let mut stage = Stage::start(&patient());
    let mut webhook = samples::webhook("wh_1", &receiver.url);
    for value in ["old", "new"] {
        webhook.header = Some(postrider_types::webhook::CustomHeader {
            name: "x-api-key".into(),
            value: postrider_types::Secret::new(value),
        });
        stage.offer(&Arc::new(webhook.clone())).await;
        stage.outcome().await;
    }
    let sent: Vec<_> = receiver
        .requests()
        .iter()
        .map(|request| request.headers["x-api-key"].clone())
        .collect();
    assert_eq!(sent, ["old", "new"]);
}

#[tokio::test]
async fn every_attempt_of_a_delivery_bears_the_same_message_id() {
    let receiver = failing(500).await;
    let mut stage = Stage::start(&patient());
    let webhook = hook("wh_1", &receiver);
    let mut delivery = samples::delivery(&webhook, 7, &stage.losses);
    for attempts in 1..4 {
        stage.hand_over(delivery).await;
        let parked = stage.next().await.parked.unwrap();
        assert_eq!(parked.waiting.progress.attempts, attempts);
        delivery = samples::delivery(&webhook, 7, &stage.losses);
        delivery.progress = parked.waiting.progress;
    }
    let requests = receiver.requests();
    let sent = |name: &str| -> Vec<_> { requests.iter().map(|request| request.headers[name].clone()).collect() };
    assert_eq!(sent("x-postrider-attempt"), ["1", "2", "3"]);
    for name in ["webhook-id", "traceparent"] {
        assert_eq!(sent(name), vec![requests[0].headers[name].clone(); 3], "{name}");
    }
    drop(delivery);
}

#[tokio::test]
async fn a_section_with_faults_builds_no_stage() {
    let config = Config {
        max_in_flight: 0,
        ..patient()
    };
    let faults = Dispatcher::new(&config, parts(&config, &Registry::new())).unwrap_err();
    assert_eq!(faults[0].path, "max_in_flight");
}
