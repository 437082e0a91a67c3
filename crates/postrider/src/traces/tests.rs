use std::num::NonZeroUsize;
use std::sync::Arc;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use parking_lot::Mutex;
use postrider_types::delivery::Progress;
use postrider_types::outcome::{Ending, Issuer, Met, Timing};
use postrider_types::settlement::HeldTotals;
use postrider_types::{
    AccountId, AssignmentNumber, Event, EventId, EventType, Facts, Held, Losses, Offset, Origin, OutcomeResult,
    Partition, Position, Record, Timestamp, Webhook, WebhookId,
};

use super::*;

pub(super) fn webhook() -> Webhook {
    let id = WebhookId::new("wh_1").unwrap();
    Webhook::new(id, "https://merchant.example/?key=k3y", vec![EventType::TrackingUpdate])
}

pub(super) fn event() -> Event {
    let origin = Origin {
        topic: "tracking".into(),
        partition: Partition(3),
        offset: Offset(5),
        timestamp: Timestamp::from_millis(1_763_805_600_000),
    };
    Event {
        id: EventId::from(&origin),
        origin,
        event_type: EventType::TrackingUpdate,
        account: AccountId::default(),
        facts: Facts::default(),
        key: None,
        headers: Vec::new(),
        body: bytes::Bytes::from_static(b"{}"),
    }
}

/// A record whose only delivery succeeded: two spans.
fn settled() -> Settled {
    let position = Position {
        topic: "tracking".into(),
        partition: Partition(3),
        offset: Offset(5),
        assignment: AssignmentNumber(1),
    };
    let held = Held::take(&Arc::<HeldTotals>::default(), 2);
    let now = Timestamp::from_millis(1_763_805_600_500);
    let timing = Timing {
        start: now,
        end: now,
        spent_ms: 1.0,
    };
    let met = Met {
        status: Some(200),
        error: None,
        response: None,
    };
    let ending = Ending {
        result: OutcomeResult::Success,
        attempted: Some((timing, met)),
        skipped: None,
        next_attempt_at: None,
    };
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        .parse()
        .unwrap();
    let issuer = Issuer {
        instance: "postrider-0".into(),
        max_retries: 10,
        traced: false,
    };
    let (event, webhook, progress) = (event(), webhook(), Progress::start(Some(trace)));
    let outcome = issuer.outcome(&event, &webhook, &progress, ending);
    let resolution = Resolution {
        outcome: Some(outcome.into()),
        ..Resolution::default()
    };
    let mut shares = Record::new(position, held, &Losses::default()).split(NonZeroUsize::MIN, Vec::new());
    shares.remove(0).resolve(resolution).unwrap()
}

/// A collector that is there, or not.
#[derive(Debug, Clone, Default)]
struct Collector {
    is_away: bool,
    spans: Arc<Mutex<Vec<SpanData>>>,
}

impl opentelemetry_sdk::trace::SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        if self.is_away {
            return Err(OTelSdkError::InternalFailure("away".into()));
        }
        self.spans.lock().extend(batch);
        Ok(())
    }
}

fn lost() -> IntCounter {
    IntCounter::new("lost", "lost").unwrap()
}

/// Lets so many records through a stage that sends to this collector; how many came out.
async fn passed(collector: &Collector, lost: &IntCounter, records: usize, queue: usize) -> usize {
    let clock = Clock::starting_at(Timestamp::from_millis(1_763_805_700_000));
    let traces = Traces::sending(collector.clone(), clock, lost.clone(), queue);
    let (settled_in, settled_out) = mpsc::channel(records);
    let (onward, mut committer) = mpsc::channel(records);
    for _ in 0..records {
        settled_in.send(settled()).await.unwrap();
    }
    drop(settled_in);
    traces.run(settled_out, onward).await;
    let mut passed = 0;
    while committer.recv().await.is_some() {
        passed += 1;
    }
    passed
}

#[tokio::test(start_paused = true)]
async fn what_settles_goes_on_and_is_told_by_the_end() {
    let (collector, lost) = (Collector::default(), lost());
    assert_eq!(passed(&collector, &lost, 1_000, 10_000).await, 1_000);
    assert_eq!((collector.spans.lock().len(), lost.get()), (2_000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_is_away_costs_the_spans_and_nothing_else() {
    let collector = Collector {
        is_away: true,
        ..Collector::default()
    };
    let lost = lost();
    assert_eq!(passed(&collector, &lost, 1_000, 10_000).await, 1_000);
    assert_eq!((collector.spans.lock().len(), lost.get()), (0, 2_000));
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_has_no_room_for_is_lost_and_counted() {
    let (collector, lost) = (Collector::default(), lost());
    assert_eq!(passed(&collector, &lost, 100, 1).await, 100);
    let told = collector.spans.lock().len() as u64;
    assert!(lost.get() > 0);
    assert_eq!(told + lost.get(), 200);
}

#[tokio::test]
async fn the_stage_ends_when_nobody_takes_what_settled() {
    let traces = Traces::sending(Collector::default(), Clock::system(), lost(), 10);
    let (_settled_in, settled) = mpsc::channel(1);
    let (onward, committer) = mpsc::channel(1);
    drop(committer);
    traces.run(settled, onward).await;
}

#[test]
fn a_collector_is_called_with_and_without_tls() {
    for endpoint in ["http://127.0.0.1:4318", "https://collector.example"] {
        exporter_to(endpoint, None).unwrap();
    }
}

#[test]
fn traces_go_below_the_collectors_address() {
    for given in ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"] {
        assert_eq!(address(given), "http://c:4318/v1/traces");
    }
    assert_eq!(address("https://c/otlp"), "https://c/otlp/v1/traces");
}
