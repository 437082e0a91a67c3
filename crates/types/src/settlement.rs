//! Settling a record: its deliveries settle together, and only then do their outcomes, their parked
//! successors, its dead letters and its offset enter one transaction.
//!
//! A [`Record`] is split into one [`Share`] per delivery. Resolving the last share yields [`Settled`],
//! which whoever resolved it hands to the committer. A share that is dropped unresolved (a panic, a
//! cancelled task) loses the whole record; [`Losses`] counts that, so losing work is never silent.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::delivery::{Carrier, Parked, TraceParent};
use crate::event::{Event, Header};
use crate::notice::{Notice, StatusChange};
use crate::outcome::Written;
use crate::position::{Origin, Position};
use crate::undelivered::Owing;
use crate::webhook::WebhookId;

/// Counts records that were dropped unsettled. The consumer watches it and ends as a fault, because
/// only a new reading brings such a record back.
#[derive(Debug, Clone, Default)]
pub struct Losses(Arc<AtomicU64>);

impl Losses {
    /// How many so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What all unsettled records hold together.
#[derive(Debug, Default)]
pub struct HeldTotals {
    events: AtomicU64,
    bytes: AtomicU64,
}

impl HeldTotals {
    /// Records held.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Their bytes: key, value and headers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// One record's share of [`HeldTotals`], given back when dropped.
#[derive(Debug)]
pub struct Held {
    totals: Arc<HeldTotals>,
    bytes: u64,
}

impl Held {
    /// Counts a record of `bytes` as held until this is dropped.
    #[must_use]
    pub fn take(totals: &Arc<HeldTotals>, bytes: u64) -> Self {
        totals.events.fetch_add(1, Ordering::Relaxed);
        totals.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self {
            totals: Arc::clone(totals),
            bytes,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.totals.events.fetch_sub(1, Ordering::Relaxed);
        self.totals.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why something became a dead letter. Closed, so it can be a header and a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadLetterReason {
    /// The value is null or has no bytes.
    Empty,
    /// The value is larger than `consumer.max_event_bytes`.
    TooLarge,
    /// The value is no UTF-8.
    NotUtf8,
    /// The value is no single, well-formed JSON document within the limits.
    NotJson,
    /// The value is JSON, but no object.
    NotObject,
    /// Header, payload and source name no known event type.
    UnknownEventType,
    /// The account is no account's id.
    BadAccount,
    /// The event id is no event's id.
    BadEventId,
    /// A retry record could not be read back.
    BadRetryRecord,
    /// A delivery failed and no attempt is left.
    Exhausted,
    /// A delivery met a status that is never tried again.
    PermanentStatus,
    /// A delivery met 410.
    Gone,
    /// A delivery's endpoint has a forbidden address.
    BlockedAddress,
    /// A delivery's endpoint has a URL that cannot be used.
    BadUrl,
}

impl DeadLetterReason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Empty,
        Self::TooLarge,
        Self::NotUtf8,
        Self::NotJson,
        Self::NotObject,
        Self::UnknownEventType,
        Self::BadAccount,
        Self::BadEventId,
        Self::BadRetryRecord,
        Self::Exhausted,
        Self::PermanentStatus,
        Self::Gone,
        Self::BlockedAddress,
        Self::BadUrl,
    ];

    /// The word used in headers and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::NotObject => "not_object",
            Self::UnknownEventType => "unknown_event_type",
            Self::BadAccount => "bad_account",
            Self::BadEventId => "bad_event_id",
            Self::BadRetryRecord => "bad_retry_record",
            Self::Exhausted => "exhausted",
            Self::PermanentStatus => "permanent_status",
            Self::Gone => "gone",
            Self::BlockedAddress => "blocked_address",
            Self::BadUrl => "bad_url",
        }
    }
}

/// The delivery that a dead letter ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadDelivery {
    /// The webhook it was owed to.
    pub webhook_id: WebhookId,
    /// Attempts made.
    pub attempts: u32,
    /// The status code of the last one.
    pub last_status: Option<u16>,
}

/// A record that could not be read as an event, or a delivery that will not be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The record it came from.
    pub origin: Origin,
    /// Its key, unchanged.
    pub key: Option<Bytes>,
    /// Its headers, unchanged.
    pub headers: Vec<Header>,
    /// Its value, unchanged; `None` is Kafka's null.
    pub value: Option<Bytes>,
    /// Why, in a closed word.
    pub reason: DeadLetterReason,
    /// Why, in a sentence.
    pub message: String,
    /// The delivery, if it got that far.
    pub delivery: Option<DeadDelivery>,
}

/// What one delivery came to, for now or for good.
#[derive(Debug, Default)]
pub struct Resolution {
    /// What the attempt came to; none when it was parked without one.
    pub outcome: Option<Written>,
    /// The successor that waits in a retry topic.
    pub parked: Option<Box<Parked>>,
    /// The dead letter that ends it.
    pub dead_letter: Option<Box<DeadLetter>>,
    /// What an operator or the merchant should hear of.
    pub notices: Vec<Notice>,
    /// What it changes of its webhook.
    pub status_change: Option<StatusChange>,
    /// The trace parent that the source record carried, where traces are told of.
    pub parent: Option<TraceParent>,
}

/// A record with everything its deliveries came to: what one transaction takes, whole.
#[derive(Debug)]
pub struct Settled {
    /// The record whose offset this settles.
    pub position: Position,
    /// What the deliveries came to.
    pub resolutions: Vec<Resolution>,
    /// The webhook whose parked delivery the record was; `None` for a source record.
    pub released: Option<WebhookId>,
    /// Keeps the record counted as held until its transaction is committed.
    pub held: Held,
}

/// A record that was read and has to be settled.
#[derive(Debug)]
#[must_use = "an unsettled record is lost to this process and read again"]
pub struct Record {
    inner: Option<(Position, Held)>,
    released: Option<WebhookId>,
    losses: Losses,
    owing: Option<Owing>,
}

impl Record {
    /// Begins to hold a record.
    pub fn new(position: Position, held: Held, losses: &Losses) -> Self {
        Self {
            inner: Some((position, held)),
            released: None,
            losses: losses.clone(),
            owing: None,
        }
    }

    /// Says that it is the parked delivery of a webhook.
    pub fn releasing(mut self, webhook: WebhookId) -> Self {
        self.released = Some(webhook);
        self
    }

    /// Counts the one delivery that it is as owed until that is closed or lost.
    pub fn owing(mut self, owing: Owing) -> Self {
        self.owing = Some(owing);
        self
    }

    /// Settles it at once, with what is known of it: nothing, a dead letter, skipped outcomes.
    pub fn settle(mut self, resolutions: Vec<Resolution>) -> Settled {
        let (position, held) = self.take();
        Settled {
            position,
            resolutions,
            released: self.released.take(),
            held,
        }
    }

    /// Splits it into one share per delivery; `settled` is what other deliveries came to already.
    pub fn split(mut self, deliveries: NonZeroUsize, settled: Vec<Resolution>) -> Vec<Share> {
        let (position, held) = self.take();
        let open = Open {
            unresolved: deliveries.get(),
            settled: Some(Settled {
                position,
                resolutions: settled,
                released: self.released.take(),
                held,
            }),
        };
        let shared = Arc::new(Mutex::new(open));
        let share = || Share {
            record: Some(Arc::clone(&shared)),
            is_alone: deliveries.get() == 1,
            losses: self.losses.clone(),
            owing: self.owing.take(),
        };
        std::iter::repeat_with(share).take(deliveries.get()).collect()
    }

    /// Where it was read.
    #[must_use]
    pub fn position(&self) -> &Position {
        let (position, _) = self.inner.as_ref().expect("taken only by the methods that consume it");
        position
    }

    /// Gives it back unsettled on purpose: its partition is gone, or the process is stopping.
    pub fn give_back(mut self) {
        self.inner = None;
    }

    fn take(&mut self) -> (Position, Held) {
        self.inner.take().expect("taken only by the methods that consume it")
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.inner.is_some() {
            self.losses.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct Open {
    unresolved: usize,
    settled: Option<Settled>,
}

/// One delivery's part in settling the record that brought it.
#[derive(Debug)]
#[must_use = "an unresolved share makes the record be read again"]
pub struct Share {
    record: Option<Arc<Mutex<Open>>>,
    is_alone: bool,
    losses: Losses,
    owing: Option<Owing>,
}

impl Share {
    /// Whether the record has no other delivery, which losing this share would make to be sent again.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Counts its delivery as owed until it is closed or lost, unless its record brought that along.
    pub fn owes(&mut self, owing: impl FnOnce() -> Owing) {
        self.owing.get_or_insert_with(owing);
    }

    /// Closes this share. The last one to be closed returns the settled record, to be committed.
    #[must_use = "the last share's record has to be handed to the committer"]
    pub fn resolve(mut self, resolution: Resolution) -> Option<Settled> {
        let record = self.record.take().expect("taken only by the method that consumes it");
        let mut open = record.lock();
        open.unresolved -= 1;
        // Gone already when another share was lost: then the record is read again, and this answer with it.
        open.settled.as_mut()?.resolutions.push(resolution);
        if open.unresolved == 0 {
            open.settled.take()
        } else {
            None
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        if record.lock().settled.take().is_some() {
            self.losses.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the consumer hands to routing: an event, what brought it, and what has to be settled.
#[derive(Debug)]
pub struct Arrival {
    /// The event.
    pub event: Arc<Event>,
    /// The kind of record that brought it.
    pub carrier: Carrier,
    /// The record to settle.
    pub record: Record,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::position::{AssignmentNumber, Offset, Partition};
    use crate::undelivered::Undelivered;

    fn record(totals: &Arc<HeldTotals>, losses: &Losses) -> Record {
        let position = Position {
            topic: "shipments".into(),
            partition: Partition(0),
            offset: Offset(7),
            assignment: AssignmentNumber(1),
        };
        Record::new(position, Held::take(totals, 100), losses)
    }

    fn shares(n: usize) -> (Vec<Share>, Arc<HeldTotals>, Losses) {
        let (totals, losses) = (Arc::default(), Losses::default());
        let shares = record(&totals, &losses).split(NonZeroUsize::new(n).unwrap(), Vec::new());
        (shares, totals, losses)
    }

    #[test]
    fn only_the_last_share_settles_the_record() {
        let (mut shares, totals, losses) = shares(3);
        assert!(shares.pop().unwrap().resolve(Resolution::default()).is_none());
        assert!(shares.pop().unwrap().resolve(Resolution::default()).is_none());
        let settled = shares.pop().unwrap().resolve(Resolution::default()).unwrap();
        assert_eq!(settled.resolutions.len(), 3);
        assert_eq!((totals.events(), totals.bytes()), (1, 100));
        drop(settled);
        assert_eq!((totals.events(), totals.bytes(), losses.count()), (0, 0, 0));
    }

    #[test]
    fn what_a_record_owes_is_owed_until_it_is_settled_or_its_share_is() {
        let undelivered = Undelivered::new(Clock::starting_at(Timestamp::from_millis(10_000)));
        let owing = || undelivered.hold(&WebhookId::new("wh").unwrap(), Timestamp::from_millis(5_000));
        let is_owed = || !undelivered.ages().is_empty();
        let (totals, losses) = (Arc::default(), Losses::default());

        let skipped = record(&totals, &losses).owing(owing());
        assert!(is_owed());
        drop(skipped.settle(Vec::new()));
        assert!(!is_owed());

        let one = NonZeroUsize::new(1).unwrap();
        let mut shares = record(&totals, &losses).owing(owing()).split(one, Vec::new());
        assert!(is_owed());
        drop(shares.pop().unwrap().resolve(Resolution::default()));
        assert!(!is_owed());
    }

    #[test]
    fn a_dropped_share_loses_the_whole_record_once() {
        let (mut shares, totals, losses) = shares(3);
        drop(shares.pop());
        assert!(shares.pop().unwrap().resolve(Resolution::default()).is_none());
        assert!(shares.pop().unwrap().resolve(Resolution::default()).is_none());
        assert_eq!((losses.count(), totals.events()), (1, 0));
    }

    #[test]
    fn a_record_given_back_on_purpose_is_no_loss() {
        let (totals, losses) = (Arc::default(), Losses::default());
        record(&totals, &losses).give_back();
        assert_eq!((losses.count(), totals.events()), (0, 0));
    }

    #[test]
    fn a_dropped_record_is_a_loss() {
        let (totals, losses) = (Arc::default(), Losses::default());
        drop(record(&totals, &losses));
        assert_eq!((losses.count(), totals.events()), (1, 0));
    }
}
