//! An outcome as JSON, written in one go: the same bytes as serde writes, at a quarter of the instructions. Outcomes are
//! the only documents that are made for every attempt, and most of their fields are short texts.

use serde::Serialize;

use super::OutcomeOf;
use crate::clock::Timestamp;

impl OutcomeOf<'_> {
    /// Appends the outcome as JSON.
    pub fn write_json(&self, json: &mut Vec<u8>) {
        let mut object = Object::begin(json);
        object.text("schema", &self.schema);
        object.text("delivery_id", self.delivery_id.as_str());
        object.text("event_id", self.event_id.as_str());
        object.text("webhook_id", self.webhook_id.as_str());
        object.text("account_id", self.account_id.as_str());
        object.text("event", self.event.as_str());
        object.value("trigger", &self.trigger);
        object.text("endpoint", &self.endpoint);
        object.text_or_null("order_id", self.order_id.as_deref());
        object.text_or_null("transaction_id", self.transaction_id.as_deref());
        object.text_or_null("tracking", self.tracking.as_deref());
        object.text_or_null("carrier", self.carrier.as_deref());
        object.value("code", &self.code);
        object.text_or_null("message", self.message.as_deref());
        object.value("is_return", &self.is_return);
        object.text_or_null("replay", self.replay.as_deref());
        object.text("result", self.result.as_str());
        object.value("attempt", &self.attempt);
        object.value("retry", &self.retry);
        object.value("max_retries", &self.max_retries);
        object.value("status_code", &self.status_code);
        object.text_or_null("status_text", self.status_text.as_deref());
        object.value("error", &self.error);
        object.time_or_null("date_start", self.date_start);
        object.time_or_null("date_end", self.date_end);
        object.value("time_spent_ms", &self.time_spent_ms);
        object.time_or_null("next_attempt_at", self.next_attempt_at);
        object.time_or_null("event_time", Some(self.event_time));
        object.value("source", &self.source);
        object.value("request", &self.request);
        object.value("response", &self.response);
        object.text_or_null("trace_id", self.trace_id.as_deref());
        object.text("instance", &self.instance);
        object.end();
    }
}

/// An object that is being written.
struct Object<'a> {
    json: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Object<'a> {
    const fn begin(json: &'a mut Vec<u8>) -> Self {
        Self { json, separator: b'{' }
    }

    fn end(self) {
        self.json.push(b'}');
    }

    /// The name of a field; it needs no escapes.
    fn name(&mut self, name: &str) {
        self.json.push(self.separator);
        self.separator = b',';
        self.json.push(b'"');
        self.json.extend_from_slice(name.as_bytes());
        self.json.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        if is_plain(text) {
            self.plain(text.as_bytes());
        } else {
            self.json(text);
        }
    }

    fn text_or_null(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.null(name),
        }
    }

    fn time_or_null(&mut self, name: &str, time: Option<Timestamp>) {
        let Some(time) = time else { return self.null(name) };
        self.name(name);
        self.plain(&time.text());
    }

    fn value(&mut self, name: &str, value: &impl Serialize) {
        self.name(name);
        self.json(value);
    }

    fn null(&mut self, name: &str) {
        self.name(name);
        self.json.extend_from_slice(b"null");
    }

    fn plain(&mut self, text: &[u8]) {
        self.json.push(b'"');
        self.json.extend_from_slice(text);
        self.json.push(b'"');
    }

    fn json(&mut self, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(&mut *self.json, value).expect("no map with odd keys is written, and a Vec takes all");
    }
}

/// Whether a text stands in JSON as it is. Looks at every byte, whatever it finds: that is faster than stopping.
fn is_plain(text: &str) -> bool {
    let is_escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    !text.bytes().fold(false, |found, byte| found | is_escaped(byte))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::outcome::{ErrorKind, Outcome, OutcomeError, OutcomeResult, RequestFacts, ResponseFacts, Written};
    use crate::{AccountId, DeliveryId, EventId, EventType, Offset, Partition, Trigger, WebhookId};

    /// Texts with and without what has to be escaped.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![".{0,40}", "[a-z\"\\\\\u{0}-\u{1f}\u{7f}é𝄞]{0,20}", Just(String::new())]
    }

    fn shared() -> impl Strategy<Value = Option<Cow<'static, str>>> {
        prop::option::of(text().prop_map(Cow::from))
    }

    fn time() -> impl Strategy<Value = Option<Timestamp>> {
        prop::option::of(any::<i64>().prop_map(Timestamp::from_millis))
    }

    fn response() -> impl Strategy<Value = Option<ResponseFacts>> {
        let facts = (prop::option::of(text()), text(), any::<bool>());
        prop::option::of(facts.prop_map(|(content_type, body, truncated)| ResponseFacts {
            content_type,
            body,
            truncated,
        }))
    }

    prop_compose! {
        fn outcome()(
            texts in prop::array::uniform6(text()),
            shared in prop::array::uniform6(shared()),
            times in prop::array::uniform4(time()),
            (code, spent, attempt) in (any::<Option<i64>>(), prop::option::of(0.0..1e9), any::<u32>()),
            response in response(),
            which in 0..4_usize,
        ) -> Outcome {
            let [endpoint, replay, trace, topic, message, status] = texts;
            let [order_id, transaction_id, tracking, carrier, told, instance] = shared;
            let event_id = EventId::new("e1").unwrap();
            let webhook_id = WebhookId::new("wh_1").unwrap();
            let error = OutcomeError { kind: ErrorKind::ALL[which], message };
            let source = crate::position::Source { topic, partition: Partition(3), offset: Offset(7) };
            Outcome {
                schema: super::super::SCHEMA.into(),
                delivery_id: DeliveryId::of_test(&event_id, &webhook_id),
                event_id: Cow::Owned(event_id),
                webhook_id,
                account_id: Cow::Owned(AccountId::default()),
                event: EventType::ALL[which % 3],
                trigger: [Trigger::Event, Trigger::FirstConnection, Trigger::Test, Trigger::Replay][which],
                endpoint: endpoint.into(),
                order_id,
                transaction_id,
                tracking,
                carrier,
                code,
                message: told,
                is_return: which == 1,
                replay: (which == 2).then_some(replay.into()),
                result: OutcomeResult::ALL[which],
                attempt,
                retry: attempt / 2,
                max_retries: 10,
                status_code: (which > 1).then_some(503),
                status_text: (which > 1).then_some(status.into()),
                error: (which < 2).then_some(error),
                date_start: times[0],
                date_end: times[1],
                time_spent_ms: spent,
                next_attempt_at: times[2],
                event_time: times[3].unwrap_or_default(),
                source: (which > 0).then_some(source),
                request: RequestFacts { body_bytes: 600 },
                response,
                trace_id: (which == 3).then_some(trace.into()),
                instance: instance.unwrap_or_default(),
            }
        }
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_that_serde_writes(outcome in outcome()) {
            let mut json = b"before".to_vec();
            outcome.write_json(&mut json);
            let expected = format!("before{}", serde_json::to_string(&outcome).unwrap());
            prop_assert_eq!(String::from_utf8(json).unwrap(), expected);
        }

        #[test]
        fn what_is_written_reads_back(outcome in outcome()) {
            let written = Written::from(outcome);
            let read = written.read().unwrap();
            prop_assert_eq!(Written::from(read).json, written.json);
        }
    }
}
