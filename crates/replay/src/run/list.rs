//! The deliveries of one span, in their order, and how many of them were put on their way.

use std::collections::VecDeque;

use postrider_types::{Event, Parked};

use crate::document::Candidate;

/// The rest of a span's list.
#[derive(Debug, Default)]
pub(super) struct List {
    all: Vec<Candidate>,
    /// How many of them were put on their way.
    gone: usize,
    /// The events of the next ones.
    pub(super) ready: VecDeque<Option<Event>>,
}

impl List {
    /// What comes after a delivery of the whole list.
    pub(super) fn after(mut all: Vec<Candidate>, last: Option<&Candidate>) -> Self {
        if let Some(last) = last {
            let gone = all.partition_point(|candidate| candidate <= last);
            all.drain(..gone);
        }
        Self { all, ..Self::default() }
    }

    pub(super) fn rest(&self) -> &[Candidate] {
        &self.all[self.gone..]
    }

    /// Takes the next ones, whose events are ready; returns what is made of those that are kept, and the last.
    pub(super) fn take(
        &mut self,
        count: usize,
        make: impl Fn(Event, &Candidate, u32) -> Parked,
    ) -> (Vec<Parked>, Candidate) {
        let next = &self.all[self.gone..self.gone + count];
        let events = self.ready.drain(..count);
        let made = (0..).zip(next.iter().zip(events));
        let made = made.filter_map(|(place, (candidate, event))| Some(make(event?, candidate, place)));
        let made = made.collect();
        let last = next[count - 1].clone();
        self.gone += count;
        (made, last)
    }
}
