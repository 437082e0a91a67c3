//! Which webhooks there are, and what became of them.
//!
//! The webhooks of the configuration file are what their owner wrote. What postrider itself changed of
//! them (disabled, because an endpoint said 410 or failed for days) is a record of the webhooks topic
//! under the webhook's id, read to its end before any event is, and followed from then on by every
//! instance. The [`Directory`] lays one over the other and keeps routing's table true to both.

mod directory;
mod status;

pub use directory::Directory;
pub use status::StatusTable;
