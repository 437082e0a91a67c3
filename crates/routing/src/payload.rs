//! An event's body as filters see it: read at most once, and only when a filter asks.

use std::cell::OnceCell;

use serde_json::Value;

/// A body that is read on first use.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    body: &'a [u8],
    value: OnceCell<Option<Value>>,
}

impl<'a> Payload<'a> {
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            value: OnceCell::new(),
        }
    }

    /// The body; `None` when it cannot be read. Of doubled fields the last one counts.
    pub(crate) fn value(&self) -> Option<&Value> {
        self.value
            .get_or_init(|| serde_json::from_slice(self.body).ok())
            .as_ref()
    }

    /// Whether a filter asked, and the body could not be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self.value.get(), Some(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_on_first_use_and_only_once() {
        let payload = Payload::new(br#"{"a":1,"a":2}"#);
        assert!(payload.value.get().is_none());
        let first: *const Value = payload.value().unwrap();
        assert_eq!(payload.value().unwrap()["a"], 2);
        assert!(std::ptr::eq(first, payload.value().unwrap()));
    }

    #[test]
    fn a_body_that_is_no_json_is_unreadable_once_it_was_asked_for() {
        let payload = Payload::new(b"{\"price\":1e999}");
        assert!(!payload.is_unreadable());
        assert_eq!(payload.value(), None);
        assert!(payload.is_unreadable());
    }
}
