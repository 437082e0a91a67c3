//! From the client's message to a record of our own.

use std::sync::Arc;

use bytes::Bytes;
use postrider_types::{Header, Offset, Origin, Partition, Timestamp};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

use crate::decode::RawRecord;

/// Copies a message out of the client's buffers: the one copy of an event's body.
pub(crate) fn detach(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> RawRecord {
    let header = |header: rdkafka::message::Header<'_, &[u8]>| Header {
        name: header.key.into(),
        value: header.value.map(Bytes::copy_from_slice),
    };
    RawRecord {
        origin: Origin {
            topic: Arc::clone(topic),
            partition: Partition(message.partition()),
            offset: Offset(message.offset()),
            timestamp: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        },
        key: message.key().map(Bytes::copy_from_slice),
        headers: message
            .headers()
            .map(|headers| headers.iter().map(header).collect())
            .unwrap_or_default(),
        value: message.payload().map(Bytes::copy_from_slice),
    }
}
