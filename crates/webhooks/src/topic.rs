//! The journal that all instances share: the webhooks topic.

use std::sync::Arc;

use bytes::Bytes;
use postrider_kafka::encode::Outgoing;
use postrider_kafka::journal::{Journal as Writer, WriteError};
use serde_json::to_vec;

use crate::journal::{Decide, Entry, Journal, Written};
use crate::refusal::Refusal;
use crate::status;

/// Writes to the webhooks topic, and notices to theirs, in one transaction. Needs a runtime with several threads.
#[derive(Debug)]
pub struct TopicJournal {
    writer: Writer,
    webhooks: Arc<str>,
    notices: Arc<str>,
}

impl TopicJournal {
    /// Over a writer of the topic `webhooks`.
    #[must_use]
    pub fn new(writer: Writer, webhooks: impl Into<Arc<str>>, notices: impl Into<Arc<str>>) -> Self {
        Self {
            writer,
            webhooks: webhooks.into(),
            notices: notices.into(),
        }
    }

    fn record(&self, entry: Entry) -> Outgoing {
        let (topic, key, value) = match entry {
            Entry::Document(id, value) => (&self.webhooks, id.to_string(), value),
            Entry::Status(change) => {
                let key = status::key(&change.webhook_id);
                (&self.webhooks, key, Some(status::record(change)))
            }
            Entry::NoStatus(id) => (&self.webhooks, status::key(&id), None),
            Entry::Notice(notice) => {
                let value = to_vec(&notice).expect("a notice is JSON");
                (&self.notices, notice.account_id.to_string(), Some(value))
            }
        };
        Outgoing {
            topic: Arc::clone(topic),
            sticky: false,
            key: Some(Bytes::from(key)),
            headers: Arc::default(),
            value: value.map(Bytes::from),
        }
    }
}

impl Journal for TopicJournal {
    fn write<'a>(&'a self, decide: Decide<'a>) -> Written<'a> {
        let records = move || Ok(decide()?.into_iter().map(|entry| self.record(entry)).collect());
        Box::pin(async move {
            let written = tokio::task::block_in_place(|| self.writer.write(records));
            written.map_err(|error| match error {
                WriteError::Refused(refusal) => refusal,
                WriteError::Unavailable(obstacle) => Refusal::Unavailable(obstacle),
                WriteError::Uncertain(obstacle) => Refusal::Uncertain(obstacle),
            })
        })
    }
}
