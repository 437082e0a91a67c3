//! What is kept of a response.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use proptest::prelude::*;

use super::{MAX_TEXT, Received, text};

fn received(body: Vec<u8>) -> Received {
    Received {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::from(body),
        complete: true,
    }
}

#[test]
fn a_character_at_the_border_is_left_out_whole() {
    let body = format!("{}€uro", "x".repeat(MAX_TEXT - 1));
    let answer = received(body.into_bytes()).answer();
    assert_eq!(answer.response.body, "x".repeat(MAX_TEXT - 1));
    assert!(answer.response.truncated);
}

#[test]
fn a_body_of_exactly_the_limit_is_not_cut() {
    let answer = received(vec![b'x'; MAX_TEXT]).answer();
    assert_eq!(answer.response.body.len(), MAX_TEXT);
    assert!(!answer.response.truncated);
}

#[test]
fn a_long_content_type_and_a_strange_retry_after_are_bounded() {
    let mut long = received(vec![]);
    let value = HeaderValue::from_bytes("ä".repeat(400).as_bytes()).unwrap();
    long.headers.insert(CONTENT_TYPE, value.clone());
    long.headers.insert(RETRY_AFTER, value);
    let answer = long.answer();
    assert_eq!(answer.response.content_type.unwrap(), "ä".repeat(128));
    assert_eq!(answer.retry_after, None);
}

proptest! {
    #[test]
    fn the_text_is_short_and_begins_as_the_body_does(body in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let kept = text(&body);
        prop_assert!(kept.kept.len() <= MAX_TEXT);
        let whole = String::from_utf8_lossy(&body).into_owned();
        prop_assert!(whole.starts_with(&kept.kept));
        prop_assert_eq!(kept.is_cut, whole != kept.kept);
    }
}
