//! Outcomes for tests.

use std::borrow::Cow;

use bytes::Bytes;
use postrider_kafka::feed::Record;
use postrider_types::outcome::{RequestFacts, ResponseFacts, SCHEMA};
use postrider_types::{
    AccountId, DeliveryId, EventId, EventType, Offset, Origin, Outcome, OutcomeResult, Partition, Timestamp, Trigger,
    WebhookId,
};

/// 2026-11-22T10:00:00Z
pub(crate) const START: i64 = 1_795_341_600_000;

/// What differs between outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed {
    pub(crate) millis: i64,
    pub(crate) order: u32,
    pub(crate) webhook: u8,
    pub(crate) event: usize,
    pub(crate) result: usize,
    pub(crate) retry: u32,
    pub(crate) spent: u32,
}

impl Seed {
    pub(crate) const PLAIN: Self = Self {
        millis: 0,
        order: 1,
        webhook: 1,
        event: 2,
        result: 0,
        retry: 0,
        spent: 12,
    };

    pub(crate) fn date(self) -> Timestamp {
        Timestamp::from_millis(START + self.millis)
    }

    pub(crate) fn outcome(self) -> Outcome {
        let result = OutcomeResult::ALL[self.result];
        let was_sent = result != OutcomeResult::Skipped;
        let date = was_sent.then(|| self.date());
        let webhook = WebhookId::new(&format!("wh_{}", self.webhook)).unwrap();
        let origin = Origin {
            topic: "tracking".into(),
            partition: Partition(0),
            offset: Offset(i64::from(self.order)),
            timestamp: Timestamp::from_millis(START),
        };
        let status = match result {
            OutcomeResult::Success => Some(200),
            OutcomeResult::Retrying => Some(503),
            OutcomeResult::Failed => Some(404),
            OutcomeResult::Skipped => None,
        };
        Outcome {
            schema: Cow::Borrowed(SCHEMA),
            delivery_id: DeliveryId::new(&origin, &webhook),
            event_id: Cow::Owned(EventId::new(&origin.to_string()).unwrap()),
            webhook_id: webhook,
            account_id: Cow::Owned(AccountId::new(["acme", "shop"][usize::from(self.webhook % 2)]).unwrap()),
            event: EventType::ALL[self.event],
            trigger: Trigger::Event,
            endpoint: format!("https://m.example/{}", self.webhook).into(),
            order_id: Some(self.order.to_string().into()),
            transaction_id: self.order.is_multiple_of(2).then(|| format!("{}_1", self.order).into()),
            tracking: Some(format!("T{}", self.order % 3).into()),
            carrier: None,
            code: None,
            message: None,
            is_return: false,
            replay: None,
            result,
            attempt: self.retry + 1,
            retry: self.retry,
            max_retries: 10,
            status_code: status,
            status_text: status.map(|status| status.to_string().into()),
            error: None,
            date_start: date,
            date_end: date,
            time_spent_ms: date.map(|_| f64::from(self.spent)),
            next_attempt_at: None,
            event_time: Timestamp::from_millis(START),
            source: Some(origin.source()),
            request: RequestFacts { body_bytes: 2 },
            response: Some(ResponseFacts {
                content_type: None,
                body: "{}".to_owned(),
                truncated: false,
            }),
            trace_id: None,
            instance: "postrider-0".into(),
        }
    }

    /// The outcome as a record of the results topic.
    pub(crate) fn record(self, partition: i32, offset: i64) -> Record {
        record(&self.outcome(), self.date(), partition, offset)
    }
}

pub(crate) fn record(outcome: &Outcome, timestamp: Timestamp, partition: i32, offset: i64) -> Record {
    Record {
        partition: Partition(partition),
        offset: Offset(offset),
        timestamp,
        key: Some(Bytes::copy_from_slice(outcome.delivery_id.as_str().as_bytes())),
        value: Some(serde_json::to_vec(outcome).unwrap().into()),
    }
}
