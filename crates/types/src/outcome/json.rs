//! An outcome as JSON, written in one go: the same bytes as serde writes, at a quarter of the instructions. Outcomes are
//! the only documents that are made for every attempt, and most of their fields are short texts.

use serde::Serialize;

use super::{OutcomeOf, ResponseFacts};
use crate::clock::Timestamp;
use crate::position::Source;

/// A field's name as it stands in an object, so that it is written in one piece. Names need no escapes.
macro_rules! name {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

impl OutcomeOf<'_> {
    /// Appends the outcome as JSON.
    pub fn write_json(&self, json: &mut Vec<u8>) {
        let mut object = Object::begin(json);
        object.text(name!("schema"), &self.schema);
        object.text(name!("delivery_id"), self.delivery_id.as_str());
        object.text(name!("event_id"), self.event_id.as_str());
        object.word(name!("webhook_id"), self.webhook_id.as_str());
        object.word(name!("account_id"), self.account_id.as_str());
        object.word(name!("event"), self.event.as_str());
        object.value(name!("trigger"), &self.trigger);
        object.text(name!("endpoint"), &self.endpoint);
        object.text_or_null(name!("order_id"), self.order_id.as_deref());
        object.text_or_null(name!("transaction_id"), self.transaction_id.as_deref());
        object.text_or_null(name!("tracking"), self.tracking.as_deref());
        object.text_or_null(name!("carrier"), self.carrier.as_deref());
        object.value(name!("code"), &self.code);
        object.text_or_null(name!("message"), self.message.as_deref());
        object.value(name!("is_return"), &self.is_return);
        object.text_or_null(name!("replay"), self.replay.as_deref());
        object.word(name!("result"), self.result.as_str());
        object.value(name!("attempt"), &self.attempt);
        object.value(name!("retry"), &self.retry);
        object.value(name!("max_retries"), &self.max_retries);
        object.value(name!("status_code"), &self.status_code);
        object.text_or_null(name!("status_text"), self.status_text.as_deref());
        object.value(name!("error"), &self.error);
        object.time_or_null(name!("date_start"), self.date_start);
        object.time_or_null(name!("date_end"), self.date_end);
        object.value(name!("time_spent_ms"), &self.time_spent_ms);
        object.time_or_null(name!("next_attempt_at"), self.next_attempt_at);
        object.time_or_null(name!("event_time"), Some(self.event_time));
        match &self.source {
            Some(source) => write_source(object.begin_in(name!("source")), source),
            None => object.null(name!("source")),
        }
        let mut request = object.begin_in(name!("request"));
        request.value(name!("body_bytes"), &self.request.body_bytes);
        request.end();
        match &self.response {
            Some(response) => write_response(object.begin_in(name!("response")), response),
            None => object.null(name!("response")),
        }
        object.text_or_null(name!("trace_id"), self.trace_id.as_deref());
        object.text(name!("instance"), &self.instance);
        object.end();
    }
}

fn write_source(mut object: Object<'_>, source: &Source) {
    object.text(name!("topic"), &source.topic);
    object.value(name!("partition"), &source.partition);
    object.value(name!("offset"), &source.offset);
    object.end();
}

fn write_response(mut object: Object<'_>, response: &ResponseFacts) {
    object.text_or_null(name!("content_type"), response.content_type.as_deref());
    object.text(name!("body"), &response.body);
    object.value(name!("truncated"), &response.truncated);
    object.end();
}

/// An object that is being written. Each name comes with a comma before it; that of the first becomes the brace.
struct Object<'a> {
    json: &'a mut Vec<u8>,
    begun_at: usize,
}

impl<'a> Object<'a> {
    const fn begin(json: &'a mut Vec<u8>) -> Self {
        let begun_at = json.len();
        Self { json, begun_at }
    }

    /// An object as the value of a field.
    fn begin_in(&mut self, name: &'static str) -> Object<'_> {
        self.name(name);
        Object::begin(self.json)
    }

    fn end(self) {
        self.json[self.begun_at] = b'{';
        self.json.push(b'}');
    }

    // Inlined, so that its length is known: what is copied for a few bytes costs more to call than to do.
    #[inline]
    fn name(&mut self, name: &'static str) {
        self.json.extend_from_slice(name.as_bytes());
    }

    #[inline]
    fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        self.quoted(text);
    }

    /// A text of which its type says that nothing in it needs an escape.
    #[inline]
    fn word(&mut self, name: &'static str, word: &str) {
        self.name(name);
        self.plain(word.as_bytes());
    }

    #[inline]
    fn text_or_null(&mut self, name: &'static str, text: Option<&str>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.null(name),
        }
    }

    #[inline]
    fn time_or_null(&mut self, name: &'static str, time: Option<Timestamp>) {
        let Some(time) = time else { return self.null(name) };
        self.name(name);
        self.plain(&time.text());
    }

    #[inline]
    fn value(&mut self, name: &'static str, value: &impl Serialize) {
        self.name(name);
        self.json(value);
    }

    #[inline]
    fn null(&mut self, name: &'static str) {
        self.name(name);
        self.json.extend_from_slice(b"null");
    }

    fn quoted(&mut self, text: &str) {
        if is_plain(text) {
            self.plain(text.as_bytes());
        } else {
            self.json(text);
        }
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
