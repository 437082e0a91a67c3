//! What becomes of a record that was read: an event on its way, a dead letter, a delivery that waits.

use std::sync::Arc;
use std::time::Duration;

use fail::fail_point;
use postrider_types::{Arrival, Carrier, Event, Held, Offset, Partition, Position, Record, Resolution};
use rdkafka::message::{BorrowedMessage, Message as _};
use tracing::debug;

use super::{Consumer, Sleeper};
use crate::decode::{self, RawRecord, Rejection};
use crate::error::ConsumerError;
use crate::ledger::Delivered;
use crate::message::detach;
use crate::outlets::{Outgoing, Outlets};
use crate::retry_tiers::Read;
use crate::setup::Topic;
use crate::tracker::TopicPartition;

impl Consumer {
    pub(super) fn take_in(&mut self, message: &BorrowedMessage<'_>, outlets: &Outlets) -> Result<(), ConsumerError> {
        let Some((name, topic)) = self.setup.topics.get_key_value(message.topic()) else {
            return Ok(());
        };
        let (name, topic) = (Arc::clone(name), *topic);
        let (partition, offset) = (Partition(message.partition()), message.offset());
        self.forget_strangers();
        let Some((assignment, delivered)) = self.tracker.deliver(&name, partition, offset) else {
            return Ok(());
        };
        match delivered {
            Delivered::Settled | Delivered::UnderWay => return Ok(()),
            Delivered::TooFar => return self.step_back(&(name, partition), offset),
            Delivered::New => {}
        }
        fail_point!("k1");
        let raw = detach(message, &name);
        let shared = &self.setup.shared;
        let position = Position {
            topic: name,
            partition,
            offset: Offset(offset),
            assignment,
        };
        let record = Record::new(position, Held::take(&shared.totals, raw.size()), &shared.losses);
        match topic {
            Topic::Source(default) => {
                let decoded = decode::source(&raw, default, self.setup.config.max_event_bytes.as_usize());
                self.fresh(raw, record, decoded, outlets)
            }
            Topic::Retry(delay) => self.parked(raw, record, delay, outlets),
        }
    }

    /// The gap before a record can reach over the span's bound: it is read again when there is room.
    fn step_back(&mut self, key: &TopicPartition, offset: i64) -> Result<(), ConsumerError> {
        self.pauses.pause(&self.kafka, std::slice::from_ref(key));
        self.go_back(&key.0, key.1.0, offset)
    }

    fn fresh(
        &mut self,
        raw: RawRecord,
        record: Record,
        decoded: Result<Event, Rejection>,
        outlets: &Outlets,
    ) -> Result<(), ConsumerError> {
        match decoded {
            Ok(event) => {
                self.setup.metrics.consumed(&event.origin.topic, event.event_type);
                let arrival = Arrival {
                    event: Arc::new(event),
                    carrier: Carrier::Source,
                    record,
                };
                self.hand_on(Outgoing::Arrival(arrival), outlets)
            }
            Err(rejection) => self.reject(raw, record, &rejection, outlets),
        }
    }

    fn reject(
        &mut self,
        raw: RawRecord,
        record: Record,
        rejection: &Rejection,
        outlets: &Outlets,
    ) -> Result<(), ConsumerError> {
        let position = record.position();
        debug!(%position, reason = rejection.reason().as_str(), "Record is no event; kept as a dead letter");
        let dead_letter = Some(Box::new(raw.rejected(rejection)));
        let settled = record.settle(vec![Resolution {
            dead_letter,
            ..Resolution::default()
        }]);
        self.hand_on(Outgoing::Settled(settled), outlets)
    }

    fn parked(
        &mut self,
        raw: RawRecord,
        record: Record,
        delay: Duration,
        outlets: &Outlets,
    ) -> Result<(), ConsumerError> {
        let (offset, appended, bytes) = (raw.origin.offset.0, raw.origin.timestamp, raw.size());
        let kept = raw.clone();
        match decode::retry(raw) {
            Ok((event, waiting)) => {
                let position = record.position();
                let key = (Arc::clone(&position.topic), position.partition);
                let due = waiting.due;
                let mut record = record.releasing(waiting.webhook_id.clone());
                if waiting.is_live() {
                    record = record.owing(self.setup.undelivered.hold(&waiting.webhook_id, event.time()));
                }
                let item = Sleeper {
                    event,
                    carrier: waiting,
                    record,
                };
                self.tiers.take_in(
                    key,
                    delay,
                    Read {
                        offset,
                        appended,
                        due,
                        bytes,
                        item,
                    },
                );
                Ok(())
            }
            Err(rejection) => self.reject(kept, record, &rejection, outlets),
        }
    }
}
