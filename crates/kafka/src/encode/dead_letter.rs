//! Dead letters: the record as it came, what postrider says of it, and no more than the topic takes.

use std::sync::Arc;

use bytes::Bytes;
use postrider_types::{DeadLetter, Header, hex};

use super::{Encoder, OVERHEAD, Outgoing, headers_len, text, value_len};

const DEAD_LETTER_PREFIX: &str = "pr-";

impl Encoder {
    pub(super) fn dead_letter(&self, letter: &DeadLetter) -> Outgoing {
        let mut outgoing = Outgoing {
            topic: Arc::clone(&self.topics.dead_letters),
            sticky: false,
            key: letter.key.clone(),
            headers: dead_letter_headers(letter).into(),
            value: letter.value.clone(),
        };
        self.truncate(&mut outgoing);
        outgoing
    }

    /// A dead letter that the topic would refuse goes as far as it fits, with the whole value's digest. A key takes at
    /// most half of the room, its headers all of what they need if that is at most half of the rest, and the value
    /// what is left.
    fn truncate(&self, outgoing: &mut Outgoing) {
        if outgoing.size() <= self.limits.dead_letters {
            return;
        }
        let said = |header: &Header| header.name.starts_with(DEAD_LETTER_PREFIX);
        let (mut ours, theirs): (Vec<Header>, Vec<Header>) = outgoing.headers.iter().cloned().partition(said);
        let digest = outgoing.value.as_deref().map(sha256_hex);
        ours.extend(digest.map(|digest| text("pr-dl-sha256", &digest)));
        let mut room = self.limits.dead_letters.saturating_sub(OVERHEAD + headers_len(&ours));
        let cut = |part: &mut Option<Bytes>, most: usize| {
            if let Some(part) = part {
                part.truncate(most);
            }
            value_len(part.as_ref())
        };
        room -= cut(&mut outgoing.key, room / 2);
        let fits = headers_len(&theirs) <= room / 2;
        let theirs = if fits { theirs } else { Vec::new() };
        cut(&mut outgoing.value, room - headers_len(&theirs));
        outgoing.headers = theirs.into_iter().chain(ours).collect();
    }
}

/// The original headers, less the forged ones, and what postrider says.
fn dead_letter_headers(letter: &DeadLetter) -> Vec<Header> {
    let forged = |name: &str| {
        name.get(..3)
            .is_some_and(|start| start.eq_ignore_ascii_case(DEAD_LETTER_PREFIX))
    };
    let mut headers: Vec<Header> = letter
        .headers
        .iter()
        .filter(|header| !forged(&header.name))
        .cloned()
        .collect();
    let origin = &letter.origin;
    headers.extend([
        text("pr-dl-reason", letter.reason.as_str()),
        text("pr-dl-message", &letter.message),
        text("pr-dl-topic", &origin.topic),
        text("pr-dl-partition", &origin.partition.to_string()),
        text("pr-dl-offset", &origin.offset.to_string()),
        text("pr-dl-timestamp", &origin.timestamp.as_millis().to_string()),
    ]);
    if let Some(delivery) = &letter.delivery {
        headers.push(text("pr-webhook-id", delivery.webhook_id.as_str()));
        headers.push(text("pr-attempts", &delivery.attempts.to_string()));
        headers.extend(
            delivery
                .last_status
                .map(|status| text("pr-last-status", &status.to_string())),
        );
    }
    headers
}

fn sha256_hex(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hex::of(digest.as_ref())
}

#[cfg(test)]
mod tests {
    use postrider_types::event::last_header;
    use postrider_types::settlement::DeadDelivery;
    use postrider_types::{DeadLetterReason, Offset, Origin, Partition, Timestamp, WebhookId};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::config::ResultsConfig;
    use crate::encode::Limits;

    fn letter(value: Option<Bytes>) -> DeadLetter {
        DeadLetter {
            origin: Origin {
                topic: "shipments".into(),
                partition: Partition(1),
                offset: Offset(7),
                timestamp: Timestamp::from_millis(5),
            },
            key: Some("k".into()),
            headers: vec![text("trace", "x"), text("PR-dl-reason", "forged")],
            value,
            reason: DeadLetterReason::NotJson,
            message: "line 1".to_owned(),
            delivery: None,
        }
    }

    fn encoder(dead_letters: usize) -> Encoder {
        Encoder::new(
            "i-0",
            ResultsConfig::default(),
            "postrider.webhooks",
            Limits {
                dead_letters,
                ..Limits::DEFAULT
            },
        )
    }

    fn header<'a>(outgoing: &'a Outgoing, name: &str) -> Option<&'a str> {
        last_header(&outgoing.headers, name).map(|value| std::str::from_utf8(value).unwrap())
    }

    #[test]
    fn a_dead_letter_keeps_key_value_and_headers_and_loses_forged_ones() {
        let sent = encoder(10_000).dead_letter(&letter(Some("{".into())));
        assert_eq!(
            (sent.key.as_deref(), sent.value.as_deref()),
            (Some(&b"k"[..]), Some(&b"{"[..]))
        );
        assert_eq!(header(&sent, "trace"), Some("x"));
        assert_eq!(header(&sent, "PR-dl-reason"), None);
        let told = ["reason", "message", "topic", "partition", "offset", "timestamp"]
            .map(|name| header(&sent, &format!("pr-dl-{name}")).unwrap());
        assert_eq!(told, ["not_json", "line 1", "shipments", "1", "7", "5"]);
    }

    #[test]
    fn a_dead_letter_of_a_delivery_names_it() {
        let delivery = DeadDelivery {
            webhook_id: WebhookId::new("wh_1").unwrap(),
            attempts: 11,
            last_status: Some(503),
        };
        let sent = encoder(10_000).dead_letter(&DeadLetter {
            delivery: Some(delivery),
            ..letter(None)
        });
        assert_eq!(sent.value, None);
        let told = ["pr-webhook-id", "pr-attempts", "pr-last-status"].map(|name| header(&sent, name).unwrap());
        assert_eq!(told, ["wh_1", "11", "503"]);
    }

    #[test]
    fn what_the_topic_would_refuse_goes_truncated_with_its_digest() {
        let sent = encoder(2_000).dead_letter(&letter(Some(Bytes::from(vec![b'x'; 5_000]))));
        assert!(
            sent.size() <= 2_000 && sent.value.as_ref().unwrap().len() > 1_000,
            "{}",
            sent.size()
        );
        let digest = "c59d3c0480cc2d71d8f646e735e92da65450311eec46e81a5db8c7e6e8a92054";
        assert_eq!(header(&sent, "pr-dl-sha256"), Some(digest));
        let whole = encoder(10_000).dead_letter(&letter(Some(Bytes::from(vec![b'x'; 5_000]))));
        assert_eq!(header(&whole, "pr-dl-sha256"), None);
        assert_eq!(whole.value.map(|value| value.len()), Some(5_000));
    }

    #[test]
    fn a_dead_letter_without_a_value_or_with_a_large_key_fits_too() {
        let large = || Some(Bytes::from(vec![b'x'; 5_000]));
        let sent = |letter| encoder(2_000).dead_letter(&letter);
        let stuffed = vec![Header {
            name: "trace".into(),
            value: large(),
        }];
        let null = sent(DeadLetter {
            headers: stuffed.clone(),
            ..letter(None)
        });
        assert!(null.size() <= 2_000, "{}", null.size());
        assert_eq!((null.value.as_ref(), header(&null, "trace")), (None, None));
        assert_eq!(header(&null, "pr-dl-sha256"), None);
        let keyed = sent(DeadLetter {
            key: large(),
            ..letter(Some("[]".into()))
        });
        assert!(keyed.size() <= 2_000, "{}", keyed.size());
        assert!(keyed.key.is_some_and(|key| key.len() > 500));
        assert_eq!(keyed.value.as_deref(), Some(&b"[]"[..]));
        let small = sent(DeadLetter {
            headers: stuffed,
            ..letter(Some("[]".into()))
        });
        assert_eq!(
            (small.value.as_deref(), header(&small, "trace")),
            (Some(&b"[]"[..]), None)
        );
    }

    proptest! {
        #[test]
        fn a_dead_letter_fits_its_topic_and_is_whole_where_it_can_be(
            key in option::of(0..3_000_usize), value in option::of(0..3_000_usize), their in 0..3_000_usize,
            limit in 1_000..8_000_usize,
        ) {
            let bytes = |len: usize| Bytes::from(vec![b'x'; len]);
            let whole = DeadLetter {
                key: key.map(bytes),
                headers: vec![Header { name: "trace".into(), value: Some(bytes(their)) }],
                ..letter(value.map(bytes))
            };
            let (free, sent) = (encoder(1 << 20).dead_letter(&whole), encoder(limit).dead_letter(&whole));
            prop_assert!(sent.size() <= limit);
            if free.size() <= limit {
                prop_assert_eq!(sent, free);
            } else {
                prop_assert_eq!(header(&sent, "pr-dl-sha256").is_some(), value.is_some());
                prop_assert_eq!(header(&sent, "pr-dl-reason"), Some("not_json"));
                prop_assert_eq!((sent.key.is_some(), sent.value.is_some()), (key.is_some(), value.is_some()));
            }
        }
    }
}
