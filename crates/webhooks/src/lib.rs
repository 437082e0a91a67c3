//! Which webhooks there are, what became of them, and how people change them.
//!
//! The webhooks of the configuration file are what their owner wrote. Managed webhooks are documents of the compacted
//! webhooks topic, with their secrets sealed. What postrider itself changed of either (disabled, because an endpoint
//! said 410 or failed for days) is a status record of the same topic. It is read to its end before any event is, and
//! followed from then on by every instance.
//!
//! # Life of a change
//!
//! 1. The [`Editor`] takes what a person sent; [`draft`] makes a webhook of it, or names the fields that cannot be
//!    taken.
//! 2. The [`Journal`] keeps every other writer out, and waits until the [`Directory`] has all that was written before.
//! 3. By the directory as it is then the editor decides (limit, version), and the document is sealed and written.
//! 4. Every instance reads it, this one before it answers, and lays it over what it had: routing's table is made anew.
//!
//! Reading order: `keys`, `document`, `status`, `directory`, `draft`, `refusal`, `journal`, `rules`, `once`, `editor`,
//! `topic`.

mod directory;
mod document;
pub mod draft;
mod editor;
mod journal;
mod keys;
mod once;
mod refusal;
mod rules;
mod sign;
mod status;
mod topic;

pub use directory::{Directory, Listed, Origin};
pub use editor::{Changed, Editor};
pub use journal::{Decide, Entry, Journal, MemoryJournal, Written};
pub use keys::{BadKey, Keyring, Unreadable};
pub use postrider_kafka::journal::{LONGEST_WRITE, Obstacle};
pub use refusal::Refusal;
pub use rules::{Judge, Rules};
pub use status::StatusTable;
pub use topic::TopicJournal;
