//! Sends events to endpoints: knows HTTP, no Kafka.
//!
//! # Life of a delivery
//!
//! 1. The [`Dispatcher`] takes a delivery from its channel and puts it into its webhook's lane. Lanes
//!    take turns, and no webhook has more requests in flight than it may.
//! 2. When its turn comes, an attempt begins: a task of its own, with the webhook's prepared target
//!    (judged URL, credentials, signing key, connections).
//! 3. The client resolves the name, checks every address, dials one that was checked, sends, and reads
//!    what comes within one deadline and fixed bounds. What it met is a [`reply::Reply`].
//! 4. The reply is judged: delivered, to be tried again, given up. A retry gets its due time from the
//!    schedule and is parked.
//! 5. The outcome, and the parked successor or the dead letter, resolve the delivery's share. The last
//!    share of a record yields what the committer takes, and frees the attempt's place once it is taken.
//!
//! Reading order: `config`, `reply`, `verdict`, `schedule`, `headers`, `signature`, `endpoint`,
//! `address`, `client`, `target`, `attempt`, `lane`, `dispatcher`.

mod causes;
mod connector;
mod resolver;
mod running;
mod scrub;
mod targets;

pub mod address;
pub mod attempt;
pub mod client;
pub mod config;
pub mod dispatcher;
pub mod egress;
pub mod endpoint;
pub mod headers;
pub mod lane;
pub mod metrics;
pub mod reply;
pub mod response;
pub mod retry_after;
pub mod schedule;
pub mod signature;
pub mod target;
pub mod tls;
pub mod verdict;

#[cfg(test)]
mod samples;

pub use config::Config;
pub use dispatcher::{Dispatcher, Parts};
pub use metrics::Metrics;
pub use schedule::Schedule;
pub use target::{BadTarget, Target, webhook_faults};
