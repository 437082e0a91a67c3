//! Records as they are read: out of the client's buffers, which are lent for a moment only.

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
    let headers = message.headers();
    Fetched {
        origin: Origin {
            topic: Arc::clone(topic),
            partition: Partition(message.partition()),
            offset: Offset(message.offset()),
            timestamp: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        },
        key: message.key().map(Bytes::copy_from_slice),
        headers: headers.map(|all| all.iter().map(header).collect()).unwrap_or_default(),
        value: message.payload().map(Bytes::copy_from_slice),
    }
}
