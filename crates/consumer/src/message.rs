//! From the client's message to a record of our own.

use std::sync::Arc;

use postrider_kafka::record;
use rdkafka::message::BorrowedMessage;

use crate::decode::RawRecord;

/// Copies a message out of the client's buffers: the one copy of an event's body.
pub(crate) fn detach(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> RawRecord {
    record::detach(message, topic).into()
}
