//! Dead letters: the events of records that their topic keeps no more, and records that could not be read when they
//! came.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use postrider_kafka::record::Fetched;
use postrider_types::event::last_header;
use postrider_types::{Header, Offset, Origin, Partition, Timestamp};
use tracing::debug;

use super::{Shelf, Source, source};
use crate::document::{Candidate, Span};
use crate::ports::{Archive, Letters, Trouble};
use crate::request::Wanted;

/// What postrider's own headers of a dead letter begin with.
const OWN: &str = "pr-";

impl Shelf {
    /// Fills in from dead letters what is missing, in the order of the dead letters.
    pub(super) fn fill_in(&mut self, rest: &[Candidate], found: &mut [Option<Fetched>]) -> Result<(), Trouble> {
        let letters = match self.letters.take() {
            Some(letters) => letters,
            None => self.look_for_letters(rest)?,
        };
        let missing = found.iter().zip(rest).enumerate();
        let missing = missing.filter(|(_, (record, _))| record.is_none());
        let mut wanted: Vec<((Partition, Offset), usize)> = missing
            .filter_map(|(at, (_, candidate))| Some((*letters.get(&source(candidate))?, at)))
            .collect();
        wanted.sort_unstable();
        self.letters = Some(letters);
        let dead_letters = Arc::clone(&self.dead_letters);
        let mut last: Option<((Partition, Offset), Option<Fetched>)> = None;
        for ((partition, offset), at) in wanted {
            let letter = match last.take_if(|(place, _)| *place == (partition, offset)) {
                Some((_, letter)) => letter,
                None => self.reader.one(&dead_letters, partition, offset)?.and_then(original),
            };
            found[at].clone_from(&letter);
            last = Some(((partition, offset), letter));
        }
        Ok(())
    }

    /// One pass over the dead letters.
    fn look_for_letters(&mut self, list: &[Candidate]) -> Result<HashMap<Source, (Partition, Offset)>, Trouble> {
        let wanted: HashSet<Source> = list.iter().map(source).collect();
        let topic = Arc::clone(&self.dead_letters);
        let mut letters = HashMap::new();
        for partition in self.reader.partitions(&topic)? {
            let Some((low, high)) = self.reader.range(&topic, partition)? else {
                continue;
            };
            let start = self.reader.offset_at(&topic, partition, self.since)?.max(low);
            self.reader.read(&topic, partition, (start, high), |letter| {
                let place = (letter.origin.partition, letter.origin.offset);
                let is_whole = last_header(&letter.headers, "pr-dl-sha256").is_none();
                let of = origin(&letter.headers).filter(|_| is_whole);
                let of = of.map(|of| (of.topic, of.partition, of.offset, of.timestamp));
                letters.extend(of.filter(|of| wanted.contains(of)).map(|of| (of, place)));
                ControlFlow::Continue(())
            })?;
        }
        debug!(
            wanted = wanted.len(),
            found = letters.len(),
            "Events are looked for among the dead letters"
        );
        Ok(letters)
    }

    /// What the dead letters of a span, that were no events, come to today.
    pub(super) fn reconsider(&mut self, span: Span, wanted: &Wanted, most: usize) -> Result<Letters, Trouble> {
        let (topic, decoder) = (Arc::clone(&self.dead_letters), Arc::clone(&self.parts.decoder));
        let mut letters = Letters::default();
        self.reader
            .read(&topic, span.partition, (span.start, span.end), |letter| {
                let Some(record) = unread(letter).filter(|record| wanted.is_within(record.origin.timestamp)) else {
                    return ControlFlow::Continue(());
                };
                match decoder.reconsider(record) {
                    // Nobody knows whose they are, so those who are bound to an account are not told of them.
                    None => letters.unreadable += u64::from(wanted.account.is_none()),
                    Some((event, webhooks)) if wanted.is_of(&event.account, event.event_type) => {
                        let webhooks = webhooks.into_iter().filter(|webhook| wanted.is_for(webhook));
                        letters
                            .owed
                            .extend(webhooks.map(|webhook| Candidate::new(&event, webhook)));
                    }
                    Some(_) => {}
                }
                if letters.owed.len() > most {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        if !letters.owed.is_empty() {
            self.take_out_made(&mut letters.owed, wanted.from)?;
        }
        Ok(letters)
    }

    /// Takes out the deliveries that have an outcome: they have been made, and are replayed by what they came to.
    fn take_out_made(&mut self, owed: &mut HashSet<Candidate>, from: Timestamp) -> Result<(), Trouble> {
        let results = Arc::clone(&self.results);
        for span in self.spans_of(&results, from)? {
            self.outcomes(span, &mut |_, outcome| {
                if let Some(made) = Candidate::of(outcome) {
                    owed.remove(&made);
                }
                if owed.is_empty() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        }
        Ok(())
    }
}

/// The record of a dead letter that was no event, if it is whole.
fn unread(letter: Fetched) -> Option<Fetched> {
    let has = |name: &str| last_header(&letter.headers, name).is_some();
    if has("pr-webhook-id") || has("pr-dl-sha256") {
        return None;
    }
    original(letter)
}

/// The record that a dead letter came from.
fn original(letter: Fetched) -> Option<Fetched> {
    let origin = origin(&letter.headers)?;
    let mut headers = letter.headers;
    headers.retain(|header| !header.name.starts_with(OWN));
    Some(Fetched {
        origin,
        headers,
        ..letter
    })
}

fn origin(headers: &[Header]) -> Option<Origin> {
    let text = |name: &str| std::str::from_utf8(last_header(headers, name)?).ok();
    Some(Origin {
        topic: text("pr-dl-topic")?.into(),
        partition: Partition(text("pr-dl-partition")?.parse().ok()?),
        offset: Offset(text("pr-dl-offset")?.parse().ok()?),
        timestamp: Timestamp::from_millis(text("pr-dl-timestamp")?.parse().ok()?),
    })
}
