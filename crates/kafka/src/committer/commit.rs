//! One batch's way into Kafka, tried until it is there: its records, the counts that they change, and the offsets that
//! it settles.

use fail::fail_point;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;
use tracing::debug;

use super::failure::{Failed, Tries, of_consumer};
use super::{Committer, CommitterError, Mode};
use crate::batch::Batch;
use crate::encode::Outgoing;
use crate::metrics::TransactionResult;
use crate::offsets::{OffsetKeeper, share_out};
use crate::publisher::PublishError;

impl Committer {
    pub(super) fn commit(&mut self, batch: &mut Batch, offsets: &dyn OffsetKeeper) -> Result<(), CommitterError> {
        let mut tries = Tries::default();
        while !batch.is_empty() {
            self.sequence = self.sequence.wrapping_add(1);
            let begun = Instant::now();
            let touched = self.own.preview(batch.touches());
            let counts: Vec<Outgoing> = touched
                .iter()
                .map(|(webhook, counts)| self.settings.encoder.pending(webhook, counts))
                .collect();
            let tried = match self.settings.mode {
                Mode::Transactions => self.transaction(batch, &counts, offsets),
                Mode::AtLeastOnce => self.without_transaction(batch, &counts, offsets),
            };
            self.last_commit = begun.elapsed();
            let committed = match tried {
                Ok(()) => true,
                Err(failed) => self.meet(failed, offsets, &mut tries)?,
            };
            if committed {
                self.own.apply(touched);
                self.committed(batch, offsets);
                return Ok(());
            }
        }
        // All of it is another instance's to commit now.
        self.trouble.note(None);
        Ok(())
    }

    fn committed(&self, batch: &Batch, offsets: &dyn OffsetKeeper) {
        fail_point!("k7");
        offsets.apply(&batch.positions());
        for reason in batch.dead_letters() {
            self.metrics.dead_letter(reason);
        }
        self.trouble.note(None);
        self.reachability.note(true);
        self.metrics.transaction_seconds.observe(self.last_commit.as_secs_f64());
        self.metrics.ended(TransactionResult::Committed);
    }

    fn transaction(&self, batch: &mut Batch, counts: &[Outgoing], offsets: &dyn OffsetKeeper) -> Result<(), Failed> {
        self.publisher
            .publish_in_transaction(batch.records().chain(counts), self.sequence)?;
        fail_point!("k4");
        let memberships = offsets.memberships();
        without_lost(batch, offsets)?;
        let commits = offsets.preview(&batch.positions(), self.sequence);
        // Once more: of what is lost between the two there would be outcomes, and no offset that fences.
        without_lost(batch, offsets)?;
        let shares = share_out(&commits, memberships).ok_or_else(not_a_member)?;
        let committed = self.publisher.commit(shares);
        committed.map_err(|error| Failed { error, commits })
    }

    /// The counts may be a little off after a crash, as outcomes may be doubled.
    fn without_transaction(
        &self,
        batch: &mut Batch,
        counts: &[Outgoing],
        offsets: &dyn OffsetKeeper,
    ) -> Result<(), Failed> {
        batch.retain(|position| offsets.owns(position));
        self.publisher.send_all(batch.records().chain(counts), self.sequence)?;
        let commits = offsets.preview(&batch.positions(), self.sequence);
        Ok(offsets.commit(&commits).map_err(of_consumer)?)
    }
}

/// Takes out of a batch what is another instance's to commit now. If there is any, it was published already.
fn without_lost(batch: &mut Batch, offsets: &dyn OffsetKeeper) -> Result<(), Failed> {
    let lost = batch.retain(|position| offsets.owns(position));
    if lost == 0 {
        return Ok(());
    }
    debug!(
        lost,
        "Partitions were lost while their records were being published; trying without them"
    );
    Err(Failed::from(not_a_member()))
}

fn not_a_member() -> PublishError {
    PublishError::Again(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownMemberId))
}
