//! Outcomes for tests.

use bytes::Bytes;
use postrider_types::delivery::Progress;
use postrider_types::outcome::{Ending, Issuer};
use postrider_types::{
    AccountId, Event, EventId, EventType, Facts, Offset, Origin, Outcome, OutcomeResult, Partition, Timestamp, Trigger,
    Webhook, WebhookId,
};

use crate::document::Candidate;
use crate::request::{Ended, Wanted};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_763_805_600_000);

/// The event of a number, one second after the other.
pub(crate) fn event(number: i64) -> Event {
    let origin = Origin {
        topic: "tracking".into(),
        partition: Partition(i32::try_from(number % 3).unwrap()),
        offset: Offset(number),
        timestamp: Timestamp::from_millis(NOW.as_millis() + number * 1_000),
    };
    Event {
        id: EventId::from(&origin),
        origin,
        event_type: EventType::TrackingUpdate,
        account: AccountId::default(),
        facts: Facts::default(),
        key: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
    }
}

/// An outcome of an event for the webhook `wh`, of a replay if one is named.
pub(crate) fn outcome(number: i64, result: OutcomeResult, replay: Option<&str>) -> Outcome {
    let webhook = Webhook::new(
        WebhookId::new("wh").unwrap(),
        "https://m.example/",
        vec![EventType::TrackingUpdate],
    );
    let progress = Progress {
        trigger: replay.map_or(Trigger::Event, |_| Trigger::Replay),
        replay: replay.map(str::to_owned),
        ..Progress::start(None)
    };
    let ending = Ending {
        result,
        attempted: None,
        skipped: None,
        next_attempt_at: None,
    };
    let issuer = Issuer {
        instance: "i-0".into(),
        max_retries: 10,
        traced: false,
    };
    issuer.outcome(&event(number), &webhook, &progress, ending).into_owned()
}

pub(crate) fn candidate(number: i64) -> Candidate {
    Candidate::new(&event(number), WebhookId::new("wh").unwrap())
}

/// All that failed of any time.
pub(crate) fn failed() -> Wanted {
    Wanted {
        from: NOW,
        to: Timestamp::from_millis(i64::MAX),
        webhook: None,
        account: None,
        event: None,
        result: Ended::Failed,
        rate_per_second: 1_000,
        dry_run: false,
    }
}
