//! Replays: deliveries that are made again because a person asked for them.
//!
//! # Life of a replay
//!
//! 1. It is [`asked`](replays) for: its [`document`] enters the replays topic, and every instance's [`table`] of it.
//! 2. One instance has the seat, and with it the shared transactional id: its [`term`] takes the replay up.
//! 3. What the results topic holds by then is the replay's ground: the [`selection`] counts, one partition after the
//!    other, the deliveries whose last outcome is final and fits.
//! 4. The same lists, made again, are gone through at the replay's [`pace`]: each delivery is parked in the smallest
//!    retry topic, due at once, together with the document that says how far the replay has come, in one transaction.
//!    The [`run`] decides that; events come from their source records or dead letters by the `shelf`.
//! 5. From there on they are parked deliveries like all others: every instance takes its part.
//!
//! Reading order: `config`, `document`, `request`, `selection`, `pace`, `ports`, `run`, `table`, `replays`, `book`, `shelf`,
//! `term`, `service`.

mod book;
pub mod config;
pub mod document;
pub mod metrics;
pub mod pace;
pub mod ports;
pub mod replays;
pub mod request;
pub mod run;
#[cfg(test)]
mod samples;
pub mod selection;
pub mod service;
mod shelf;
pub mod table;
pub mod term;

pub use config::Config;
pub use document::{Replay, State};
pub use metrics::Metrics;
pub use replays::{Refusal, Replays, Store};
pub use request::Wanted;
pub use service::{Parts, Service};
pub use shelf::Decoder;
pub use table::Table;
