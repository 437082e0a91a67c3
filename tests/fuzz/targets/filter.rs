//! A filter on the first line, and a payload on the others: reading is bounded and the same every time, and matching
//! keeps to the laws of `any` and `all`.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use postrider_routing::Filter;
use postrider_routing::filter::MAX_FAULTS;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((filter, payload)) = documents(data) else {
        return Corpus::Reject;
    };
    let read = Filter::parse(&filter);
    assert_eq!(read, Filter::parse(&filter), "reading is the same every time");
    match read {
        Ok(read) => check(&read, &filter, &payload),
        Err(faults) => assert!((1..=MAX_FAULTS).contains(&faults.len())),
    }
    Corpus::Keep
});

fn documents(data: &[u8]) -> Option<(Value, Value)> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let filter = serde_json::from_slice(&data[..end]).ok()?;
    Some((filter, serde_json::from_slice(&data[end..]).ok()?))
}

fn check(read: &Filter, filter: &Value, payload: &Value) {
    let matches = read.matches(payload);
    let miss = read.first_miss(payload);
    assert_eq!(
        miss.is_none(),
        matches,
        "there is a miss exactly when there is no match"
    );
    assert!(miss.is_none_or(|miss| miss.chars().count() <= 501), "a miss is short");
    assert!(matches || !read.is_empty(), "what asks nothing matches everything");
    for group in [json!({"all": [filter, filter]}), json!({"any": [filter]})] {
        // Not an empty filter's, and not one's that is at a bound already.
        if let Ok(group) = Filter::parse(&group) {
            assert_eq!(group.matches(payload), matches, "a group of itself is itself");
        }
    }
    let kept: Value = serde_json::from_str(&filter.to_string()).expect("what was written can be read");
    assert_eq!(
        Filter::parse(&kept).as_ref(),
        Ok(read),
        "a filter that was kept is the same"
    );
}
