//! The local index of the results topic: what logs, statistics and delivery pages are read from.
//!
//! # Life of an outcome here
//!
//! 1. The [`Follower`] reads it from the results topic, committed records only, from where the index ends.
//! 2. What it is filtered by is taken out of it; what is no outcome is counted and passed over.
//! 3. A batch of rows and the offsets they end at are written in one transaction of SQLite: whatever happens in
//!    between, an outcome is in the index once. The counts of its hour go with it.
//! 4. A [`Reader`] answers questions from it, each from one moment of the index and within a time: pages by
//!    [`Filter`] and [`Cursor`], what was added after a [`Mark`], one delivery, [`Stats`].
//! 5. When it is too old, or there are too many, it is pruned. Bounds that are wider than before bring it back.
//!
//! All of it can be made again from the topic: deleting the file, a damaged one, one of another release, a topic that
//! was made anew, all lead to an index that is built from the beginning while readers are told how far it is.
//!
//! Reading order: `key`, `terms`, `entry`, `filter`, `cursor`, `schema`, `writer`, `prune`, `query`, `histogram`,
//! `stats`, `progress`, `reader`, `follower`, `metrics`.

mod cursor;
mod entry;
mod filter;
mod fixed;
mod follower;
mod histogram;
mod key;
mod metrics;
mod progress;
mod prune;
mod query;
mod reader;
#[cfg(test)]
mod samples;
mod schema;
pub mod stats;
mod terms;
#[cfg(test)]
mod tests;
mod writer;

pub use cursor::{BadCursor, Cursor, Mark};
pub use entry::Entry;
pub use filter::{BadRetry, Filter, Retry};
pub use fixed::index_of;
pub use follower::{Follower, Settings, index};
pub use metrics::Metrics;
pub use postrider_kafka::feed::Record;
pub use progress::Indexed;
pub use reader::{Added, LARGEST_PAGE, Page, ReadError, Reader, TIME_LIMIT};
pub use stats::Stats;
