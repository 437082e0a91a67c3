//! Finds the webhooks that want an event. Pure: no I/O, no clock, no Kafka, no HTTP.
//!
//! # Life of an arrival
//!
//! 1. The [`Router`] takes an arrival and the [`Table`] of this moment from the [`SharedTable`].
//! 2. [`plan`](plan::plan) decides. A source record is owed to every active webhook of its account that
//!    lists its type and whose [`Filter`] matches; a retry record to the one webhook it waited for.
//! 3. Each webhook that is owed the event gets a delivery with its share of the record.
//! 4. Webhooks that would have got it but are disabled, cancelled or gone come out as `skipped`
//!    outcomes. A record that is owed to nobody is settled at once, with these.
//!
//! Why a webhook does not match is told by [`explain()`], with the very judgement that routing uses.
//!
//! Reading order: `filter`, `payload`, `table`, `plan`, `router`, `explain`.

pub mod config;
pub mod explain;
pub mod filter;
pub mod metrics;
pub mod plan;
pub mod router;
pub mod shared;
pub mod table;

mod judgement;
mod payload;
#[cfg(test)]
mod samples;

pub use config::Config;
pub use explain::{Explanation, explain};
pub use filter::Filter;
pub use metrics::Metrics;
pub use router::Router;
pub use shared::SharedTable;
pub use table::{Matches, Table};
