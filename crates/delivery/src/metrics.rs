//! The series of the sending half. Labels can only hold words of closed enums, and every combination
//! that can occur is there from the start: an alert on a missing series means something.

mod oldest;
mod series;

use std::sync::Arc;
use std::time::Duration;

use postrider_types::{ErrorKind, EventType, Named, OutcomeResult, ParkCause, Undelivered, WebhookId};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use self::oldest::Oldest;
use self::series::WebhookSeries;
use crate::address::Blocked;
use crate::egress;
use crate::reply::Reply;

/// The status classes that `attempts_total` tells apart.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
/// Seconds that an attempt takes; the last bucket is above the longest timeout's usual values.
const ATTEMPT_BUCKETS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 60.0,
];
/// Seconds from event to delivery: from milliseconds to the end of the default schedule.
const EVENT_BUCKETS: [f64; 16] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 28_800.0, 86_400.0,
];
/// Seconds a retry is sent after it was due; 250 ms is what is promised.
const SKEW_BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// Handles of every series, made once and passed down.
#[derive(Debug, Clone)]
pub struct Metrics {
    deliveries: IntCounterVec,
    by_event: Arc<[EventSeries; EventType::ALL.len()]>,
    retry_skew: Histogram,
    in_flight: IntGauge,
    parked: IntCounterVec,
    circuits_open: IntGauge,
    by_webhook: WebhookSeries,
    egress: egress::Metrics,
}

impl Metrics {
    /// Registers the series, the egress guard's among them. Not more than `max_webhook_series` webhooks
    /// get series of their own.
    ///
    /// # Errors
    /// When one of them is registered already.
    pub fn register(registry: &Registry, max_webhook_series: usize) -> prometheus::Result<Self> {
        let families = Families::register(registry)?;
        let metrics = Self {
            by_event: Arc::new(EventType::ALL.map(|event| families.of(event))),
            deliveries: families.deliveries,
            retry_skew: Histogram::with_opts(
                HistogramOpts::new("postrider_retry_skew_seconds", "From a retry's due time to its request")
                    .buckets(SKEW_BUCKETS.to_vec()),
            )?,
            in_flight: IntGauge::new("postrider_in_flight", "Requests under way")?,
            parked: counters(
                "postrider_parked_total",
                "Deliveries put into a retry topic, by cause",
                &["cause"],
            )?,
            circuits_open: IntGauge::new("postrider_circuits_open", "Webhooks whose circuit is open")?,
            by_webhook: WebhookSeries::register(registry, max_webhook_series)?,
            egress: egress::Metrics::register(registry)?,
        };
        for cause in ParkCause::ALL {
            metrics.parked.with_label_values(&[cause.as_str()]);
        }
        metrics.register_all(registry)?;
        Ok(metrics)
    }

    fn register_all(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.parked.clone()))?;
        for gauge in [&self.in_flight, &self.circuits_open] {
            registry.register(Box::new(gauge.clone()))?;
        }
        registry.register(Box::new(self.retry_skew.clone()))
    }

    /// Registers what tells of each webhook how old its oldest delivery is that has not ended.
    ///
    /// # Errors
    /// When it is registered already.
    pub fn register_oldest(&self, registry: &Registry, undelivered: Undelivered) -> prometheus::Result<()> {
        registry.register(Box::new(Oldest::new(undelivered, self.by_webhook.named())?))
    }

    /// The webhooks that have series of their own, for other families of series.
    #[must_use]
    pub fn named(&self) -> Named {
        self.by_webhook.named()
    }

    /// The family that counts ended deliveries, for the stage that ends some without an attempt.
    #[must_use]
    pub fn deliveries(&self) -> IntCounterVec {
        self.deliveries.clone()
    }

    /// The guard's series, for the clients that meet it.
    #[must_use]
    pub fn egress(&self) -> egress::Metrics {
        self.egress.clone()
    }

    /// Counts a delivery that ended; one that goes on is not counted.
    pub fn ended(&self, event: EventType, result: OutcomeResult) {
        let ended = &self.by_event[event as usize].ended;
        if let Some((_, count)) = ended.iter().find(|(word, _)| *word == result) {
            count.inc();
        }
    }

    /// Counts an attempt by what it met and what it came to, and how long it took.
    pub fn attempted(&self, webhook: &WebhookId, tally: &Tally) {
        let series = &self.by_event[tally.event as usize];
        if let Some((_, count)) = series.attempts.iter().find(|(word, _)| *word == tally.met) {
            count.inc();
        }
        self.by_webhook.attempted(webhook, tally.met);
        series.attempt_duration.observe(tally.spent.as_secs_f64());
        if let Some(after) = tally.after {
            series.event_to_delivery.observe(after.as_secs_f64());
        }
        if tally.result == OutcomeResult::Retrying {
            self.parked(ParkCause::Retry);
        }
        self.ended(tally.event, tally.result);
    }

    /// Notes how late a retry was sent.
    pub fn retried(&self, skew: Duration) {
        self.retry_skew.observe(skew.as_secs_f64());
    }

    /// Counts a delivery that was parked.
    pub fn parked(&self, cause: ParkCause) {
        self.parked.with_label_values(&[cause.as_str()]).inc();
    }

    /// Notes that a circuit was open or closed, and what it is now.
    pub(crate) fn circuit(&self, was_open: bool, is_open: bool) {
        self.circuits_open.add(i64::from(is_open) - i64::from(was_open));
    }

    /// Counts a URL the egress guard refused before anything was dialled.
    pub fn blocked(&self, reason: Blocked) {
        self.egress.blocked(reason);
    }

    /// Notes how many requests are under way.
    pub(crate) fn in_flight(&self, count: usize) {
        self.in_flight.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// What is counted of an attempt. It is counted where the ends of many are looked at together: done by each on its own, on
/// whatever processor, the counters would go to and fro between their caches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tally {
    /// What was sent.
    pub event: EventType,
    /// The status class, or the error's word.
    pub met: &'static str,
    /// How long the request took.
    pub spent: Duration,
    /// What became of the delivery.
    pub result: OutcomeResult,
    /// How long after its event a delivery succeeded; `None` when it did not, or that says nothing.
    pub after: Option<Duration>,
}

/// The families whose series are by event.
struct Families {
    deliveries: IntCounterVec,
    attempts: IntCounterVec,
    attempt_duration: HistogramVec,
    event_to_delivery: HistogramVec,
}

impl Families {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let families = Self {
            deliveries: counters(
                "postrider_deliveries_total",
                "Deliveries that ended, by result",
                &["event", "result"],
            )?,
            attempts: counters(
                "postrider_attempts_total",
                "Requests made, by what they met",
                &["event", "outcome"],
            )?,
            attempt_duration: histograms(
                "postrider_attempt_duration_seconds",
                "Wall time of a request",
                &ATTEMPT_BUCKETS,
            )?,
            event_to_delivery: histograms(
                "postrider_event_to_delivery_seconds",
                "From the source record's timestamp to the 2xx",
                &EVENT_BUCKETS,
            )?,
        };
        for counters in [&families.deliveries, &families.attempts] {
            registry.register(Box::new(counters.clone()))?;
        }
        for histograms in [&families.attempt_duration, &families.event_to_delivery] {
            registry.register(Box::new(histograms.clone()))?;
        }
        Ok(families)
    }

    fn of(&self, event: EventType) -> EventSeries {
        let event = event.as_str();
        let ended = |result: OutcomeResult| self.deliveries.with_label_values(&[event, result.as_str()]);
        let attempted = |outcome: &'static str| (outcome, self.attempts.with_label_values(&[event, outcome]));
        let kinds = ErrorKind::ALL.into_iter().filter(is_of_a_request);
        EventSeries {
            ended: OutcomeResult::FINAL.map(|result| (result, ended(result))),
            attempts: CLASSES
                .into_iter()
                .chain(kinds.map(ErrorKind::as_str))
                .map(attempted)
                .collect(),
            attempt_duration: self.attempt_duration.with_label_values(&[event]),
            event_to_delivery: self.event_to_delivery.with_label_values(&[event]),
        }
    }
}

/// The series of one event type, at hand: each is met by every attempt, and to look one up takes a lock.
#[derive(Debug)]
struct EventSeries {
    ended: [(OutcomeResult, IntCounter); OutcomeResult::FINAL.len()],
    /// The usual first.
    attempts: Vec<(&'static str, IntCounter)>,
    attempt_duration: Histogram,
    event_to_delivery: Histogram,
}

/// The status class, or the error's word. A final 1xx and a status above 599 are no HTTP that we
/// understand.
pub(crate) fn label(reply: &Reply) -> &'static str {
    match reply {
        Reply::Answered(answer) => match answer.status {
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            500..=599 => "5xx",
            _ => ErrorKind::BadResponse.as_str(),
        },
        Reply::Failed(failure) => failure.kind.as_str(),
    }
}

/// The kinds that skip a delivery never come from an attempt.
fn is_of_a_request(kind: &ErrorKind) -> bool {
    !matches!(kind, ErrorKind::WebhookGone | ErrorKind::WebhookDisabled)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn histograms(name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    HistogramVec::new(opts, &["event"])
}

#[cfg(test)]
mod tests {
    use postrider_types::outcome::ResponseFacts;
    use prometheus::TextEncoder;

    use super::*;
    use crate::reply::{Answer, Failure};

    fn text(registry: &Registry) -> String {
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    fn webhook(id: &str) -> WebhookId {
        WebhookId::new(id).unwrap()
    }

    fn answered(status: u16) -> Reply {
        Reply::Answered(Answer {
            status,
            retry_after: None,
            response: ResponseFacts {
                content_type: None,
                body: String::new(),
                truncated: false,
            },
        })
    }

    fn tally(reply: &Reply) -> Tally {
        Tally {
            event: EventType::OrderError,
            met: label(reply),
            spent: Duration::from_millis(7),
            result: OutcomeResult::Failed,
            after: None,
        }
    }

    #[test]
    fn every_closed_combination_starts_at_zero() {
        let registry = Registry::new();
        Metrics::register(&registry, 2).unwrap();
        let text = text(&registry);
        for line in [
            r#"postrider_deliveries_total{event="order_error",result="skipped"} 0"#,
            r#"postrider_attempts_total{event="order_shipped",outcome="2xx"} 0"#,
            r#"postrider_attempts_total{event="tracking_update",outcome="connect_refused"} 0"#,
            r#"postrider_attempt_duration_seconds_count{event="order_error"} 0"#,
            r#"postrider_event_to_delivery_seconds_count{event="order_error"} 0"#,
            "postrider_retry_skew_seconds_count 0",
            "postrider_in_flight 0",
            r#"postrider_parked_total{cause="circuit_open"} 0"#,
            r#"postrider_blocked_total{reason="loopback"} 0"#,
            "postrider_circuits_open 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(Metrics::register(&registry, 2).is_err());
    }

    #[test]
    fn an_attempt_is_counted_by_its_class_or_error() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, 2).unwrap();
        let line =
            |outcome, count| format!(r#"postrider_attempts_total{{event="order_error",outcome="{outcome}"}} {count}"#);
        assert!(text(&registry).contains(&line("2xx", 0)));
        let timeout = Reply::Failed(Failure {
            kind: ErrorKind::Timeout,
            message: String::new(),
        });
        for (reply, outcome) in [
            (answered(204), "2xx"),
            (answered(301), "3xx"),
            (answered(499), "4xx"),
            (answered(599), "5xx"),
            (answered(101), "bad_response"),
            (timeout, "timeout"),
        ] {
            metrics.attempted(&webhook("wh_1"), &tally(&reply));
            assert!(text(&registry).contains(&line(outcome, 1)), "{outcome}");
        }
    }

    #[test]
    fn webhooks_beyond_the_cap_are_counted_together() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, 2).unwrap();
        for id in ["a", "b", "c", "a", "d"] {
            metrics.attempted(&webhook(id), &tally(&answered(503)));
        }
        let text = text(&registry);
        for (id, count) in [("a", 2), ("b", 1), ("other", 2)] {
            let line = format!(r#"postrider_webhook_attempts_total{{outcome="5xx",webhook="{id}"}} {count}"#);
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
        assert!(!text.contains(r#"webhook="c""#));
    }

    #[test]
    fn only_ended_deliveries_are_counted_as_such() {
        let metrics = Metrics::register(&Registry::new(), 2).unwrap();
        metrics.ended(EventType::OrderError, OutcomeResult::Retrying);
        metrics.ended(EventType::OrderError, OutcomeResult::Failed);
        let count = |result| metrics.deliveries().with_label_values(&["order_error", result]).get();
        assert_eq!((count("failed"), count("success")), (1, 0));
    }

    #[test]
    fn a_delivery_that_goes_on_counts_as_parked_and_one_that_succeeds_tells_how_late_it_was() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, 2).unwrap();
        let attempt = tally(&answered(503));
        let (retrying, success) = (OutcomeResult::Retrying, OutcomeResult::Success);
        metrics.attempted(
            &webhook("wh_1"),
            &Tally {
                result: retrying,
                ..attempt
            },
        );
        let after = Some(Duration::from_secs(3));
        metrics.attempted(
            &webhook("wh_1"),
            &Tally {
                result: success,
                after,
                ..attempt
            },
        );
        let text = text(&registry);
        for line in [
            r#"postrider_parked_total{cause="retry"} 1"#,
            r#"postrider_deliveries_total{event="order_error",result="success"} 1"#,
            r#"postrider_event_to_delivery_seconds_sum{event="order_error"} 3"#,
            r#"postrider_event_to_delivery_seconds_count{event="order_error"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
