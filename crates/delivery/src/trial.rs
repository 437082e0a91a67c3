//! Tests and first connections: one request each, exactly as a delivery would be sent, and everything that was
//! transmitted told. They count for no circuit and disable nothing.

mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use postrider_types::delivery::{Progress, TraceParent};
use postrider_types::outcome::{Ending, Issuer, Met, OutcomeError, ResponseFacts, Timing};
use postrider_types::secret::MASK;
use postrider_types::transmission::{MAX_SHOWN_BODY, SeenResponse, SentRequest};
use postrider_types::{
    Clock, DeliveryId, Event, Outcome, OutcomeResult, Timestamp, Transmission, Trigger, Webhook, status,
};

use self::verdict::{Seen, Verdict, judge};
use crate::client::Clients;
use crate::egress::Policy;
use crate::headers::Sending;
use crate::reply::Failure;
use crate::response::Received;
use crate::scrub::Scrubber;
use crate::target::Target;

/// Makes them, over connections of their own.
#[derive(Debug)]
pub struct Trials {
    policy: Arc<Policy>,
    clients: Clients,
    issuer: Issuer,
    clock: Clock,
    /// `delivery.timeout`
    timeout: Duration,
}

/// What came of one request.
type Came = Result<Received, Failure>;

impl Trials {
    /// With the guard, the TLS settings and the limits of deliveries.
    #[must_use]
    pub const fn new(policy: Arc<Policy>, clients: Clients, issuer: Issuer, clock: Clock, timeout: Duration) -> Self {
        Self {
            policy,
            clients,
            issuer,
            clock,
            timeout,
        }
    }

    /// Sends an event to a webhook once; tells what was transmitted, and the outcome to publish.
    pub async fn make(&self, event: &Event, webhook: &Webhook, trigger: Trigger) -> (Transmission, Outcome) {
        let trace = TraceParent::from_random(rand::random(), rand::random());
        let start = self.clock.now();
        let sending = Sending {
            event,
            webhook: &webhook.id,
            attempt: 1,
            trace: &trace,
            at: start,
        };
        let target = Target::prepare(webhook, &self.policy, &self.clients);
        let (came, spent) = match &target {
            Ok(target) => target.send_whole(&sending, self.timeout).await,
            Err(bad) => (Err(bad.failure()), Duration::ZERO),
        };
        let scrubber = Scrubber::new(webhook);
        let one = One {
            event,
            webhook,
            headers: target
                .as_ref()
                .map(|target| target.transmitted(&sending))
                .unwrap_or_default(),
            came: came.map_err(|failure| scrubbed(&scrubber, failure)),
            scrubber,
            timing: Timing {
                start,
                end: self.clock.now(),
                spent_ms: (spent.as_secs_f64() * 10_000.0).round() / 10.0,
            },
        };
        let progress = Progress {
            trigger,
            ..Progress::start(Some(trace))
        };
        (one.transmission(), one.outcome(&self.issuer, &progress))
    }

    /// The time, for events made for a Test.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A request that was made, and what came of it.
struct One<'a> {
    event: &'a Event,
    webhook: &'a Webhook,
    headers: HeaderMap,
    came: Came,
    scrubber: Scrubber,
    timing: Timing,
}

impl One<'_> {
    fn outcome(&self, issuer: &Issuer, progress: &Progress) -> Outcome {
        let met = self.met();
        let delivered = met.status.is_some_and(|status| (200..300).contains(&status));
        let ending = Ending {
            result: if delivered {
                OutcomeResult::Success
            } else {
                OutcomeResult::Failed
            },
            attempted: Some((self.timing, met)),
            skipped: None,
            next_attempt_at: None,
        };
        Outcome {
            delivery_id: DeliveryId::of_test(&self.event.id, &self.webhook.id),
            source: None,
            max_retries: 0,
            ..issuer.outcome(self.event, self.webhook, progress, ending).into_owned()
        }
    }

    fn met(&self) -> Met {
        let answer = self.came.as_ref().map(Received::answer);
        Met {
            status: answer.as_ref().ok().map(|answer| answer.status),
            error: answer.as_ref().err().map(|failure| error(failure)),
            response: answer.ok().map(|answer| self.scrubber.scrub_response(answer.response)),
        }
    }

    fn transmission(&self) -> Transmission {
        let seen = match &self.came {
            Ok(received) => Seen::Answered(received),
            Err(failure) => Seen::Failed(failure),
        };
        let Verdict { passed, message, hint } = judge(&seen);
        Transmission {
            passed,
            message,
            hint: hint.map(str::to_owned),
            time_spent_ms: self.timing.spent_ms,
            request: self.request(),
            response: self
                .came
                .as_ref()
                .ok()
                .map(|received| response(received, &self.scrubber)),
            error: self.came.as_ref().err().map(error),
        }
    }

    fn request(&self) -> SentRequest {
        let masked = |value: &HeaderValue| {
            if value.is_sensitive() {
                MASK.to_owned()
            } else {
                text(value)
            }
        };
        SentRequest {
            method: "POST".to_owned(),
            url: self.webhook.endpoint().into_owned(),
            headers: shown(&self.headers, masked),
            body: String::from_utf8_lossy(&self.event.body).into_owned(),
        }
    }
}

fn scrubbed(scrubber: &Scrubber, failure: Failure) -> Failure {
    Failure {
        message: scrubber.scrub(failure.message),
        ..failure
    }
}

fn error(failure: &Failure) -> OutcomeError {
    OutcomeError {
        kind: failure.kind,
        message: failure.message.clone(),
    }
}

fn response(received: &Received, scrubber: &Scrubber) -> SeenResponse {
    let whole = String::from_utf8_lossy(&received.body);
    let body = &whole[..whole.floor_char_boundary(MAX_SHOWN_BODY)];
    let facts = scrubber.scrub_response(ResponseFacts {
        content_type: None,
        body: body.to_owned(),
        truncated: !received.complete || body.len() < whole.len(),
    });
    let code = received.status.as_u16();
    SeenResponse {
        status: code,
        text: status::meaning(code).into_owned(),
        headers: shown(&received.headers, |value| scrubber.scrub(text(value))),
        body: facts.body,
        truncated: facts.truncated,
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn shown(headers: &HeaderMap, show: impl Fn(&HeaderValue) -> String) -> BTreeMap<String, String> {
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    let each = |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().to_owned(), show(value));
    for (name, value) in headers.iter().map(each) {
        let line = shown.entry(name).or_default();
        if !line.is_empty() {
            line.push_str(", ");
        }
        line.push_str(&value);
    }
    shown
}

#[cfg(test)]
mod tests;
