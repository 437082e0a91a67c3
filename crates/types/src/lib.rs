//! The vocabulary every crate of postrider shares. No I/O, no clock of its own choosing.
//!
//! # Life of a record
//!
//! 1. Kafka hands over a record at a [`Position`]. It becomes an [`Event`], or a [`DeadLetter`].
//! 2. The event arrives at routing as an [`Arrival`], together with the [`Record`] that has to be settled.
//! 3. Routing opens one [`Share`] of that record for each webhook that wants the event: a [`Delivery`].
//! 4. A delivery is attempted; what the attempt came to is a [`Resolution`]: outcomes, a parked
//!    successor, a dead letter.
//! 5. The last share of a record to be resolved yields [`Settled`]: everything that enters one Kafka
//!    transaction together with the record's offset.
//!
//! Reading order: `position`, `event`, `webhook`, `delivery`, `outcome`, `settlement`.

pub mod clock;
pub mod delivery;
pub mod event;
pub mod fault;
pub mod hex;
pub mod jitter;
pub mod named;
pub mod notice;
pub mod outcome;
pub mod position;
pub mod retry_record;
pub mod room;
pub mod secret;
pub mod settlement;
pub mod status;
pub mod successes;
pub mod trace;
pub mod transmission;
pub mod undelivered;
pub mod units;
pub mod visible;
pub mod webhook;

pub use clock::{Clock, Timestamp};
pub use delivery::{Carrier, Delivery, DeliveryId, ParkCause, Parked, Trigger};
pub use event::{AccountId, Event, EventId, EventType, Facts, Header};
pub use fault::Fault;
pub use named::Named;
pub use notice::{Notice, NoticeKind, StatusChange};
pub use outcome::{ErrorKind, Outcome, OutcomeOf, OutcomeResult};
pub use position::{AssignmentNumber, LONGEST_TOPIC, Offset, Origin, Partition, Position};
pub use secret::Secret;
pub use settlement::{Arrival, DeadLetter, DeadLetterReason, Held, Losses, Record, Resolution, Settled, Share};
pub use successes::Successes;
pub use trace::SpanId;
pub use transmission::{FirstConnection, Transmission};
pub use undelivered::{Owing, Undelivered};
pub use webhook::{Webhook, WebhookId};
