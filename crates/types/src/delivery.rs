//! A delivery: one event owed to one webhook. It lives across attempts, in memory while one is
//! made, in a retry topic between them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::{Event, EventId};
use crate::hex;
use crate::position::Origin;
use crate::settlement::Share;
use crate::trace::SpanId;
use crate::webhook::{Webhook, WebhookId};

/// `<position id>.<webhook id>`: unique, and the same after every restart, rebalance and replay.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DeliveryId(String);

impl DeliveryId {
    /// The id of what the record at `origin` owes to `webhook`.
    #[must_use]
    pub fn new(origin: &Origin, webhook: &WebhookId) -> Self {
        Self(origin.text_and([".", webhook.as_str()]))
    }

    /// The id of a Test or a first connection, which no record brought.
    #[must_use]
    pub fn of_test(event: &EventId, webhook: &WebhookId) -> Self {
        Self(format!("{event}.{webhook}"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<DeliveryId> for Bytes {
    fn from(id: DeliveryId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// An event was routed.
    #[default]
    Event,
    /// A webhook was added, or its URL changed.
    FirstConnection,
    /// A person pressed Test.
    Test,
    /// A person asked for deliveries again.
    Replay,
}

/// Why a delivery waits in a retry topic. Closed, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParkCause {
    /// An attempt failed and another is due.
    Retry,
    /// The webhook's lane would have made it wait too long.
    LaneSlow,
    /// The webhook's circuit is open.
    CircuitOpen,
    /// The webhook's rate limit would have made it wait too long.
    RateLimit,
}

impl ParkCause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Retry, Self::LaneSlow, Self::CircuitOpen, Self::RateLimit];

    /// The label's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::LaneSlow => "lane_slow",
            Self::CircuitOpen => "circuit_open",
            Self::RateLimit => "rate_limit",
        }
    }
}

/// A W3C trace context parent, `00-<trace id>-<span id>-<flags>`. Of a later version the same four parts are taken, as
/// the standard asks of those who do not know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceParent(Arc<str>);

/// The text is no trace parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct BadTraceParent;

impl TraceParent {
    const LENGTH: usize = 55;

    /// Makes one from random numbers; a zero id is forbidden by the standard and made one.
    #[must_use]
    pub fn from_random(trace: u128, span: u64) -> Self {
        let mut text = String::with_capacity(Self::LENGTH);
        text.push_str("00-");
        hex::push(&mut text, &trace.max(1).to_be_bytes());
        text.push('-');
        hex::push(&mut text, &span.max(1).to_be_bytes());
        text.push_str("-01");
        Self(text.into())
    }

    /// The one that a record carries, if it is valid.
    #[must_use]
    pub fn of_record(event: &Event) -> Option<Self> {
        let value = event.header("traceparent")?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }

    /// The same trace, with another span as the parent.
    #[must_use]
    pub fn under(&self, span: SpanId) -> Self {
        let (trace, flags) = (self.trace_id(), &self.0[53..]);
        Self(format!("00-{trace}-{:016x}-{flags}", span.as_u64()).into())
    }

    /// The 16 hexadecimal digits of the span's id.
    #[must_use]
    pub fn span_id(&self) -> &str {
        &self.0[36..52]
    }

    /// Whether whoever began the trace wants it to be recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.0[53..], 16).is_ok_and(|flags| flags & 1 == 1)
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 32 hexadecimal digits of the trace's id.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }
}

impl FromStr for TraceParent {
    type Err = BadTraceParent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let zero = |part: &str| part.bytes().all(|b| b == b'0');
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags, ref more @ ..] = parts[..] else {
            return Err(BadTraceParent);
        };
        let is_known = version == "00" && more.is_empty();
        let is_later = hex(version, 2) && !matches!(version, "00" | "ff");
        let fits = hex(trace, 32) && hex(span, 16) && hex(flags, 2) && !zero(trace) && !zero(span);
        if !fits || !(is_known || is_later) {
            return Err(BadTraceParent);
        }
        // The last parts of a later version are left out.
        Ok(Self(format!("00-{trace}-{span}-{flags}").into()))
    }
}

impl TryFrom<String> for TraceParent {
    type Error = BadTraceParent;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TraceParent> for String {
    fn from(parent: TraceParent) -> Self {
        parent.0.as_ref().to_owned()
    }
}

/// What a delivery carries from one attempt to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Attempts made so far. It travels with the delivery and is never derived.
    pub attempts: u32,
    /// Parkings since the last attempt that were not retries.
    pub parkings: u32,
    /// Why requests are made.
    pub trigger: Trigger,
    /// The replay it belongs to.
    pub replay: Option<String>,
    /// The trace it belongs to, once there is one.
    pub trace: Option<TraceParent>,
    /// The status code that the last attempt came to.
    pub last_status: Option<u16>,
}

impl Progress {
    /// Nothing attempted yet.
    #[must_use]
    pub fn start(trace: Option<TraceParent>) -> Self {
        Self {
            attempts: 0,
            parkings: 0,
            trigger: Trigger::Event,
            replay: None,
            trace,
            last_status: None,
        }
    }
}

/// A delivery waiting durably for its due time: what a retry record says beside the event.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The webhook it is owed to; looked up again when due.
    pub webhook_id: WebhookId,
    /// What happened so far.
    pub progress: Progress,
    /// When it is due; never fired earlier.
    pub due: Timestamp,
    /// Why it waits.
    pub cause: ParkCause,
}

impl Waiting {
    /// Whether it tells how late its webhook is. A replay is as late as the person who asked for it.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.progress.trigger != Trigger::Replay
    }
}

/// A delivery on its way into the retry topic of `tier`.
#[derive(Debug, Clone)]
pub struct Parked {
    /// The event, with the bytes that will be sent.
    pub event: Arc<Event>,
    /// The delay of the retry topic that takes it.
    pub tier: Duration,
    /// What the retry record says.
    pub waiting: Waiting,
}

/// What kind of record brought an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Carrier {
    /// A source record: every webhook that wants the event gets a delivery.
    Source,
    /// A retry record that came due: one delivery goes on.
    Retry(Box<Waiting>),
}

/// One event owed to one webhook, ready for its next attempt.
#[derive(Debug)]
pub struct Delivery {
    /// The event.
    pub event: Arc<Event>,
    /// The webhook as it is today.
    pub webhook: Arc<Webhook>,
    /// What happened so far.
    pub progress: Progress,
    /// When it was due, for a retry.
    pub due: Option<Timestamp>,
    /// Its part in settling the record that brought it.
    pub share: Share,
}

impl Delivery {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> DeliveryId {
        DeliveryId::new(&self.event.origin, &self.webhook.id)
    }

    /// The number of the next attempt, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.progress.attempts + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_case_parents_are_carried_over_and_those_of_later_versions_as_what_this_one_knows_of_them() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(
            good.parse::<TraceParent>().unwrap().trace_id(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        let zero = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let longer = format!("{good}-more");
        let (invalid, signed) = (longer.replacen("00", "ff", 1), good.replacen("00", "+1", 1));
        for bad in [
            "",
            "01-x",
            &good.to_uppercase(),
            &good[..54],
            &zero,
            &longer,
            &invalid,
            &signed,
        ] {
            assert!(bad.parse::<TraceParent>().is_err(), "{bad}");
        }
        let parent = good.parse::<TraceParent>().unwrap();
        assert_eq!((parent.span_id(), parent.is_sampled()), ("b7ad6b7169203331", true));
        let unsampled = good.replace("-01", "-02").parse::<TraceParent>().unwrap();
        assert!(!unsampled.is_sampled());
        for later in [longer.replacen("00", "cc", 1), good.replacen("00", "01", 1)] {
            assert_eq!(later.parse::<TraceParent>().unwrap().as_str(), good, "{later}");
        }
        let made = TraceParent::from_random(0, 7);
        assert_eq!(made.as_str().parse::<TraceParent>().unwrap(), made);
    }

    #[test]
    fn another_span_of_the_same_trace_keeps_its_flags() {
        let webhook = WebhookId::new("wh").unwrap();
        let delivery = DeliveryId::of_test(&EventId::new("e").unwrap(), &webhook);
        let span = SpanId::of_delivery(&delivery, None).of_attempt(1);
        for flags in ["00", "01"] {
            let parent: TraceParent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}")
                .parse()
                .unwrap();
            let under = parent.under(span);
            assert_eq!(under.as_str().parse(), Ok(under.clone()));
            assert_eq!(under.trace_id(), parent.trace_id());
            assert_eq!(under.span_id(), format!("{:016x}", span.as_u64()));
            assert_eq!(under.is_sampled(), flags == "01");
        }
    }
}
