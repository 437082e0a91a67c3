//! How values appear in explanations: short, and with control characters escaped.

use serde_json::Value;

/// The longest text of a payload's or a filter's value, in characters.
const SHOWN_VALUE: usize = 64;

/// The first `limit` characters of a text.
pub(super) fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text, SHOWN_VALUE))
}

/// A key or path without quotes.
pub(super) fn name(text: &str) -> String {
    cut(text, SHOWN_VALUE).escape_debug().to_string()
}

/// What stands at a path.
pub(super) fn found(value: Option<&Value>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(Value::String(text)) => quoted(text),
        Some(Value::Array(_)) => "a list".to_owned(),
        Some(Value::Object(_)) => "an object".to_owned(),
        Some(scalar) => scalar.to_string(),
    }
}
