use std::collections::BTreeSet;

use postrider_types::delivery::TraceParent;
use postrider_types::outcome::ResponseFacts;
use postrider_types::webhook::{BasicAuth, CustomHeader, Signing};
use postrider_types::{ErrorKind, EventType, Losses, NoticeKind, Outcome, Secret, Settled, SpanId};
use prometheus::Registry;
use proptest::prelude::*;

use super::*;
use crate::config::RetryConfig;
use crate::reply::{Answer, Failure};
use crate::samples::{self, Receiver, answer};

const NOW: Timestamp = Timestamp::from_millis(1_763_805_700_000);
/// Kafka's own limit.
const LARGEST: usize = 1_048_588;
const CHANCE: Chance = Chance {
    jitter: 0.5,
    trace: 7,
    span: 9,
};

fn attempts(retry: RetryConfig) -> Attempts {
    counted_attempts(retry, &Registry::new())
}

fn counted_attempts(retry: RetryConfig, registry: &Registry) -> Attempts {
    let config = Config {
        retry,
        ..Config::default()
    };
    let issuer = Issuer {
        instance: "postrider-0".into(),
        max_retries: config.retry.max_retries,
        traced: false,
    };
    let schedule = Arc::new(Schedule::new(&config.retry).unwrap());
    let metrics = Metrics::register(registry, 200).unwrap();
    Attempts::new(&config, schedule, issuer, Clock::starting_at(NOW), metrics, LARGEST)
}

fn owed(webhook: Webhook, made: u32) -> Owed {
    let progress = Progress {
        attempts: made,
        parkings: 2,
        ..Progress::start(None)
    };
    Owed::new(Arc::new(samples::event(5)), Arc::new(webhook), progress, CHANCE)
}

fn plain() -> Webhook {
    samples::webhook("wh_1", "https://merchant.example/hooks")
}

fn answered(status: u16, retry_after: Option<&str>) -> Reply {
    Reply::Answered(Answer {
        status,
        retry_after: retry_after.map(str::to_owned),
        response: ResponseFacts {
            content_type: Some("text/html".into()),
            body: "<h1>no</h1>".into(),
            truncated: false,
        },
    })
}

fn failed(kind: ErrorKind) -> Reply {
    Reply::Failed(Failure {
        kind,
        message: "The endpoint did not do it".into(),
    })
}

/// What the attempts make of a reply that took 137 ms.
fn conclude(attempts: &Attempts, owed: &Owed, reply: Reply) -> Resolution {
    let end = Timestamp::from_millis(NOW.as_millis() + 137);
    let timing = Timing {
        start: NOW,
        end,
        spent_ms: 137.2,
    };
    let verdict = attempts.judge(owed, &reply, end);
    attempts.conclude(owed, verdict, reply, timing, CHANCE.jitter)
}

#[test]
fn a_success_is_an_outcome_and_nothing_else() {
    let resolution = conclude(
        &attempts(RetryConfig::default()),
        &owed(plain(), 0),
        answered(204, None),
    );
    let outcome = resolution.outcome.unwrap().read().unwrap();
    assert!(resolution.parked.is_none() && resolution.dead_letter.is_none());
    assert_eq!(outcome.result, OutcomeResult::Success);
    assert_eq!((outcome.attempt, outcome.retry, outcome.max_retries), (1, 0, 10));
    assert_eq!(
        (outcome.status_code, outcome.status_text.as_deref()),
        (Some(204), Some("No Content"))
    );
    assert_eq!((outcome.date_start, outcome.time_spent_ms), (Some(NOW), Some(137.2)));
    assert_eq!(outcome.trace_id.as_deref(), Some("00000000000000000000000000000007"));
}

#[test]
fn a_failure_is_parked_until_its_interval_and_jitter_have_passed() {
    let resolution = conclude(
        &attempts(RetryConfig::default()),
        &owed(plain(), 1),
        answered(503, None),
    );
    let (outcome, parked) = (resolution.outcome.unwrap().read().unwrap(), resolution.parked.unwrap());
    // The second interval, 20 s, and half of its 10 %.
    let due = Timestamp::from_millis(NOW.as_millis() + 137 + 21_000);
    assert_eq!(outcome.result, OutcomeResult::Retrying);
    assert_eq!((outcome.attempt, outcome.next_attempt_at), (2, Some(due)));
    assert!(resolution.dead_letter.is_none());
    assert_eq!(parked.tier, Duration::from_secs(20));
    let waiting = parked.waiting;
    assert_eq!((waiting.due, waiting.cause), (due, ParkCause::Retry));
    assert_eq!((waiting.progress.attempts, waiting.progress.parkings), (2, 0));
    assert_eq!(waiting.progress.last_status, Some(503));
    let trace = waiting.progress.trace.unwrap();
    assert_eq!(Some(trace.trace_id()), outcome.trace_id.as_deref());
    assert_eq!(parked.event.body, samples::BODY);
}

#[test]
fn retry_after_moves_the_due_time_and_takes_the_topic_that_fits() {
    let resolution = conclude(
        &attempts(RetryConfig::default()),
        &owed(plain(), 0),
        answered(429, Some("600")),
    );
    let parked = resolution.parked.unwrap();
    let due = Timestamp::from_millis(NOW.as_millis() + 137 + 600_000);
    assert_eq!((parked.waiting.due, parked.tier), (due, Duration::from_secs(320)));
}

#[test]
fn the_last_attempt_leaves_a_dead_letter_with_the_event_unchanged() {
    let resolution = conclude(
        &attempts(RetryConfig::default()),
        &owed(plain(), 10),
        failed(ErrorKind::Dns),
    );
    let (outcome, letter) = (
        resolution.outcome.unwrap().read().unwrap(),
        resolution.dead_letter.unwrap(),
    );
    assert!(resolution.parked.is_none());
    assert_eq!((outcome.result, outcome.attempt), (OutcomeResult::Failed, 11));
    assert_eq!((outcome.status_code, outcome.next_attempt_at), (Some(599), None));
    assert_eq!(outcome.error.unwrap().kind, ErrorKind::Dns);
    let notice = &resolution.notices[0];
    assert_eq!(
        (notice.notice, &notice.message, &notice.delivery_id),
        (
            NoticeKind::DeliveryExhausted,
            &letter.message,
            &Some(outcome.delivery_id)
        )
    );
    assert_eq!(letter.reason, DeadLetterReason::Exhausted);
    assert_eq!(letter.value.as_deref(), Some(samples::BODY));
    let delivery = letter.delivery.unwrap();
    assert_eq!((delivery.attempts, delivery.last_status), (11, Some(599)));
    assert_eq!(
        letter.message,
        "All 11 attempts failed; the last one met: The endpoint did not do it"
    );
}

#[test]
fn what_is_too_large_to_be_parked_has_one_attempt_and_says_why() {
    let mut event = samples::event(5);
    event.headers = vec![postrider_types::Header {
        name: "padding".into(),
        value: Some(vec![b'x'; LARGEST - 16 * 1024 - event.body.len() - 8 - 7 - 8].into()),
    }];
    let mut owed = owed(plain(), 0);
    for (bytes, parked) in [(0, true), (1, false)] {
        event.body = [samples::BODY, &b" ".repeat(bytes)].concat().into();
        owed.event = Arc::new(event.clone());
        let resolution = conclude(&attempts(RetryConfig::default()), &owed, answered(503, None));
        assert_eq!(resolution.parked.is_some(), parked);
        let expected = "Attempt 1 failed, and the event is too large for another: with its headers it exceeds the \
                        max.message.bytes of the retry topics; it met: 503 Service Unavailable";
        let letter = resolution.dead_letter;
        assert_eq!(letter.is_none(), parked);
        assert!(letter.is_none_or(|letter| letter.reason == DeadLetterReason::Exhausted && letter.message == expected));
        assert_eq!(resolution.notices.len(), usize::from(!parked));
    }
}

#[test]
fn a_410_is_final_at_the_first_attempt() {
    let resolution = conclude(
        &attempts(RetryConfig::default()),
        &owed(plain(), 0),
        answered(410, None),
    );
    let letter = resolution.dead_letter.unwrap();
    assert_eq!(letter.reason, DeadLetterReason::Gone);
    assert_eq!(letter.message, "Attempt 1 met what is never tried again: 410 Gone");
    assert_eq!(
        resolution.outcome.unwrap().read().unwrap().result,
        OutcomeResult::Failed
    );
}

#[test]
fn a_webhook_without_retries_gets_one_attempt() {
    let mut webhook = plain();
    webhook.retry.enabled = false;
    let resolution = conclude(
        &attempts(RetryConfig::default()),
        &owed(webhook, 0),
        answered(500, None),
    );
    assert_eq!(resolution.dead_letter.unwrap().reason, DeadLetterReason::Exhausted);
    assert_eq!(resolution.outcome.unwrap().read().unwrap().max_retries, 0);
}

fn replies() -> impl Strategy<Value = Reply> {
    prop_oneof![
        (100..700_u16).prop_map(|status| answered(status, None)),
        prop::sample::select(ErrorKind::ALL.to_vec()).prop_map(failed),
    ]
}

proptest! {
    #[test]
    fn every_attempt_ends_or_goes_on_but_never_both(reply in replies(), made in 0..15_u32, retries in 0..=10_u32) {
        let attempts = attempts(RetryConfig { max_retries: retries, ..RetryConfig::default() });
        let resolution = conclude(&attempts, &owed(plain(), made), reply);
        let outcome = resolution.outcome.unwrap().read().unwrap();
        prop_assert_eq!(outcome.attempt, made + 1);
        prop_assert_eq!(resolution.parked.is_some(), outcome.result == OutcomeResult::Retrying);
        prop_assert_eq!(resolution.dead_letter.is_some(), outcome.result == OutcomeResult::Failed);
        prop_assert_eq!(outcome.next_attempt_at, resolution.parked.as_ref().map(|parked| parked.waiting.due));
        if let Some(parked) = resolution.parked {
            prop_assert!(outcome.attempt <= retries);
            prop_assert_eq!(parked.waiting.progress.attempts, outcome.attempt);
            prop_assert!(parked.waiting.due >= NOW.after(parked.tier));
        }
    }
}

/// Makes the first attempt of a webhook against a real server.
async fn make(attempts: &Attempts, webhook: Webhook) -> (Settled, Losses) {
    let losses = Losses::default();
    let made = made(attempts, webhook, &losses).await;
    (made.share.resolve(made.resolution).unwrap(), losses)
}

async fn made(attempts: &Attempts, webhook: Webhook, losses: &Losses) -> Made {
    let policy = samples::policy();
    let target = Target::prepare(&webhook, &policy, &samples::clients(&policy, &attempts.metrics));
    let delivery = samples::delivery(&Arc::new(webhook), 5, losses);
    attempts.make(delivery, &target, CHANCE).await.unwrap()
}

fn only(settled: Settled) -> Outcome {
    let mut resolutions = settled.resolutions;
    assert_eq!(resolutions.len(), 1);
    resolutions.remove(0).outcome.unwrap().read().unwrap()
}

fn secretive(url: &str) -> Webhook {
    let mut webhook = samples::webhook("wh_1", url);
    webhook.auth = Some(BasicAuth {
        username: "merchant".into(),
        password: Secret::new("correct-horse"),
    });
    webhook.header = Some(CustomHeader {
        name: "X-Api-Key".into(),
        value: Secret::new("battery-staple"),
    });
    webhook.signing = Some(Signing::with(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")));
    webhook
}

#[tokio::test]
async fn the_request_carries_the_events_bytes_under_the_documented_headers() {
    let receiver = Receiver::start(|_, _| async { answer(200, "{}") }).await;
    let (settled, losses) = make(&attempts(RetryConfig::default()), secretive(&receiver.url)).await;
    assert_eq!(only(settled).result, OutcomeResult::Success);
    let request = receiver.requests().remove(0);
    assert_eq!(request.body, samples::BODY);
    let names: BTreeSet<&str> = request.headers.keys().map(hyper::header::HeaderName::as_str).collect();
    let expected = BTreeSet::from([
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "traceparent",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-api-key",
        "x-postrider-attempt",
        "x-postrider-event",
        "x-postrider-event-time",
    ]);
    assert_eq!(names, expected);
    assert_eq!(losses.count(), 0);
}

#[tokio::test]
async fn an_endpoint_that_echoes_credentials_does_not_put_them_into_the_outcome() {
    let echo = |_, request: samples::Request| async move { answer(403, format!("{:?}", Shown(&request.headers))) };
    let receiver = Receiver::start(echo).await;
    let (settled, _) = make(&attempts(RetryConfig::default()), secretive(&receiver.url)).await;
    let written = serde_json::to_string(&only(settled)).unwrap();
    assert!(written.contains("webhook-id"), "{written}");
    for secret in [
        "correct-horse",
        "bWVyY2hhbnQ6Y29ycmVjdC1ob3JzZQ==",
        "battery-staple",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ] {
        assert!(!written.contains(secret), "{secret} in {written}");
    }
}

/// Headers with their values, sensitive or not.
struct Shown<'a>(&'a hyper::HeaderMap);

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs = self.0.iter().map(|(name, value)| (name, value.to_str().unwrap_or("?")));
        f.debug_map().entries(pairs).finish()
    }
}

#[tokio::test]
async fn an_answer_after_the_webhooks_own_timeout_is_a_timeout() {
    let receiver = Receiver::start(|_, _| std::future::pending()).await;
    let mut webhook = samples::webhook("wh_1", &receiver.url);
    webhook.timeout_ms = Some(100);
    let outcome = only(make(&attempts(RetryConfig::default()), webhook).await.0);
    assert_eq!(outcome.error.unwrap().kind, ErrorKind::Timeout);
    assert_eq!(
        (outcome.result, outcome.status_code),
        (OutcomeResult::Retrying, Some(499))
    );
    assert!(outcome.time_spent_ms.unwrap() >= 100.0);
}

#[tokio::test]
async fn a_forbidden_address_is_final_without_a_request_and_counted() {
    let registry = Registry::new();
    let attempts = counted_attempts(RetryConfig::default(), &registry);
    let (settled, _) = make(&attempts, samples::webhook("wh_1", "http://10.0.0.1/hooks")).await;
    let resolution = &settled.resolutions[0];
    let outcome = resolution.outcome.as_ref().unwrap().read().unwrap();
    assert_eq!((outcome.result, outcome.status_code), (OutcomeResult::Failed, None));
    assert_eq!(outcome.error.as_ref().unwrap().kind, ErrorKind::BlockedAddress);
    let reason = resolution.dead_letter.as_ref().unwrap().reason;
    assert_eq!(reason, DeadLetterReason::BlockedAddress);
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    assert!(
        text.contains(r#"postrider_blocked_total{reason="private"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn a_secret_that_cannot_sign_sends_nothing_and_is_tried_again() {
    let receiver = Receiver::start(|_, _| async { answer(200, "") }).await;
    let mut webhook = samples::webhook("wh_1", &receiver.url);
    webhook.signing = Some(Signing::with(Secret::new("whsec_short")));
    let outcome = only(make(&attempts(RetryConfig::default()), webhook).await.0);
    assert_eq!(outcome.result, OutcomeResult::Retrying);
    let error = outcome.error.unwrap();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(!error.message.contains("short"), "{}", error.message);
    assert_eq!(receiver.requests().len(), 0);
}

#[tokio::test]
async fn a_delivery_keeps_the_trace_it_came_with() {
    let receiver = Receiver::start(|_, _| async { answer(200, "") }).await;
    let attempts = attempts(RetryConfig::default());
    let policy = samples::policy();
    let webhook = Arc::new(samples::webhook("wh_1", &receiver.url));
    let target = Target::prepare(&webhook, &policy, &samples::clients(&policy, &attempts.metrics));
    let mut delivery = samples::delivery(&webhook, 5, &Losses::default());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    delivery.progress.trace = Some(trace.parse().unwrap());
    let made = attempts.make(delivery, &target, CHANCE).await.unwrap();
    assert_eq!(receiver.requests()[0].headers["traceparent"], trace);
    let outcome = only(made.share.resolve(made.resolution).unwrap());
    assert_eq!(outcome.trace_id.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
}

#[tokio::test]
async fn where_traces_are_told_each_attempt_names_its_own_span_and_the_trace_goes_on() {
    let receiver = Receiver::start(|_, _| async { answer(503, "") }).await;
    let mut attempts = attempts(RetryConfig::default());
    attempts.issuer.traced = true;
    let policy = samples::policy();
    let webhook = Arc::new(samples::webhook("wh_1", &receiver.url));
    let target = Target::prepare(&webhook, &policy, &samples::clients(&policy, &attempts.metrics));
    let mut delivery = samples::delivery(&webhook, 5, &Losses::default());
    let span = SpanId::of_delivery(&delivery.id(), None);
    let record: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        .parse()
        .unwrap();
    for flags in ["-01", "-01", "-00"] {
        let given: TraceParent = record.as_str().replace("-01", flags).parse().unwrap();
        delivery.progress.trace = Some(given.clone());
        let number = delivery.attempt();
        let made = attempts.make(delivery, &target, CHANCE).await.unwrap();
        let own = record.under(span.of_attempt(number));
        let expected = if flags == "-01" { &own } else { &given };
        let seen = receiver.requests().pop().unwrap();
        assert_eq!(seen.headers["traceparent"], expected.as_str());
        let parked = made.resolution.parked.as_ref().unwrap();
        assert_eq!(parked.waiting.progress.trace.as_ref(), Some(&given));
        let next = parked.waiting.progress.clone();
        let _ = made.share.resolve(made.resolution);
        delivery = samples::delivery(&webhook, 5, &Losses::default());
        delivery.progress = next;
    }
    let _ = delivery.share.resolve(Resolution::default());
}

#[tokio::test]
async fn an_attempt_tells_what_it_met() {
    let receiver = Receiver::start(|_, _| async { answer(200, "") }).await;
    let attempts = attempts(RetryConfig::default());
    let made = made(&attempts, samples::webhook("wh_1", &receiver.url), &Losses::default()).await;
    let tally = made.tally.unwrap();
    assert_eq!((tally.event, tally.met), (EventType::TrackingUpdate, "2xx"));
    assert_eq!(
        (tally.result, tally.spent),
        (OutcomeResult::Success, made.endpoint_time)
    );
    assert!(tally.after.is_some());
    attempts.metrics.attempted(&made.webhook.id, &tally);
    let ended = attempts
        .metrics
        .deliveries()
        .with_label_values(&[tally.event.as_str(), "success"])
        .get();
    assert_eq!(ended, 1);
}
