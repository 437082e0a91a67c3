//! The laws C1 to C8 of what postrider promises, held against a [`History`]. Pure.
//!
//! Each law is a function from a history to its breaches; a run is judged by all of them, and its numbers are
//! told whether or not one was broken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use postrider_types::OutcomeResult;

use crate::history::{Attempt, History, Sample, Seen, Sending};

/// How much the clocks of daemon and endpoint may differ: each is anchored by itself, by the millisecond.
const CLOCK_GRAIN: Duration = Duration::from_millis(5);
/// How much later than a process's end a request it had sent may be read by the endpoint.
const IN_SOCKET: Duration = Duration::from_secs(1);
/// Breaches of one law that are shown.
const SHOWN: usize = 4;

/// A law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// Every produced event × matching webhook has exactly one final outcome; a failed one, one dead letter.
    C1,
    /// No attempt has two outcomes.
    C2,
    /// Attempts are numbered 1 to n in offset order; all but the last are `retrying`.
    C3,
    /// Every answered attempt has a request.
    C4,
    /// Requests come again only around a crash, within bounds, and never once their outcome has committed.
    C5,
    /// Committed offsets never go back.
    C6,
    /// In the end nothing is parked.
    C7,
    /// No retry comes before it is due.
    C8,
}

/// One breach of a law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The law.
    pub law: Law,
    /// What broke it.
    pub what: String,
}

/// What crashes may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Requests that come again because of one crash: those in flight, and one commit interval's worth.
    pub per_crash: usize,
    /// How long before a crash a request was sent at most that comes again because of it.
    pub horizon: Duration,
}

impl Bounds {
    /// For runs in which nothing crashes.
    pub const NOTHING: Self = Self {
        per_crash: 0,
        horizon: Duration::ZERO,
    };
}

/// What a history comes to.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Every breach.
    pub breaches: Vec<Breach>,
    /// The numbers.
    pub numbers: Numbers,
}

/// A run in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Deliveries that were owed.
    pub owed: usize,
    /// Outcomes.
    pub attempts: usize,
    /// Deliveries that ended in `success`, `failed`, `skipped`.
    pub ended: [usize; 3],
    /// Requests.
    pub requests: usize,
    /// Requests beyond the first of an attempt.
    pub repeated: usize,
    /// Crashes.
    pub crashes: usize,
    /// Samples of committed offsets.
    pub samples: usize,
    /// How late retries began, ascending.
    pub lateness: Vec<Duration>,
}

impl Numbers {
    /// The lateness that `percent` of the retries did not exceed.
    #[must_use]
    pub fn late(&self, percent: usize) -> Duration {
        let at = (self.lateness.len() * percent).div_ceil(100).saturating_sub(1);
        self.lateness.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [success, failed, skipped] = self.ended;
        write!(
            f,
            "{} owed: {success} success, {failed} failed, {skipped} skipped; ",
            self.owed
        )?;
        write!(
            f,
            "{} attempts, {} requests, {} of them again; ",
            self.attempts, self.requests, self.repeated
        )?;
        write!(f, "{} crashes; {} offset samples; ", self.crashes, self.samples)?;
        let (half, most, worst) = (self.late(50), self.late(99), self.late(100));
        write!(
            f,
            "{} retries late by p50 {half:?}, p99 {most:?}, max {worst:?}",
            self.lateness.len()
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.numbers)?;
        let laws: BTreeSet<Law> = self.breaches.iter().map(|breach| breach.law).collect();
        for law in laws {
            let broken: Vec<&Breach> = self.breaches.iter().filter(|breach| breach.law == law).collect();
            write!(f, "\n  {law:?} broken {} times", broken.len())?;
            for breach in broken.iter().take(SHOWN) {
                write!(f, "\n    {}", breach.what)?;
            }
        }
        Ok(())
    }
}

/// Holds a history against all laws.
#[must_use]
pub fn judge(history: &History, bounds: Bounds) -> Verdict {
    let index = Index::new(history);
    let breaches = [
        index.endings(),
        index.doubles(),
        index.order(),
        index.unseen(),
        index.repeats(bounds),
        regressions(&history.samples),
        left_parked(history),
        index.early(),
    ];
    Verdict {
        breaches: breaches.concat(),
        numbers: index.numbers(),
    }
}

/// A history, sorted for looking things up.
struct Index<'a> {
    history: &'a History,
    deliveries: BTreeMap<&'a str, Vec<&'a Attempt>>,
    attempts: BTreeMap<Sending, &'a Attempt>,
    requests: BTreeMap<Sending, Vec<&'a Seen>>,
}

impl<'a> Index<'a> {
    fn new(history: &'a History) -> Self {
        let mut index = Self {
            history,
            deliveries: BTreeMap::new(),
            attempts: BTreeMap::new(),
            requests: BTreeMap::new(),
        };
        for attempt in &history.attempts {
            index.deliveries.entry(&attempt.delivery).or_default().push(attempt);
            index.attempts.insert(attempt.sending(), attempt);
        }
        for attempts in index.deliveries.values_mut() {
            attempts.sort_by_key(|attempt| attempt.place);
        }
        for request in &history.requests {
            index.requests.entry(request.sending()).or_default().push(request);
        }
        index
    }

    /// C1
    fn endings(&self) -> Vec<Breach> {
        let mut letters: BTreeMap<&str, usize> = BTreeMap::new();
        for letter in &self.history.dead_letters {
            *letters.entry(letter).or_default() += 1;
        }
        let mut breaches = Vec::new();
        for delivery in &self.history.owed {
            let attempts = self.deliveries.get(&**delivery).map_or(&[][..], Vec::as_slice);
            let ended = attempts.iter().filter(|attempt| attempt.is_final()).count();
            if ended != 1 {
                breaches.push(breach(
                    Law::C1,
                    format!("{delivery} ended {ended} times in {} attempts", attempts.len()),
                ));
            }
            let failed = attempts
                .iter()
                .filter(|attempt| attempt.result == OutcomeResult::Failed)
                .count();
            let kept = letters.remove(&**delivery).unwrap_or_default();
            if kept != failed {
                breaches.push(breach(
                    Law::C1,
                    format!("{delivery} failed {failed} times, with {kept} dead letters"),
                ));
            }
        }
        let strangers = self.deliveries.keys().copied().chain(letters.into_keys());
        let strangers = strangers.filter(|delivery| !self.history.owed.contains(*delivery));
        breaches.extend(strangers.map(|delivery| breach(Law::C1, format!("{delivery} was never owed"))));
        breaches
    }

    /// C2
    fn doubles(&self) -> Vec<Breach> {
        let mut known = BTreeMap::new();
        let mut breaches = Vec::new();
        for attempt in &self.history.attempts {
            let Attempt {
                delivery,
                replay,
                number,
                place,
                ..
            } = attempt;
            if let Some(before) = known.insert((delivery, replay, number), place) {
                let what = format!("attempt {number} of {delivery} is at {before:?} and at {place:?}");
                breaches.push(breach(Law::C2, what));
            }
        }
        breaches
    }

    /// C3
    fn order(&self) -> Vec<Breach> {
        let broken = self.deliveries.iter().filter(|(_, attempts)| !is_orderly(attempts));
        broken
            .map(|(delivery, attempts)| {
                let told: Vec<_> = attempts
                    .iter()
                    .map(|attempt| (attempt.place, attempt.number, attempt.result.as_str()))
                    .collect();
                breach(Law::C3, format!("{delivery}: {told:?}"))
            })
            .collect()
    }

    /// C4
    fn unseen(&self) -> Vec<Breach> {
        let attempts = self.history.attempts.iter();
        let unseen = attempts.filter(|attempt| attempt.answered && !self.requests.contains_key(&attempt.sending()));
        unseen
            .map(|attempt| {
                let what = format!("no endpoint saw attempt {} of {}", attempt.number, attempt.delivery);
                breach(Law::C4, what)
            })
            .collect()
    }

    /// C5
    fn repeats(&self, bounds: Bounds) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for (sending, requests) in &self.requests {
            if !self.attempts.contains_key(sending) {
                breaches.push(breach(Law::C5, format!("{sending:?} was sent and has no outcome")));
            }
            let unexplained = requests
                .windows(2)
                .filter(|pair| !self.explains(pair[0], pair[1], bounds));
            breaches.extend(unexplained.map(|pair| {
                let (first, second) = (pair[0].at, pair[1].at);
                breach(
                    Law::C5,
                    format!("{sending:?} was sent at {first} and again at {second}, with no crash to explain it"),
                )
            }));
        }
        let (repeated, crashes) = (self.repeated(), self.history.crashes.len());
        if repeated > bounds.per_crash * crashes {
            let what = format!(
                "{repeated} requests came again after {crashes} crashes of {} each",
                bounds.per_crash
            );
            breaches.push(breach(Law::C5, what));
        }
        breaches.extend(self.sent_after_commit());
        breaches
    }

    fn explains(&self, first: &Seen, second: &Seen, bounds: Bounds) -> bool {
        self.history.crashes.iter().any(|crash| {
            let sent_before = first.at <= crash.at.after(IN_SOCKET);
            sent_before && crash.at <= second.at.after(CLOCK_GRAIN) && crash.at.since(first.at) <= bounds.horizon
        })
    }

    fn sent_after_commit(&self) -> Vec<Breach> {
        let crashes = &self.history.crashes;
        let wrong = |(at, request): (usize, &Seen)| {
            let sending = request.sending();
            let attempt = self.attempts.get(&sending)?;
            // The last one before it knows of all that the earlier ones knew of.
            let before = crashes.partition_point(|crash| crash.seen <= at);
            let crash = crashes.get(before.checked_sub(1)?)?;
            let (partition, offset) = attempt.place;
            let had_committed = crash.committed.get(&partition).is_some_and(|end| offset < *end);
            let (at, then) = (request.at, crash.at);
            had_committed.then(|| {
                breach(
                    Law::C5,
                    format!("{sending:?} was sent at {at}; its outcome had committed by {then}"),
                )
            })
        };
        self.history.requests.iter().enumerate().filter_map(wrong).collect()
    }

    fn repeated(&self) -> usize {
        self.requests.values().map(|requests| requests.len() - 1).sum()
    }

    /// C8
    fn early(&self) -> Vec<Breach> {
        let due = |request: &Seen| {
            let before = (request.message.clone(), request.attempt.checked_sub(1)?);
            self.attempts.get(&before)?.next
        };
        let requests = self.history.requests.iter();
        let early = requests.filter_map(|request| Some((request, due(request)?)));
        early
            .filter(|(request, due)| request.at.after(CLOCK_GRAIN) < *due)
            .map(|(request, due)| {
                breach(
                    Law::C8,
                    format!("{:?} came at {}, due {due}", request.sending(), request.at),
                )
            })
            .collect()
    }

    fn lateness(&self) -> Vec<Duration> {
        let of = |pair: &[&Attempt]| Some(pair[1].started?.since(pair[0].next?));
        let mut lateness: Vec<Duration> = self
            .deliveries
            .values()
            .flat_map(|attempts| attempts.windows(2).filter_map(of))
            .collect();
        lateness.sort();
        lateness
    }

    fn numbers(&self) -> Numbers {
        let ended = |result| {
            let attempts = self.history.attempts.iter();
            attempts.filter(|attempt| attempt.result == result).count()
        };
        Numbers {
            owed: self.history.owed.len(),
            attempts: self.history.attempts.len(),
            ended: OutcomeResult::FINAL.map(ended),
            requests: self.history.requests.len(),
            repeated: self.repeated(),
            crashes: self.history.crashes.len(),
            samples: self.history.samples.len(),
            lateness: self.lateness(),
        }
    }
}

fn breach(law: Law, what: String) -> Breach {
    Breach { law, what }
}

fn is_orderly(attempts: &[&Attempt]) -> bool {
    let numbered = attempts
        .iter()
        .map(|attempt| attempt.number)
        .eq(1..=attempts.len() as u32);
    let (_, before_last) = attempts.split_last().expect("a delivery is listed by its attempts");
    let going_on = before_last
        .iter()
        .all(|attempt| attempt.result == OutcomeResult::Retrying);
    let together = attempts.windows(2).all(|pair| pair[0].place.0 == pair[1].place.0);
    numbered && going_on && together
}

/// C6
fn regressions(samples: &[Sample]) -> Vec<Breach> {
    let mut furthest: BTreeMap<&(String, i32), i64> = BTreeMap::new();
    let mut breaches = Vec::new();
    for (partition, offset) in samples.iter().flatten() {
        let highest = furthest.entry(partition).or_insert(*offset);
        if offset < highest {
            breaches.push(breach(
                Law::C6,
                format!("{partition:?} went back from {highest} to {offset}"),
            ));
        }
        *highest = (*highest).max(*offset);
    }
    breaches
}

/// C7
fn left_parked(history: &History) -> Vec<Breach> {
    let left = history
        .retry_ends
        .iter()
        .filter(|end| end.last >= end.committed && end.last.is_some());
    left.map(|end| breach(Law::C7, format!("{end:?}"))).collect()
}

#[cfg(test)]
mod tests;
