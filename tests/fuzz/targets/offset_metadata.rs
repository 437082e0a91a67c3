//! A commit's metadata, which any tool can write into the group: as text, behind a checksum that is right, and as
//! postrider writes it for whatever is settled.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use postrider_consumer::ledger::{Ledger, MAX_SPAN, decode, encode, framed};

/// What Kafka takes as a commit's metadata.
const MAX_CHARACTERS: usize = 4_096;

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((base, rest)) = data.split_first_chunk() else {
        return Corpus::Reject;
    };
    let base = i64::from_be_bytes(*base);
    if let Ok(text) = std::str::from_utf8(rest) {
        check_text(base, text);
    }
    for kind in ['E', 'B', 'R'] {
        check_text(base, &framed(kind, 0, rest));
    }
    check_settled(offset(base), &runs(offset(base), rest));
    Corpus::Keep
});

fn check_text(base: i64, text: &str) {
    let read = decode(base, text);
    assert_eq!(read, decode(base, text), "reading is the same every time");
    if let Ok(settled) = read {
        assert!(settled.is_sorted_by(|a, b| a < b), "offsets ascend");
        assert!(settled.first().is_none_or(|first| *first >= base));
        let in_reach = |last: &i64| last.checked_sub(base).is_some_and(|ahead| ahead < MAX_SPAN);
        assert!(settled.last().is_none_or(in_reach), "no offset is out of reach");
        if base == offset(base) {
            check_settled(base, &settled);
        }
    }
}

/// What is settled above `base`, or from it on, is written in what Kafka takes, and read as the same.
fn check_settled(base: i64, settled: &[i64]) {
    let ledger = Ledger::new(base, settled);
    let above: Vec<i64> = ledger.settled_above().collect();
    let text = encode(&ledger, 7);
    assert!(
        text.is_ascii() && text.len() <= MAX_CHARACTERS,
        "{} characters",
        text.len()
    );
    assert_eq!(decode(ledger.base(), &text), Ok(above.clone()));
    let below = base..ledger.base();
    assert!(
        below.chain(above).eq(settled.iter().copied()),
        "nothing is lost or made up"
    );
}

/// An offset that a log can come to.
const fn offset(base: i64) -> i64 {
    base & (i64::MAX / 2)
}

/// Runs of unsettled and settled offsets from `base` on, as far as a partition runs ahead.
fn runs(base: i64, lengths: &[u8]) -> Vec<i64> {
    let mut settled = Vec::new();
    let mut at = base;
    for pair in lengths.chunks_exact(2) {
        let start = at + i64::from(pair[0]);
        at = start + i64::from(pair[1]);
        settled.extend(start..at);
    }
    settled.retain(|offset| *offset < base + MAX_SPAN);
    settled
}
