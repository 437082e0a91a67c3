//! Records as they are read: out of the client's buffers, which are lent for a moment only.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use postrider_types::{Header, Offset, Origin, Partition, Timestamp};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

/// A record, detached from the client's buffers.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// Where it was read.
    pub origin: Origin,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<Header>,
    /// Its value; `None` is Kafka's null.
    pub value: Option<Bytes>,
}

impl Fetched {
    /// About what it holds in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|one| one.name.len() + len(&one.value)).sum();
        len(&self.key) + len(&self.value) + headers
    }
}

/// Copies a message out of the client's buffers: the one copy of an event's body.
#[must_use]
pub fn detach(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Fetched {
    let header = |header: rdkafka::message::Header<'_, &[u8]>| Header {
        name: header.key.into(),
        value: header.value.map(Bytes::copy_from_slice),
    };
    Fetched {
        origin: Origin {
            topic: Arc::clone(topic),
            partition: Partition(message.partition()),
            offset: Offset(message.offset()),
            timestamp: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        },
        key: message.key().map(Bytes::copy_from_slice),
        headers: headers(message).map(header).collect(),
        value: message.payload().map(Bytes::copy_from_slice),
    }
}

/// The headers of a message, less those whose name is no UTF-8: the client takes names for that without looking and
/// panics, and a broker takes whatever it is given.
pub(crate) fn headers<'a>(
    message: &'a BorrowedMessage<'_>,
) -> impl Iterator<Item = rdkafka::message::Header<'a, &'a [u8]>> {
    let all = message.headers();
    let read = move |at| catch_unwind(AssertUnwindSafe(|| all?.try_get(at))).ok().flatten();
    (0..all.map_or(0, |all| all.count())).filter_map(read)
}

/// Whether a panic at this place is the client's at a header's name, which is caught: no fault of anybody but the
/// record's.
#[must_use]
pub fn is_at_a_headers_name(place: &Location<'_>) -> bool {
    let file = place.file();
    file.contains("rdkafka-") && file.ends_with("message.rs")
}
