//! The identifiers that rows are looked up by. Kept as hashes, in buckets of time: what is written lately stays
//! together, and what is old goes away as a whole.

use postrider_types::Outcome;

/// An identifier of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Delivery,
    Order,
    Transaction,
    Tracking,
}

/// The hash of a kind and a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Term(pub(crate) i64);

impl Term {
    /// FNV-1a: the same in every build. Whoever makes two texts collide gains nothing, since what is found is
    /// compared with what was asked for.
    pub(crate) fn new(kind: Kind, text: &str) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let bytes = std::iter::once(kind as u8).chain(text.bytes());
        let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        Self(hash.cast_signed())
    }

    /// Those of an outcome.
    pub(crate) fn of(outcome: &Outcome) -> impl Iterator<Item = Self> {
        let delivery = Some(outcome.delivery_id.as_str());
        let all = [
            (Kind::Delivery, delivery),
            (Kind::Order, outcome.order_id.as_deref()),
            (Kind::Transaction, outcome.transaction_id.as_deref()),
            (Kind::Tracking, outcome.tracking.as_deref()),
        ];
        all.into_iter().filter_map(|(kind, text)| Some(Self::new(kind, text?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_of_its_kind_and_the_same_in_every_build() {
        assert_ne!(Term::new(Kind::Order, "1"), Term::new(Kind::Tracking, "1"));
        assert_eq!(Term::new(Kind::Order, "24957298"), Term(3_934_806_954_255_791_648));
    }
}
