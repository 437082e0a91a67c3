//! Reading that came to an offset its partition does not have goes on where it should.
//!
//! The client stops reading such a partition, does not say which one it is, and refuses to be moved in it: so each is
//! let go of and taken anew, inside of the group's assignment.

use std::slice;
use std::sync::Arc;

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;

use super::{Consumer, SHORT_WAIT};
use crate::ledger::Ledger;
use crate::pauses::{lift, list};
use crate::range::{Outside, outside};
use crate::tracker::TopicPartition;

impl Consumer {
    /// The client met an offset that one of the partitions does not have.
    pub(super) fn go_astray(&mut self) {
        let owned = self.tracker.spans().into_iter().map(|(key, _)| key);
        self.astray = owned.collect();
        self.find_the_way();
    }

    /// Sets right what may have gone astray; what cannot be yet is left for the next time.
    pub(super) fn find_the_way(&mut self) {
        let mut left = Vec::new();
        for key in std::mem::take(&mut self.astray) {
            if let Err(error) = self.set_right(&key) {
                left.push((key, error));
            }
        }
        if let Some(((topic, partition), error)) = left.first() {
            let partitions = left.len();
            tracing::warn!(
                partitions, %topic, partition = partition.0, %error, "Reading cannot go on where it should; trying again"
            );
        }
        self.astray = left.into_iter().map(|(key, _)| key).collect();
    }

    fn set_right(&mut self, key: &TopicPartition) -> KafkaResult<()> {
        // It is not ours any more.
        let Some(next) = self.tracker.next_expected(key) else {
            return Ok(());
        };
        let (low, high) = self.kafka.fetch_watermarks(&key.0, key.1.0, SHORT_WAIT)?;
        let gone = outside(next, low, high);
        self.begin_again(key, gone.map_or(next, |(_, there)| there))?;
        let Some((why, there)) = gone else {
            return Ok(());
        };
        self.kafka.context().note_outside(key, why, next, there);
        if why != Outside::Removed {
            // What is still on its way of the offsets as they were settles nothing of those that are now.
            self.tracker.assign(Arc::clone(&key.0), key.1, Ledger::new(there, &[]));
            for sleeper in self.tiers.retain(|other| other != key) {
                sleeper.record.give_back();
            }
        }
        Ok(())
    }

    fn begin_again(&self, key: &TopicPartition, offset: i64) -> KafkaResult<()> {
        let mut one = list(slice::from_ref(key));
        if let Err(error) = self.kafka.incremental_unassign(&one) {
            // Let go of before, and not taken then.
            tracing::debug!(%error, "A partition that went astray is not assigned");
        }
        lift(&self.kafka, &one);
        self.pauses.forget(slice::from_ref(key));
        one.set_all_offsets(Offset::Offset(offset))?;
        self.kafka.incremental_assign(&one)
    }
}
