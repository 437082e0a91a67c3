//! Which deliveries of one partition of the results topic a replay is about. Pure.
//!
//! All outcomes of a delivery are in one partition, in order, so its last one there decides: it has to be final and
//! as asked for. A delivery that is still being retried, by itself or by another replay, is left alone.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use postrider_types::{Outcome, Partition, WebhookId};

use crate::document::{Candidate, Replay};
use crate::request::Wanted;

/// More deliveries than may be held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {0} deliveries of one partition of the results topic were asked for; narrow the time between from and to, \
     or raise replay.max_deliveries"
)]
pub struct TooMany(pub usize);

/// The deliveries, as far as the outcomes have been read.
#[derive(Debug)]
pub struct Selection<'a> {
    wanted: &'a Wanted,
    /// The replays that began before this one.
    earlier: &'a [Arc<Replay>],
    partition: Partition,
    most: usize,
    chosen: HashSet<Candidate>,
    topics: HashSet<Arc<str>>,
    webhooks: HashSet<WebhookId>,
}

impl<'a> Selection<'a> {
    /// Nothing of a partition yet; at most `most` deliveries.
    #[must_use]
    pub fn new(wanted: &'a Wanted, earlier: &'a [Arc<Replay>], partition: Partition, most: usize) -> Self {
        Self {
            wanted,
            earlier,
            partition,
            most,
            chosen: HashSet::new(),
            topics: HashSet::new(),
            webhooks: HashSet::new(),
        }
    }

    /// Takes in the outcome at an offset. Outcomes have to come in order.
    ///
    /// # Errors
    /// [`TooMany`]
    pub fn note(&mut self, at: i64, outcome: &Outcome) -> Result<(), TooMany> {
        let Some(candidate) = self.candidate(outcome) else {
            return Ok(());
        };
        let place = (self.partition, at);
        let under_way = || {
            self.earlier
                .iter()
                .any(|replay| replay.takes(&candidate, outcome, place))
        };
        if !self.wanted.fits(outcome) || under_way() {
            self.chosen.remove(&candidate);
        } else {
            self.chosen.insert(candidate);
        }
        if self.chosen.len() > self.most {
            return Err(TooMany(self.most));
        }
        Ok(())
    }

    /// The deliveries in their order, which is that of their source records.
    #[must_use]
    pub fn list(self) -> Vec<Candidate> {
        let mut list: Vec<Candidate> = self.chosen.into_iter().collect();
        list.sort_unstable();
        list
    }

    fn candidate(&mut self, outcome: &Outcome) -> Option<Candidate> {
        let mut candidate = Candidate::of(outcome)?;
        share(&mut self.topics, &mut candidate.topic);
        share(&mut self.webhooks, &mut candidate.webhook);
        Some(candidate)
    }
}

/// Keeps one copy of each text.
fn share<T: Clone + Eq + Hash>(known: &mut HashSet<T>, one: &mut T) {
    match known.get(one) {
        Some(kept) => one.clone_from(kept),
        None => drop(known.insert(one.clone())),
    }
}

#[cfg(test)]
mod tests;
