//! Texts of others as they are shown, on a terminal or a page: what could move a cursor, colour a line or turn it around
//! is escaped.

use std::borrow::Cow;

/// The text with every such character written as `\n`, `\u{1b}` and the like.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if is_hidden(char) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    Cow::Owned(shown)
}

/// JSON with these characters escaped as JSON has it. It stays the same JSON: outside of strings it has none of them.
#[must_use]
pub fn visible_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if is_hidden(char) && !matches!(char, '\n' | '\r' | '\t') {
            let mut units = [0; 2];
            let units = char.encode_utf16(&mut units);
            shown.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Controls, line and paragraph separators, and what sets the direction of a text.
fn is_hidden(char: char) -> bool {
    const SEPARATORS: std::ops::RangeInclusive<char> = '\u{2028}'..='\u{202e}';
    char.is_control()
        || SEPARATORS.contains(&char)
        || matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_is_escaped_and_the_rest_is_left() {
        assert_eq!(visible("Zürich \"a\\b\" 東京"), "Zürich \"a\\b\" 東京");
        assert_eq!(
            visible("a\u{1b}[2J\r\n\u{9b}\u{202e}b"),
            "a\\u{1b}[2J\\r\\n\\u{9b}\\u{202e}b"
        );
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "{\n \"a\": \"x\u{9b}\u{202e}\u{7f}y\"}";
        let shown = visible_json(text);
        assert_eq!(shown, "{\n \"a\": \"x\\u009b\\u202e\\u007fy\"}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&shown), read(text));
    }
}
