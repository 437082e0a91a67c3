//! What others wrote, and moments, as a page shows them. Templates escape what they are given; what a browser would
//! not show, or what would turn the line around, is escaped here.

use std::fmt;

use postrider_types::Timestamp;
use postrider_types::visible::{visible, visible_json};
use serde::de::IgnoredAny;

/// A text of somebody else's.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text(String);

impl Text {
    /// One line.
    pub(super) fn of(text: &str) -> Self {
        Self(visible(text).into_owned())
    }

    /// What a field holds to be changed: as it is, for it comes back. Nothing in it is markup even so.
    pub(super) fn kept(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Lines, as they are. JSON is laid out; its characters stay the same.
    pub(super) fn body(text: &str) -> Self {
        let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
        let laid_out = if is_json { laid_out(text) } else { text.to_owned() };
        Self(visible_json(&laid_out))
    }

    /// Lines as somebody typed them, to go on with.
    pub(super) fn typed(text: &str) -> Self {
        Self(visible_json(text))
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// JSON with a line for each value. Only the space between its words is changed: numbers keep their digits, names
/// their order.
fn laid_out(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut words = json.char_indices().peekable();
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some((at, word)) = words.next() {
        match word {
            '"' => {
                let string = string_at(&json[at..]);
                out.push_str(string);
                while words.next_if(|(next, _)| *next < at + string.len()).is_some() {}
            }
            '{' | '[' => {
                out.push(word);
                depth += 1;
                let closes = json[at + 1..].trim_start().starts_with(['}', ']']);
                if closes {
                    depth -= 1;
                } else {
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                if !out.ends_with(['{', '[']) {
                    depth = depth.saturating_sub(1);
                    new_line(&mut out, depth);
                }
                out.push(word);
            }
            ',' => {
                out.push(word);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

/// The JSON string that a text begins with.
fn string_at(text: &str) -> &str {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text, |end| &text[..end + 2])
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(Timestamp);

impl Moment {
    pub(super) const fn of(time: Timestamp) -> Self {
        Self(time)
    }

    /// To the millisecond, as programs write it.
    pub(super) fn exact(self) -> String {
        self.0.to_string()
    }

    /// The day of the year; which year is seldom a question.
    pub(super) fn day(self) -> String {
        let date = self.date();
        date.rsplit_once(' ').map_or(date.clone(), |(day, _)| day.to_owned())
    }

    /// The date.
    pub(super) fn date(self) -> String {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let exact = self.exact();
        let number = |range| exact.get(range).and_then(|digits: &str| digits.parse::<usize>().ok());
        let (year, month, day) = (number(0..4), number(5..7), number(8..10));
        let month = month.and_then(|month| MONTHS.get(month.wrapping_sub(1)));
        format!(
            "{} {} {}",
            day.unwrap_or_default(),
            month.unwrap_or(&"?"),
            year.unwrap_or_default()
        )
    }

    /// The time of day.
    pub(super) fn time(self) -> String {
        self.exact().get(11..19).unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} UTC", self.date(), self.time())
    }
}

/// A time that something took.
pub(super) fn spent(millis: f64) -> String {
    match millis {
        long if long >= 10_000.0 => format!("{:.1} s", long / 1000.0),
        short if short < 1.0 => format!("{short:.1} ms"),
        other => format!("{other:.0} ms"),
    }
}

/// A share of 1 in percent. What is not all of it is not shown as all of it.
pub(super) fn share(rate: Option<f64>) -> String {
    let Some(rate) = rate else { return "–".to_owned() };
    let percent = rate * 100.0;
    let shown = if percent < 100.0 { percent.min(99.9) } else { percent };
    if shown < 100.0 {
        format!("{shown:.1} %")
    } else {
        "100 %".to_owned()
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_a_line_around_is_shown() {
        assert_eq!(Text::of("a\u{202e}b\u{0}").to_string(), "a\\u{202e}b\\u{0}");
        assert_eq!(Text::body("a\n\u{202e}<b>").to_string(), "a\n\\u202e<b>");
    }

    #[test]
    fn json_is_laid_out_and_keeps_its_characters() {
        let json = r#"{"a":18446744073709551617,"b":[1.0,{"c":"x\"},[ \\"}],"d":{},"e": [ ] }"#;
        let shown = Text::body(json).to_string();
        assert_eq!(
            shown,
            "{\n  \"a\": 18446744073709551617,\n  \"b\": [\n    1.0,\n    {\n      \"c\": \"x\\\"},[ \\\\\"\n    }\n  ],\n  \
             \"d\": {},\n  \"e\": []\n}"
        );
        assert_eq!(Text::body("{\"a\":").to_string(), "{\"a\":");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(share(None), "–");
        assert_eq!(share(Some(1.0)), "100 %");
        assert_eq!(share(Some(0.99999)), "99.9 %");
    }

    #[test]
    fn a_time_spent_is_short() {
        assert_eq!(spent(7.4), "7 ms");
        assert_eq!(spent(0.42), "0.4 ms");
        assert_eq!(spent(15_012.0), "15.0 s");
    }

    #[test]
    fn a_moment_is_readable_and_exact() {
        let moment = Moment::of(Timestamp::from_millis(1_763_805_600_137));
        assert_eq!(moment.to_string(), "22 Nov 2025, 10:00:00 UTC");
        assert_eq!(moment.exact(), "2025-11-22T10:00:00.137Z");
    }
}
