//! Kafka's side of postrider: connection settings, topics, and the committer.
//!
//! # Life of a settled record
//!
//! 1. A [`Settled`](postrider_types::Settled) record comes to the [`committer`] with everything its
//!    deliveries came to.
//! 2. [`encode`] makes outcomes, dead letters and [`parked`] deliveries of it.
//! 3. It joins a [`batch`]; the [`publisher`] commits the batch together with the offsets that the
//!    [`offsets::OffsetKeeper`] derives from the same list.
//!
//! Reading order: `config`, `connection`, `encode`, `batch`, `offsets`, `publisher`, `committer`, `pending`,
//! `tail`, `feed`, `lookup`, `record`, `partitions`, `reader`, `search`, `seat`, `rest`, `journal`, `topics`, `rights`,
//! `access`.

pub mod access;
pub mod aside;
pub mod batch;
pub mod committer;
pub mod config;
pub mod connection;
pub mod encode;
pub mod feed;
pub mod journal;
pub mod lookup;
pub mod metrics;
pub mod offsets;
pub mod parked;
mod partitions;
pub mod pending;
pub mod publisher;
pub mod reader;
pub mod record;
pub mod rest;
pub mod rights;
pub mod search;
pub mod seat;
pub mod tail;
pub mod topics;

pub use committer::{Committer, CommitterError, Flush, Mode};
pub use config::{Config, ResultsConfig, TopicsConfig};
pub use connection::{Connection, Reachability};
pub use metrics::Metrics;
