//! What an event costs on its way, one step at a time, through the crates' public interfaces: the same steps that
//! criterion times and that valgrind counts the instructions of.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use postrider_consumer::decode::{self, RawRecord};
use postrider_consumer::ledger::{self, Ledger};
use postrider_delivery::headers::{self, Sending};
use postrider_delivery::signature::{Keys, webhook_message_id};
use postrider_kafka::ResultsConfig;
use postrider_kafka::encode::{Encoder, Limits};
use postrider_routing::Table;
use postrider_types::delivery::{Progress, TraceParent, Waiting};
use postrider_types::outcome::{Ending, Issuer, Met, ResponseFacts, Timing, Written};
use postrider_types::settlement::HeldTotals;
use postrider_types::webhook::Signing;
use postrider_types::{
    AssignmentNumber, Event, EventType, Held, Losses, Offset, Origin, OutcomeResult, ParkCause, Parked, Partition,
    Position, Record, Resolution, Secret, Timestamp, Webhook, WebhookId,
};
use serde_json::{Value, json};

use crate::sample::BODY;

const TIME: Timestamp = Timestamp::from_millis(1_763_805_600_000);
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SECRET: &str = "whsec_cG9zdHJpZGVyIG1lYXN1cmVzIHdpdGggdGhpcw==";
const MAX_EVENT_BYTES: usize = 256 << 10;
/// Webhooks of the account that events are routed to.
const PER_ACCOUNT: usize = 10;
/// Records of one transaction, and how far a partition runs ahead.
const BATCH: i64 = 1_000;

/// One step.
pub struct Operation {
    /// Its name, in tables and on command lines.
    pub name: &'static str,
    /// Does it once.
    pub run: Box<dyn FnMut()>,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn operation<T>(name: &'static str, mut step: impl FnMut() -> T + 'static) -> Operation {
    Operation {
        name,
        run: Box::new(move || drop(black_box(step()))),
    }
}

/// All steps, in the order in which an event takes them.
///
/// # Errors
/// When a sample does not fit the crates any more.
pub fn all() -> Result<Vec<Operation>> {
    let filter = filter();
    Ok(vec![
        decode()?,
        ledger_batch(),
        ledger_metadata(),
        route("route", None)?,
        route("route_filtered", Some(&filter))?,
        share(),
        message_id()?,
        sign()?,
        request_headers()?,
        outcome()?,
        encode_outcome()?,
        encode_parked()?,
    ])
}

/// A filter that looks at several fields.
#[must_use]
pub fn filter() -> Value {
    json!({
        "TrackingCarrier": ["FedEx", "UPS"],
        "code": {"gte": 5, "lt": 9},
        "ToAddressCountry": {"not": ["FR"]},
        "OrderID": {"prefix": "24"},
        "any": [{"late": "1"}, {"city": {"exists": true}}],
    })
}

fn record() -> RawRecord {
    RawRecord {
        origin: Origin {
            topic: "tracking".into(),
            partition: Partition(3),
            offset: Offset(123_456),
            timestamp: TIME,
        },
        key: Some(Bytes::from_static(b"24957298")),
        headers: Vec::new(),
        value: Some(Bytes::from_static(BODY.as_bytes())),
    }
}

fn event() -> Result<Event> {
    Ok(decode::source(&record(), EventType::TrackingUpdate, MAX_EVENT_BYTES)?)
}

fn webhook(number: usize) -> Result<Webhook> {
    let id = WebhookId::new(&format!("wh_01J8ZQ4{number:05}"))?;
    let mut webhook = Webhook::new(id, "https://merchant.example/hooks", EventType::ALL.to_vec());
    webhook.signing = Some(signing());
    Ok(webhook)
}

fn signing() -> Signing {
    Signing::with(Secret::new(SECRET))
}

fn position(offset: i64) -> Position {
    Position {
        topic: "tracking".into(),
        partition: Partition(3),
        offset: Offset(offset),
        assignment: AssignmentNumber(1),
    }
}

fn decode() -> Result<Operation> {
    let record = record();
    decode::source(&record, EventType::TrackingUpdate, MAX_EVENT_BYTES)?;
    Ok(operation("decode", move || {
        decode::source(black_box(&record), EventType::TrackingUpdate, MAX_EVENT_BYTES)
    }))
}

/// A thousand records read and then committed at once: in two halves, the later ones first.
fn ledger_batch() -> Operation {
    let mut ledger = Ledger::new(0, &[]);
    let mut first = 0;
    operation("ledger_1000_records", move || {
        let offsets = first..first + BATCH;
        for offset in offsets.clone() {
            black_box(ledger.deliver(offset));
        }
        let middle = first + BATCH / 2;
        for half in [middle..offsets.end, first..middle] {
            black_box(ledger.preview(half.clone()).base());
            ledger.apply(half);
        }
        first += BATCH;
    })
}

/// The metadata of a commit that leaves every other record of a thousand behind.
fn ledger_metadata() -> Operation {
    let settled: Vec<i64> = (1..BATCH).step_by(2).collect();
    let ledger = Ledger::new(0, &settled);
    operation("ledger_metadata", move || ledger::encode(black_box(&ledger), 7))
}

fn route(name: &'static str, filter: Option<&Value>) -> Result<Operation> {
    let webhooks = (0..PER_ACCOUNT).map(|number| {
        let mut webhook = webhook(number)?;
        webhook.filter = filter.cloned();
        Ok(webhook)
    });
    let table = Table::build(webhooks.collect::<Result<_>>()?).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let event = event()?;
    Ok(operation(name, move || {
        let matches = table.matches(black_box(&event));
        assert_eq!(matches.deliverable.len(), PER_ACCOUNT);
        matches
    }))
}

/// A record that one delivery settles.
fn share() -> Operation {
    let (totals, losses) = (Arc::<HeldTotals>::default(), Losses::default());
    let position = position(123_456);
    operation("share", move || {
        let record = Record::new(position.clone(), Held::take(&totals, 600), &losses);
        let shares = record.split(NonZeroUsize::MIN, Vec::new());
        let settled = shares
            .into_iter()
            .filter_map(|share| share.resolve(Resolution::default()));
        settled.count()
    })
}

fn message_id() -> Result<Operation> {
    let (event, webhook) = (event()?, webhook(0)?);
    Ok(operation("message_id", move || {
        webhook_message_id(black_box(&event.id), &webhook.id)
    }))
}

fn sign() -> Result<Operation> {
    let keys = Keys::parse(&signing())?;
    let id = webhook_message_id(&event()?.id, &webhook(0)?.id);
    Ok(operation("sign", move || {
        keys.sign(&id, TIME, black_box(BODY.as_bytes()))
    }))
}

fn request_headers() -> Result<Operation> {
    let (event, webhook) = (event()?, webhook(0)?);
    let (keys, trace): (_, TraceParent) = (Keys::parse(&signing())?, TRACE.parse()?);
    let fixed = headers::fixed(&webhook)?;
    Ok(operation("request_headers", move || {
        let sending = Sending {
            event: &event,
            webhook: &webhook.id,
            attempt: 1,
            trace: &trace,
            at: TIME,
        };
        headers::of_request(&fixed, &keys, black_box(&sending))
    }))
}

fn ending() -> Ending {
    let timing = Timing {
        start: TIME,
        end: TIME.after(Duration::from_millis(40)),
        spent_ms: 40.25,
    };
    let response = ResponseFacts {
        content_type: Some("application/json".to_owned()),
        body: r#"{"received":true}"#.to_owned(),
        truncated: false,
    };
    let met = Met {
        status: Some(200),
        error: None,
        response: Some(response),
    };
    Ending {
        result: OutcomeResult::Success,
        attempted: Some((timing, met)),
        skipped: None,
        next_attempt_at: None,
    }
}

fn issuer() -> Issuer {
    Issuer {
        instance: "postrider-0".into(),
        max_retries: 10,
        traced: false,
    }
}

fn written() -> Result<Written> {
    let progress = Progress::start(Some(TRACE.parse()?));
    Ok(issuer().outcome(&event()?, &webhook(0)?, &progress, ending()).into())
}

fn outcome() -> Result<Operation> {
    let (event, webhook, issuer) = (event()?, webhook(0)?, issuer());
    let progress = Progress::start(Some(TRACE.parse()?));
    Ok(operation("outcome", move || {
        Written::from(issuer.outcome(black_box(&event), &webhook, &progress, ending()))
    }))
}

fn encoder() -> Encoder {
    Encoder::new(
        "postrider-0",
        ResultsConfig::default(),
        "postrider.webhooks",
        Limits::DEFAULT,
    )
}

fn encode_outcome() -> Result<Operation> {
    let encoder = encoder();
    let written = written()?;
    Ok(operation("encode_outcome", move || {
        let resolution = Resolution {
            outcome: Some(black_box(&written).clone()),
            ..Resolution::default()
        };
        encoder.resolution(resolution).collect::<Vec<_>>()
    }))
}

fn encode_parked() -> Result<Operation> {
    let encoder = encoder();
    let mut progress = Progress::start(Some(TRACE.parse()?));
    progress.attempts = 2;
    let waiting = Waiting {
        webhook_id: webhook(0)?.id,
        progress,
        due: TIME.after(Duration::from_secs(80)),
        cause: ParkCause::Retry,
    };
    let parked = Parked {
        event: Arc::new(event()?),
        tier: Duration::from_secs(80),
        waiting,
    };
    Ok(operation("encode_parked", move || {
        let resolution = Resolution {
            parked: Some(Box::new(black_box(&parked).clone())),
            ..Resolution::default()
        };
        encoder.resolution(resolution).collect::<Vec<_>>()
    }))
}
