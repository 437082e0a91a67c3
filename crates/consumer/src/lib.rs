//! Reads source and retry topics, decodes records into events, keeps the offset ledger.
//!
//! An instance is two members of the group: one reads the sources, one the retry topics. Kafka evens out how many
//! partitions each member has, not those of each topic; so each kind is spread over the instances by itself.
//!
//! # Life of a record
//!
//! 1. The poll thread ([`consumer`]) reads it. Its partition's [`ledger`] says whether it was settled
//!    before a restart, and whether the partition is too far ahead of its watermark.
//! 2. A source record is [`decode`]d into an event and handed to routing, or becomes a dead letter.
//!    A retry record waits in the [`retry_tiers`] until it is due.
//! 3. When everything its deliveries came to is published, the committer asks the [`tracker`] what to
//!    commit with it, and settles it there once Kafka has the transaction.
//! 4. When its partition moves to another instance, [`rebalance`] drains it first. A partition that nobody
//!    has is noticed (`orphans`), and the group made to give it away.
//!
//! Reading order: `config`, `decode`, `ledger`, `tracker`, `retry_tiers`, `rebalance`, `setup`, `consumer`.

mod beginnings;
mod cleaner;
pub mod config;
pub mod consumer;
pub mod decode;
mod ends;
pub mod error;
pub mod ledger;
mod looks;
pub mod membership;
mod message;
pub mod metrics;
mod orphans;
pub mod outlets;
mod pauses;
mod range;
pub mod rebalance;
pub mod retry_tiers;
pub mod setup;
pub mod tracker;

pub use config::Config;
pub use consumer::Consumer;
pub use error::ConsumerError;
pub use membership::{Member, Members};
pub use metrics::Metrics;
pub use outlets::Outlets;
pub use setup::{Heartbeat, Setup, Shared, Topic};
