//! How what was read is handed on. The poll thread waits for room, but never so that the group or the retries
//! that come due have to wait with it.

use std::time::Duration;

use fail::fail_point;
use postrider_types::{Arrival, Carrier, Parked, Resolution, Settled};
use rdkafka::consumer::Consumer as _;
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::sync::mpsc::Permit;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::{CROWDED, Consumer, GOING_BACK, SHORT_WAIT, SLICE, Sleeper};
use crate::error::ConsumerError;
use crate::outlets::{Offer, Outgoing, Outlets};
use crate::retry_tiers::{Wake, tier_for};

impl Consumer {
    /// Hands something on. While there is no room for it, retries go on; after a short wait the sources rest,
    /// and the retry topics are read without them.
    pub(super) fn hand_on(&mut self, outgoing: Outgoing, outlets: &Outlets) -> Result<(), ConsumerError> {
        self.handing += 1;
        let handed = self.hand_on_patiently(outgoing, outlets);
        self.handing -= 1;
        self.stalled &= self.handing > 0;
        handed
    }

    fn hand_on_patiently(&mut self, mut outgoing: Outgoing, outlets: &Outlets) -> Result<(), ConsumerError> {
        let began = Instant::now();
        loop {
            if self.setup.stop.is_cancelled() || !self.tracker.dispatch(outgoing.position()) {
                outgoing.give_back();
                return Ok(());
            }
            match outgoing.offer(outlets, &self.setup.runtime, self.slice()) {
                Offer::Taken => return Ok(()),
                Offer::Closed => return Err(ConsumerError::Abandoned),
                Offer::Full(same) => outgoing = same,
            }
            // It must not hold up its partition, should that be revoked meanwhile.
            self.tracker.take_back(outgoing.position());
            let waited = self.wake_sleepers(outlets).and_then(|()| {
                if began.elapsed() >= SHORT_WAIT {
                    self.stand_by(outlets)?;
                }
                Ok(())
            });
            if let Err(error) = waited {
                outgoing.give_back();
                return Err(error);
            }
        }
    }

    /// How long room is waited for before something else is looked after.
    fn slice(&self) -> Duration {
        if self.crowded {
            return CROWDED;
        }
        let next = self.tiers.next().map(|at| at.since(self.clock.now()));
        next.unwrap_or(SLICE).min(SLICE)
    }

    /// Polls while the pipeline is full, for the group's sake and the retries'.
    fn stand_by(&mut self, outlets: &Outlets) -> Result<(), ConsumerError> {
        self.stalled = true;
        self.upkeep()?;
        let kafka = std::sync::Arc::clone(&self.kafka);
        match kafka.poll(Duration::ZERO) {
            Some(Ok(message)) if self.handing == 1 && self.setup.is_retry(message.topic()) => {
                self.take_in(&message, outlets)
            }
            // What slipped through the pause is read again.
            Some(Ok(message)) => self.put_back(&message),
            Some(Err(error)) => self.meet(error),
            None => Ok(()),
        }
    }

    fn put_back(&self, message: &BorrowedMessage<'_>) -> Result<(), ConsumerError> {
        self.go_back(message.topic(), message.partition(), message.offset())
    }

    /// Reads on from this offset.
    pub(super) fn go_back(&self, topic: &str, partition: i32, offset: i64) -> Result<(), ConsumerError> {
        let back = rdkafka::Offset::Offset(offset);
        let sought = self.kafka.seek(topic, partition, back, GOING_BACK);
        sought.map_err(ConsumerError::Fatal)
    }

    /// Hands on the retries whose time has come, as far as there is room for them.
    pub(super) fn wake_sleepers(&mut self, outlets: &Outlets) -> Result<(), ConsumerError> {
        self.crowded = false;
        while let Some(wake) = self.tiers.ready(self.clock.now()) {
            let gone_on = match wake {
                Wake::Due => place(outlets.retries.try_reserve())?.map(|place| self.release(place)),
                Wake::Hop => place(outlets.settled.try_reserve())?.map(|place| self.hop(place)),
            };
            if gone_on.is_none() {
                self.crowded = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn release(&mut self, place: Permit<'_, Arrival>) {
        let Some(Sleeper { event, carrier, record }) = self.awake() else {
            return;
        };
        if carrier.is_live() {
            // Its record owes it from now on, also where no request comes of it.
            let undelivered = &self.setup.undelivered;
            undelivered.came_back(&carrier.webhook_id, event.time(), carrier.due);
        }
        let carrier = Carrier::Retry(carrier);
        place.send(Arrival { event, carrier, record });
    }

    fn hop(&mut self, place: Permit<'_, Settled>) {
        let Some(Sleeper { event, carrier, record }) = self.awake() else {
            return;
        };
        if carrier.is_live() {
            let undelivered = &self.setup.undelivered;
            undelivered.parked(&carrier.webhook_id, event.time(), carrier.due);
        }
        let remaining = carrier.due.since(self.clock.now());
        let parked = Parked {
            event,
            tier: tier_for(&self.setup.delays, remaining).unwrap_or(remaining),
            waiting: *carrier,
        };
        place.send(record.settle(vec![Resolution {
            parked: Some(Box::new(parked)),
            ..Resolution::default()
        }]));
    }

    /// Takes the next retry out of its tier and begins to answer for it; `None` when its partition is going.
    fn awake(&mut self) -> Option<Sleeper> {
        let (_, sleeper) = self.tiers.pop(self.clock.now())?;
        fail_point!("k9");
        if self.tracker.dispatch(sleeper.record.position()) {
            return Some(sleeper);
        }
        sleeper.record.give_back();
        None
    }
}

/// A place, if there is room.
fn place<T>(reserved: Result<Permit<'_, T>, TrySendError<()>>) -> Result<Option<Permit<'_, T>>, ConsumerError> {
    match reserved {
        Ok(place) => Ok(Some(place)),
        Err(TrySendError::Full(())) => Ok(None),
        Err(TrySendError::Closed(())) => Err(ConsumerError::Abandoned),
    }
}
