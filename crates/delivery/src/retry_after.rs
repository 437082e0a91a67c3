//! `Retry-After`: seconds, or one of the three forms of an HTTP date. An endpoint's word is foreign
//! text: what is not understood, negative or past counts as not said.

use std::time::Duration;

use postrider_types::Timestamp;

/// The longest text that is looked at; every valid form is shorter.
const MAX_LEN: usize = 64;

/// How long the endpoint asks to wait, seen from `now`.
#[must_use]
pub fn parse(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim_matches([' ', '\t']);
    if text.is_empty() || text.len() > MAX_LEN {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are still a number: the schedule caps it.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let wait = Timestamp::from(httpdate::parse_http_date(text).ok()?).since(now);
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110.
    const EXAMPLE_SECS: i64 = 784_111_777;

    const fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn seconds_are_taken_as_they_are() {
        for (text, secs) in [
            ("0", 0),
            ("120", 120),
            (" 7\t", 7),
            ("99999999999999999999999", u64::MAX),
        ] {
            assert_eq!(parse(text, at(0)), Some(Duration::from_secs(secs)), "{text}");
        }
    }

    #[test]
    fn all_three_date_forms_count_from_now() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(
                parse(text, at(EXAMPLE_SECS - 90)),
                Some(Duration::from_secs(90)),
                "{text}"
            );
        }
    }

    #[test]
    fn the_past_and_nonsense_count_as_not_said() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "-5",
            "+5",
            "1.5",
            "5s",
            "soon",
            "",
            " ",
            "٣",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
        ] {
            assert_eq!(parse(text, at(EXAMPLE_SECS)), None, "{text:?}");
        }
        assert_eq!(parse(&"1".repeat(65), at(0)), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), now in any::<i64>()) {
            let _ = parse(&text, Timestamp::from_millis(now));
        }

        #[test]
        fn no_date_like_text_makes_it_panic(
            text in "(Sun|Mon|Xyz),? [0-9]{1,2}[ -](Nov|Feb|Abc)[ -][0-9]{2,5} [0-9]{2}:[0-9]{2}:[0-9]{2}( GMT)?",
            now in any::<i64>(),
        ) {
            let _ = parse(&text, Timestamp::from_millis(now));
        }

        #[test]
        fn a_date_that_was_written_is_read_back(secs in 0..253_402_300_799_i64, ahead in 1..1_000_000_i64) {
            let text = httpdate::fmt_http_date(at(secs).into());
            let wait = parse(&text, at(secs - ahead));
            prop_assert_eq!(wait, Some(Duration::from_secs(ahead.unsigned_abs())));
        }
    }
}
