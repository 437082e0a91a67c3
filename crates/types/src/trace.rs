//! The ids that tie a delivery's attempts together in a trace. They follow from what everybody knows of the delivery, so
//! that whichever instance makes an attempt, or tells of it, names the same spans; also after a crash.

use crate::delivery::DeliveryId;

/// The id of a span within its trace; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

impl SpanId {
    /// The span of a delivery, or of its replay.
    #[must_use]
    pub fn of_delivery(delivery: &DeliveryId, replay: Option<&str>) -> Self {
        let text = [delivery.as_str(), "\0", replay.unwrap_or_default()];
        let hash = text.iter().flat_map(|part| part.bytes()).fold(OFFSET, fold);
        Self(mixed(hash))
    }

    /// The span of one of its attempts, counted from 1.
    #[must_use]
    pub fn of_attempt(self, attempt: u32) -> Self {
        let bytes = self.0.to_be_bytes().into_iter().chain(attempt.to_be_bytes());
        Self(mixed(bytes.fold(OFFSET, fold)))
    }

    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

// FNV-1a, 64 bits.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fold(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Spreads what little differs over all bits; zero is forbidden by the standard and made one.
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::event::EventId;
    use crate::webhook::WebhookId;

    fn delivery(event: &str, webhook: &str) -> DeliveryId {
        let event = EventId::new(event).unwrap();
        DeliveryId::of_test(&event, &WebhookId::new(webhook).unwrap())
    }

    #[test]
    fn every_delivery_replay_and_attempt_has_an_id_of_its_own_and_keeps_it() {
        let mut ids = HashSet::new();
        for (event, webhook) in [("e1", "a"), ("e1", "b"), ("e2", "a")] {
            for replay in [None, Some("r1"), Some("r2")] {
                let span = SpanId::of_delivery(&delivery(event, webhook), replay);
                assert_eq!(span, SpanId::of_delivery(&delivery(event, webhook), replay));
                ids.insert(span);
                ids.extend((1..=11).map(|attempt| span.of_attempt(attempt)));
            }
        }
        assert_eq!(ids.len(), 9 * 12);
    }

    #[test]
    fn the_ids_are_those_of_every_release() {
        let span = SpanId::of_delivery(&delivery("e1", "a"), None);
        assert_eq!(format!("{:016x}", span.as_u64()), "30c4a14bd67e9053");
    }
}
