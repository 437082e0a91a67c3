//! Reading that came to an offset its partition does not have goes on where it should.

use std::sync::Arc;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;

use super::{Consumer, SHORT_WAIT};
use crate::ledger::Ledger;
use crate::range::{Outside, outside};
use crate::tracker::TopicPartition;

impl Consumer {
    /// Sets every partition right whose reading went astray; tries again later those whose ends cannot be learnt.
    pub(super) fn find_the_way(&mut self) {
        let partitions = self.tracker.spans().into_iter().map(|(key, _)| key);
        let set_right: Vec<KafkaResult<()>> = partitions.map(|key| self.set_right(&key)).collect();
        self.astray = set_right.iter().any(Result::is_err);
        for error in set_right.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "Reading cannot go on where it should; trying again");
        }
    }

    fn set_right(&mut self, key: &TopicPartition) -> KafkaResult<()> {
        let (low, high) = self.kafka.fetch_watermarks(&key.0, key.1.0, SHORT_WAIT)?;
        let next = self.tracker.next_expected(key);
        let Some((why, there)) = next.and_then(|next| outside(next, low, high)) else {
            return Ok(());
        };
        let gone_on = rdkafka::Offset::Offset(there);
        self.kafka.seek(&key.0, key.1.0, gone_on, SHORT_WAIT)?;
        self.kafka
            .context()
            .note_outside(key, why, next.unwrap_or_default(), there);
        if why != Outside::Removed {
            // What is still on its way of the offsets as they were settles nothing of those that are now.
            self.tracker.assign(Arc::clone(&key.0), key.1, Ledger::new(there, &[]));
            for sleeper in self.tiers.retain(|other| other != key) {
                sleeper.record.give_back();
            }
        }
        Ok(())
    }
}
