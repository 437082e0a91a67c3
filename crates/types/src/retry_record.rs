//! How large the retry record of an event's delivery is at most: whether the delivery can be parked at all, and what the
//! retry topics have to take beside their sources' records.

use bytes::Bytes;

use crate::event::{Event, Header};

/// What a retry record takes beside the event's own bytes: the delivery's state, and the record's own fields.
pub const ROOM: usize = 16 * 1024;
/// What a header takes there beside its name and value: its prefix, and two lengths of up to three bytes.
const HEADER: usize = 8;

/// Whether an event's retry record would fit into a record of `largest` bytes.
#[must_use]
pub fn fits(event: &Event, largest: usize) -> bool {
    let len = |bytes: Option<&Bytes>| bytes.map_or(0, Bytes::len);
    let header = |header: &Header| header.name.len() + len(header.value.as_ref()) + HEADER;
    let headers: usize = event.headers.iter().map(header).sum();
    event.body.len() + len(event.key.as_ref()) + headers + ROOM <= largest
}
