//! Where a page ended, and up to where the topic was seen. Both are opaque to whoever carries them, and mean the same
//! to every instance and after the index was built again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use postrider_types::{Offset, Partition};

use crate::key::Key;

/// Partitions that a mark can name: as many as the text is read for.
const MOST_PARTITIONS: usize = 4_096;

/// The text is no cursor, or none of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is none that was given out; start again without one")]
pub struct BadCursor;

/// Where a page ended: the next one begins with what is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(crate) Key);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{:016x}", self.0.0)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let digits = text.strip_prefix('b').filter(|digits| digits.len() == 16);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let key = digits.and_then(|digits| i64::from_str_radix(digits, 16).ok());
        key.filter(|key| *key >= 0).map(|key| Self(Key(key))).ok_or(BadCursor)
    }
}

/// Up to where the topic was seen: the next offset of each partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark(pub(crate) BTreeMap<Partition, Offset>);

impl Mark {
    /// The next offset of a partition; of one that the mark does not know, the first.
    pub(crate) fn next(&self, partition: Partition) -> Offset {
        self.0.get(&partition).copied().unwrap_or(Offset(0))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a")?;
        for (at, (partition, offset)) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            write!(f, "{dot}{partition}-{offset}")?;
        }
        Ok(())
    }
}

impl FromStr for Mark {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let rest = text.strip_prefix('a').ok_or(BadCursor)?;
        if rest.is_empty() {
            return Ok(Self::default());
        }
        let parts = rest.split('.').take(MOST_PARTITIONS + 1).map(position);
        let seen: BTreeMap<_, _> = parts.collect::<Option<_>>().ok_or(BadCursor)?;
        (seen.len() <= MOST_PARTITIONS).then_some(Self(seen)).ok_or(BadCursor)
    }
}

fn position(text: &str) -> Option<(Partition, Offset)> {
    let (partition, offset) = text.split_once('-')?;
    let (partition, offset): (u32, u64) = (number(partition)?, number(offset)?);
    Some((
        Partition(i32::try_from(partition).ok()?),
        Offset(i64::try_from(offset).ok()?),
    ))
}

/// Digits only: `parse` alone would take a sign too.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_and_a_mark_come_back_from_their_text() {
        let cursor = Cursor(Key(0x1234_5678));
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        let seen = [(Partition(0), Offset(12)), (Partition(7), Offset(0))];
        for mark in [Mark::default(), Mark(seen.into())] {
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
    }

    #[test]
    fn what_was_never_given_out_is_refused() {
        for bad in [
            "",
            "b",
            "b12",
            "bffffffffffffffff",
            "a0000000000000001",
            "b+000000000000001",
        ] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
        for bad in [
            "",
            "b",
            "a0",
            "a0-",
            "a-1",
            "a0-1.",
            "a0--1",
            "a+0-1",
            "a0-99999999999999999999",
        ] {
            assert_eq!(bad.parse::<Mark>(), Err(BadCursor), "{bad}");
        }
    }
}
