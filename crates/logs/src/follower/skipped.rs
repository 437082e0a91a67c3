//! Records that are no outcomes: passed over, and told of now and then.

use std::time::Duration;

use postrider_types::{Offset, Partition};
use tokio::time::Instant;
use tracing::warn;

/// How often records that were passed over are told of.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Records that were passed over and not told of yet.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    count: u64,
    told: Option<Instant>,
}

impl Skipped {
    pub(super) fn note(&mut self, record: (Partition, Offset), why: &dyn std::error::Error) {
        self.count += 1;
        if self.told.is_none_or(|told| told.elapsed() >= COMPLAIN) {
            let (partition, offset) = record;
            let count = std::mem::take(&mut self.count);
            warn!(%partition, %offset, count, %why, "A record of the results topic is passed over by the logs");
            self.told = Some(Instant::now());
        }
    }
}
