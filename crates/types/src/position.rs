//! Where a record stands in Kafka. Newtypes, because a partition and an offset are both integers
//! and have been mixed up before.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Characters of a topic's name that Kafka takes, at most.
pub const LONGEST_TOPIC: usize = 249;

/// A partition's number within its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Partition(pub i32);

/// A record's offset within its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Offset(pub i64);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a partition's assignment to this process, new at every assignment.
///
/// A partition that went away and came back can have the same offset in flight twice; an answer
/// that carries the number of an earlier assignment settles nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssignmentNumber(pub u64);

/// Where a record was read, and under which assignment: what has to be settled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The topic, a source or a retry topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: Partition,
    /// The offset.
    pub offset: Offset,
    /// The assignment under which it was read.
    pub assignment: AssignmentNumber,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// The source record an event came from; stays the same while its deliveries move through retry topics.
///
/// `Display` is the position id, `<topic>-<partition>-<offset>-<timestamp ms>`. The timestamp guards
/// against a topic that was deleted and made again, whose offsets start anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The source topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: Partition,
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp: the event's time.
    pub timestamp: Timestamp,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text_and(["", ""]))
    }
}

impl Origin {
    /// Its text, topic, partition, offset and time in milliseconds, and more behind it. Put together and not formatted:
    /// every event and every delivery has one, and formatting takes longer.
    pub(crate) fn text_and(&self, more: [&str; 2]) -> String {
        let [mut partition, mut offset, mut timestamp] = [itoa::Buffer::new(); 3];
        let digits = [
            partition.format(self.partition.0),
            offset.format(self.offset.0),
            timestamp.format(self.timestamp.as_millis()),
        ];
        [
            &*self.topic,
            "-",
            digits[0],
            "-",
            digits[1],
            "-",
            digits[2],
            more[0],
            more[1],
        ]
        .concat()
    }

    /// What outcomes tell of it.
    #[must_use]
    pub fn source(&self) -> Source {
        Source {
            topic: self.topic.to_string(),
            partition: self.partition,
            offset: self.offset,
        }
    }
}

/// A source record, as outcomes name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// The offset.
    pub offset: Offset,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_is_topic_partition_offset_and_milliseconds(
            topic in "[a-z.]{1,20}", partition: i32, offset: i64, millis: i64,
        ) {
            let origin = Origin {
                topic: topic.as_str().into(),
                partition: Partition(partition),
                offset: Offset(offset),
                timestamp: Timestamp::from_millis(millis),
            };
            let text = format!("{topic}-{partition}-{offset}-{millis}");
            prop_assert_eq!(origin.text_and([".", "wh_1"]), format!("{text}.wh_1"));
            prop_assert_eq!(origin.to_string(), text);
        }
    }
}
