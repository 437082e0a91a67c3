//! Sends events to endpoints: knows HTTP, no Kafka.
//!
//! # Life of a delivery
//!
//! 1. The [`Dispatcher`] takes a delivery from one of its channels. One that could not be sent soon, because
//!    its webhook's circuit is open or its lane too slow for it, is parked: that is no attempt. Any other
//!    waits in its webhook's lane. Lanes take turns, and so do fresh events and retries.
//! 2. When its turn comes, an attempt begins: a task of its own, with the webhook's prepared target
//!    (judged URL, credentials, signing key, client certificate, connections).
//! 3. The client resolves the name, checks every address, dials one that was checked, sends, and reads
//!    what comes within one deadline and fixed bounds. What it met is a [`reply::Reply`].
//! 4. The reply is judged: delivered, to be tried again, given up. A retry gets its due time from the
//!    schedule and is parked.
//! 5. What it tells of the endpoint is taken into the webhook's standing: circuits open and close, a webhook
//!    that is gone or fails for days is disabled.
//! 6. The outcome, and the parked successor or the dead letter, resolve the delivery's share. The last
//!    share of a record yields what the committer takes. While it takes nothing, nothing is sent.
//!
//! Reading order: `config`, `reply`, `verdict`, `schedule`, `headers`, `signature`, `endpoint`,
//! `address`, `identity`, `client`, `target`, `attempt`, `lane`, `lanes`, `circuit`, `bucket`, `pace`, `bookings`,
//! `parking`, `standing`, `traffic`, `dispatcher`, `trial`.

mod causes;
mod connector;
mod notices;
mod resolver;
mod running;
mod scrub;
mod standing;
mod targets;
mod traffic;

pub mod address;
pub mod attempt;
pub mod bookings;
pub mod bucket;
pub mod circuit;
pub mod client;
pub mod config;
pub mod dispatcher;
pub mod egress;
pub mod endpoint;
pub mod headers;
pub mod identity;
pub mod lane;
pub mod lanes;
pub mod metrics;
pub mod pace;
pub mod parking;
pub mod reply;
pub mod response;
pub mod retry_after;
pub mod schedule;
pub mod signature;
pub mod target;
pub mod tls;
pub mod trial;
pub mod verdict;

#[cfg(test)]
mod samples;

pub use config::Config;
pub use dispatcher::{Dispatcher, Parts};
pub use metrics::Metrics;
pub use schedule::Schedule;
pub use target::{BadTarget, Target, webhook_faults};
