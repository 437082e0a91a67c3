//! What an outcome comes to as spans. Pure. Nothing of a body, a URL or a header is told.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use postrider_types::delivery::TraceParent;
use postrider_types::{Outcome, OutcomeResult, SpanId as Id, Timestamp, Trigger};

/// The spans that end with this outcome: the attempt's, and the delivery's if it was the last. None when the trace
/// is one that nobody wants recorded. `parent` is what the source record carried.
pub(super) fn of(outcome: &Outcome, parent: Option<&TraceParent>, now: Timestamp) -> Vec<SpanData> {
    let id = outcome.trace_id.as_deref();
    let Some(trace) = id.and_then(|id| TraceId::from_hex(id).ok()) else {
        return Vec::new();
    };
    // A delivery that was given a trace of its own is that trace's root.
    let parent = parent.filter(|parent| Some(parent.trace_id()) == id);
    if parent.is_some_and(|parent| !parent.is_sampled()) {
        return Vec::new();
    }
    let delivery = Id::of_delivery(&outcome.delivery_id, outcome.replay.as_deref());
    let attempt = attempt(outcome, trace, delivery);
    let is_last = OutcomeResult::FINAL.contains(&outcome.result);
    let whole = is_last.then(|| whole(outcome, trace, delivery, parent, now));
    attempt.into_iter().chain(whole).collect()
}

fn attempt(outcome: &Outcome, trace: TraceId, delivery: Id) -> Option<SpanData> {
    let (start, end) = time(outcome)?;
    let mut attributes = common(outcome);
    attributes.push(KeyValue::new("postrider.attempt", i64::from(outcome.attempt)));
    attributes.extend(
        outcome
            .time_spent_ms
            .map(|spent| KeyValue::new("postrider.time_spent_ms", spent)),
    );
    attributes.push(KeyValue::new("http.request.method", "POST"));
    attributes.extend(met(outcome));
    Some(SpanData {
        parent_span_id: SpanId::from(delivery.as_u64()),
        span_kind: SpanKind::Client,
        start_time: start,
        end_time: end,
        attributes,
        status: status(outcome, outcome.result == OutcomeResult::Success),
        ..span("webhook attempt", trace, delivery.of_attempt(outcome.attempt))
    })
}

/// When the attempt began and ended, the end more exactly than `date_end`.
fn time(outcome: &Outcome) -> Option<(SystemTime, SystemTime)> {
    let start = SystemTime::from(outcome.date_start?);
    let spent = Duration::from_secs_f64(outcome.time_spent_ms?.max(0.0) / 1_000.0);
    Some((start, start + spent))
}

fn whole(outcome: &Outcome, trace: TraceId, delivery: Id, parent: Option<&TraceParent>, now: Timestamp) -> SpanData {
    let (start, end) = time(outcome).unwrap_or_else(|| (now.into(), now.into()));
    // A replay is as late as the person who asked for it: only its last stay is told.
    let begin = match outcome.trigger {
        Trigger::Event => SystemTime::from(outcome.event_time).min(start),
        _ => start,
    };
    let mut attributes = common(outcome);
    attributes.extend(origin(outcome));
    let made = if outcome.date_start.is_some() {
        outcome.attempt
    } else {
        outcome.retry
    };
    attributes.push(KeyValue::new("postrider.attempts", i64::from(made)));
    attributes.extend(outcome.replay.clone().map(|id| KeyValue::new("postrider.replay", id)));
    let parent = parent.and_then(|parent| SpanId::from_hex(parent.span_id()).ok());
    SpanData {
        parent_span_id: parent.unwrap_or(SpanId::INVALID),
        parent_span_is_remote: parent.is_some(),
        span_kind: SpanKind::Consumer,
        start_time: begin,
        end_time: end,
        attributes,
        status: status(outcome, outcome.result != OutcomeResult::Failed),
        ..span("webhook delivery", trace, delivery)
    }
}

fn span(name: &'static str, trace: TraceId, id: Id) -> SpanData {
    let span = SpanId::from(id.as_u64());
    SpanData {
        span_context: SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default()),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed(name),
        start_time: SystemTime::UNIX_EPOCH,
        end_time: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("postrider").build(),
    }
}

fn common(outcome: &Outcome) -> Vec<KeyValue> {
    vec![
        KeyValue::new("postrider.delivery.id", outcome.delivery_id.to_string()),
        KeyValue::new("postrider.webhook.id", outcome.webhook_id.to_string()),
        KeyValue::new("postrider.account.id", outcome.account_id.to_string()),
        KeyValue::new("postrider.event.type", outcome.event.as_str()),
        KeyValue::new("postrider.result", outcome.result.as_str()),
    ]
}

fn origin(outcome: &Outcome) -> Vec<KeyValue> {
    let Some(source) = &outcome.source else {
        return Vec::new();
    };
    vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.destination.name", source.topic.clone()),
        KeyValue::new("messaging.destination.partition.id", source.partition.to_string()),
        KeyValue::new("messaging.kafka.offset", source.offset.0),
    ]
}

/// The status, if one came, and what kind of failure it was.
fn met(outcome: &Outcome) -> Vec<KeyValue> {
    if let Some(error) = &outcome.error {
        return vec![KeyValue::new("error.type", error.kind.as_str())];
    }
    let Some(code) = outcome.status_code else {
        return Vec::new();
    };
    let mut attributes = vec![KeyValue::new("http.response.status_code", i64::from(code))];
    if outcome.result != OutcomeResult::Success {
        attributes.push(KeyValue::new("error.type", code.to_string()));
    }
    attributes
}

fn status(outcome: &Outcome, is_well: bool) -> Status {
    if is_well {
        return Status::Unset;
    }
    Status::error(outcome.status_text.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use postrider_types::delivery::Progress;
    use postrider_types::outcome::{Ending, Issuer, Met, OutcomeError, Timing};
    use postrider_types::{ErrorKind, Event, Webhook};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_763_805_700_000);

    fn parent(flags: &str) -> TraceParent {
        let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        text.parse().unwrap()
    }

    fn outcome(attempts: u32, result: OutcomeResult, met: Met) -> Outcome {
        let event: Event = super::super::tests::event();
        let webhook: Webhook = super::super::tests::webhook();
        let timing = Timing {
            start: NOW,
            end: Timestamp::from_millis(NOW.as_millis() + 137),
            spent_ms: 137.2,
        };
        let progress = Progress {
            attempts,
            ..Progress::start(Some(parent("01")))
        };
        let ending = Ending {
            result,
            attempted: (result != OutcomeResult::Skipped).then_some((timing, met)),
            skipped: None,
            next_attempt_at: None,
        };
        let issuer = Issuer {
            instance: "postrider-0".into(),
            max_retries: 10,
            traced: false,
        };
        issuer.outcome(&event, &webhook, &progress, ending).into_owned()
    }

    fn status_of(code: u16) -> Met {
        Met {
            status: Some(code),
            error: None,
            response: None,
        }
    }

    fn get(span: &SpanData, key: &str) -> Option<String> {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        found.map(|attribute| attribute.value.to_string())
    }

    #[test]
    fn an_attempt_that_is_not_the_last_is_one_span_below_its_deliverys() {
        let spans = of(
            &outcome(0, OutcomeResult::Retrying, status_of(503)),
            Some(&parent("01")),
            NOW,
        );
        let [attempt] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(
            attempt.span_context.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(
            attempt.end_time.duration_since(attempt.start_time).unwrap(),
            Duration::from_micros(137_200)
        );
        assert_eq!(get(attempt, "http.response.status_code").as_deref(), Some("503"));
        assert_eq!(get(attempt, "error.type").as_deref(), Some("503"));
        assert_eq!(get(attempt, "postrider.attempt").as_deref(), Some("1"));
        assert!(matches!(attempt.status, Status::Error { .. }));
        assert!(!format!("{attempt:?}").contains("merchant.example"));
    }

    #[test]
    fn the_last_one_ends_the_delivery_below_the_records_span() {
        let first = of(
            &outcome(0, OutcomeResult::Retrying, status_of(503)),
            Some(&parent("01")),
            NOW,
        );
        let spans = of(
            &outcome(1, OutcomeResult::Success, status_of(204)),
            Some(&parent("01")),
            NOW,
        );
        let [attempt, delivery] = &spans[..] else {
            panic!("{spans:?}")
        };
        let id = delivery.span_context.span_id();
        assert_eq!((attempt.parent_span_id, first[0].parent_span_id), (id, id));
        assert_ne!(attempt.span_context.span_id(), first[0].span_context.span_id());
        assert_eq!(delivery.parent_span_id.to_string(), "b7ad6b7169203331");
        assert_eq!((&attempt.status, &delivery.status), (&Status::Unset, &Status::Unset));
        assert_eq!(get(delivery, "postrider.attempts").as_deref(), Some("2"));
        assert_eq!(get(delivery, "messaging.destination.name").as_deref(), Some("tracking"));
        assert!(delivery.start_time < attempt.start_time);
        assert_eq!(delivery.end_time, attempt.end_time);
    }

    #[test]
    fn without_an_answer_the_kind_of_error_is_told() {
        let met = Met {
            status: None,
            error: Some(OutcomeError {
                kind: ErrorKind::Timeout,
                message: "secret".into(),
            }),
            response: None,
        };
        let spans = of(&outcome(10, OutcomeResult::Failed, met), None, NOW);
        assert_eq!(get(&spans[0], "error.type").as_deref(), Some("timeout"));
        assert_eq!(get(&spans[0], "http.response.status_code"), None);
        assert!(matches!(spans[1].status, Status::Error { .. }));
        assert_eq!(spans[1].parent_span_id, SpanId::INVALID);
        assert!(!format!("{spans:?}").contains("secret"));
    }

    #[test]
    fn what_is_skipped_is_a_delivery_without_an_attempt_and_an_unsampled_trace_is_nothing() {
        let spans = of(
            &outcome(3, OutcomeResult::Skipped, status_of(0)),
            Some(&parent("01")),
            NOW,
        );
        assert_eq!(
            (spans.len(), get(&spans[0], "postrider.attempts").as_deref()),
            (1, Some("3"))
        );
        let unsampled = of(
            &outcome(0, OutcomeResult::Success, status_of(200)),
            Some(&parent("00")),
            NOW,
        );
        assert!(unsampled.is_empty());
        let mut untraced = outcome(0, OutcomeResult::Success, status_of(200));
        untraced.trace_id = None;
        assert!(of(&untraced, None, NOW).is_empty());
    }
}
