//! What the API answered.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A good answer: JSON, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    text: String,
}

impl Answer {
    /// `None` when it is no JSON.
    pub(super) fn new(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let fits = text.is_empty() || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        fits.then(|| Self { text: text.to_owned() })
    }

    /// The text as it came.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The JSON; null when there is none.
    pub(crate) fn value(&self) -> Value {
        self.read().unwrap_or_default()
    }

    /// The JSON as a type, if it is of that type.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.text).ok()
    }
}
