//! One replay, step by step. What it decides is in the document that each step commits, together with the deliveries
//! it puts on their way, so that whoever takes over goes on exactly there.

mod list;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use postrider_types::delivery::{Progress as Made, TraceParent, Waiting};
use postrider_types::{Event, ParkCause, Parked, Timestamp, Trigger};
use tokio::time::Instant;
use tracing::info;

use crate::document::{Candidate, Progress, Replay, Span, State};
use crate::pace::Pace;
use crate::ports::{Archive, Ledger, Trouble};
use crate::request::Ended;
use crate::run::list::List;
use crate::selection::{Selection, TooMany};

/// How many events are looked up at once, at most.
const AHEAD: usize = 500;

/// What a replay goes by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `replay.max_deliveries`
    pub most: usize,
    /// The delay of the smallest retry topic.
    pub tier: Duration,
}

/// The moment of a step.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time.
    pub time: Timestamp,
    /// The same for pacing.
    pub moment: Instant,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do at once.
    Again,
    /// There is more to do after a while.
    Rest(Duration),
    /// The replay has come to its end.
    Ended,
}

/// A replay under way.
#[derive(Debug)]
pub struct Run<A> {
    replay: Replay,
    archive: A,
    rules: Rules,
    pace: Option<Pace>,
    list: Option<List>,
}

impl<A: Archive> Run<A> {
    /// Takes a replay up where its document says.
    pub const fn new(replay: Replay, archive: A, rules: Rules) -> Self {
        Self {
            replay,
            archive,
            rules,
            pace: None,
            list: None,
        }
    }

    /// The replay as it was committed last.
    pub const fn replay(&self) -> &Replay {
        &self.replay
    }

    /// Goes one step on. `others` are all replays that are known.
    ///
    /// # Errors
    /// [`Trouble`]; then this run is over, and a new one takes the replay up.
    pub fn step(&mut self, others: &[Arc<Replay>], ledger: &mut dyn Ledger, now: Now) -> Result<Step, Trouble> {
        if self.replay.state.is_final() {
            return Ok(Step::Ended);
        }
        let Some(progress) = self.replay.progress.clone() else {
            return self.begin(others, ledger, now);
        };
        let number = progress.number;
        let earlier = others.iter().filter(|other| (1..number).contains(&other.number()));
        let earlier: Vec<Arc<Replay>> = earlier.cloned().collect();
        match self.replay.state {
            State::Counting => self.count(progress, &earlier, ledger, now),
            _ => self.replay_on(progress, &earlier, ledger, now),
        }
    }

    /// Lays down the ground.
    fn begin(&mut self, others: &[Arc<Replay>], ledger: &mut dyn Ledger, now: Now) -> Result<Step, Trouble> {
        let last = others.iter().map(|other| other.number()).max().unwrap_or(0);
        let progress = Progress {
            number: last + 1,
            spans: self.archive.spans(&self.replay.wanted)?,
            counted: 0,
            replayed: 0,
            after: None,
        };
        let begun = Replay {
            started_at: Some(now.time),
            progress: Some(progress),
            ..self.replay.clone()
        };
        self.commit(begun, Vec::new(), ledger)
    }

    fn count(
        &mut self,
        progress: Progress,
        earlier: &[Arc<Replay>],
        ledger: &mut dyn Ledger,
        now: Now,
    ) -> Result<Step, Trouble> {
        let Some(span) = progress.spans.get(progress.counted).copied() else {
            let counted = self.replay.clone();
            let over = counted.wanted.dry_run || counted.matched == 0;
            let state = if over { State::Done } else { State::Running };
            let next = Replay { state, ..counted };
            let next = if over {
                next.ended(State::Done, None, now.time)
            } else {
                next
            };
            return self.commit(next, Vec::new(), ledger);
        };
        let found = match self.select(span, earlier)? {
            Ok(found) => found,
            Err(too_many) => return self.give_up(&too_many, ledger, now),
        };
        let next = Replay {
            matched: self.replay.matched + found.0.len() as u64,
            unreadable: self.replay.unreadable + found.1,
            progress: Some(Progress {
                counted: progress.counted + 1,
                ..progress
            }),
            ..self.replay.clone()
        };
        self.commit(next, Vec::new(), ledger)
    }

    /// A span's list, and how many dead letters of it cannot be read.
    fn select(
        &mut self,
        span: Span,
        earlier: &[Arc<Replay>],
    ) -> Result<Result<(Vec<Candidate>, u64), TooMany>, Trouble> {
        if self.replay.wanted.result == Ended::DeadLetter {
            return self.select_letters(span);
        }
        let mut selection = Selection::new(&self.replay.wanted, earlier, span.partition, self.rules.most);
        let mut refused = None;
        self.archive
            .outcomes(span, &mut |at, outcome| match selection.note(at, outcome) {
                Ok(()) => ControlFlow::Continue(()),
                Err(too_many) => {
                    refused = Some(too_many);
                    ControlFlow::Break(())
                }
            })?;
        Ok(refused.map_or_else(|| Ok((selection.list(), 0)), Err))
    }

    fn select_letters(&mut self, span: Span) -> Result<Result<(Vec<Candidate>, u64), TooMany>, Trouble> {
        let most = self.rules.most;
        let letters = self.archive.letters(span, &self.replay.wanted, most)?;
        if letters.owed.len() > most {
            return Ok(Err(TooMany(most)));
        }
        let mut list: Vec<Candidate> = letters.owed.into_iter().collect();
        list.sort_unstable();
        Ok(Ok((list, letters.unreadable)))
    }

    fn give_up(&mut self, why: &TooMany, ledger: &mut dyn Ledger, now: Now) -> Result<Step, Trouble> {
        let failed = self
            .replay
            .clone()
            .ended(State::Failed, Some(why.to_string()), now.time);
        self.commit(failed, Vec::new(), ledger)
    }

    fn replay_on(
        &mut self,
        progress: Progress,
        earlier: &[Arc<Replay>],
        ledger: &mut dyn Ledger,
        now: Now,
    ) -> Result<Step, Trouble> {
        let Some(span) = progress.spans.get(progress.replayed).copied() else {
            let done = self.replay.clone().ended(State::Done, None, now.time);
            return self.commit(done, Vec::new(), ledger);
        };
        let mut list = match self.list.take() {
            Some(list) => list,
            None => match self.select(span, earlier)? {
                Ok((list, _)) => List::after(list, progress.after.as_ref()),
                Err(too_many) => return self.give_up(&too_many, ledger, now),
            },
        };
        if list.rest().is_empty() {
            let next = Progress {
                replayed: progress.replayed + 1,
                after: None,
                ..progress
            };
            return self.commit(self.with(next), Vec::new(), ledger);
        }
        let step = self.go(&mut list, progress, ledger, now);
        self.list = Some(list);
        step
    }

    /// Puts on their way as many as the pace allows now.
    fn go(&mut self, list: &mut List, progress: Progress, ledger: &mut dyn Ledger, now: Now) -> Result<Step, Trouble> {
        if list.ready.is_empty() {
            list.ready = self.archive.events(list.rest(), AHEAD)?.into();
        }
        let rate = self.replay.wanted.rate_per_second;
        let pace = self.pace.get_or_insert_with(|| Pace::new(rate, now.moment));
        let (earned, ready) = (pace.earned(now.moment), list.ready.len());
        let more = earned > ready;
        let earned = earned.min(ready);
        if earned == 0 {
            return Ok(Step::Rest(pace.rest()));
        }
        let apart = pace.apart();
        pace.spend(earned);
        let rest = pace.rest();
        let (parked, last) = list.take(earned, |event, candidate, place| {
            self.parked(event, candidate, now.time.after(apart * place))
        });
        let mut next = self.with(Progress {
            after: Some(last),
            ..progress
        });
        next.parked += parked.len() as u64;
        next.lost_source += (earned - parked.len()) as u64;
        self.commit(next, parked, ledger)?;
        Ok(if more || list.rest().is_empty() {
            Step::Again
        } else {
            Step::Rest(rest)
        })
    }

    fn parked(&self, event: Event, candidate: &Candidate, due: Timestamp) -> Parked {
        let trace = TraceParent::of_record(&event);
        Parked {
            event: Arc::new(event),
            tier: self.rules.tier,
            waiting: Waiting {
                webhook_id: candidate.webhook.clone(),
                progress: Made {
                    trigger: Trigger::Replay,
                    replay: Some(self.replay.id.clone()),
                    ..Made::start(trace)
                },
                due,
                cause: ParkCause::Retry,
            },
        }
    }

    fn with(&self, progress: Progress) -> Replay {
        Replay {
            progress: Some(progress),
            ..self.replay.clone()
        }
    }

    fn commit(&mut self, next: Replay, parked: Vec<Parked>, ledger: &mut dyn Ledger) -> Result<Step, Trouble> {
        ledger.commit(&next, parked)?;
        if next.state != self.replay.state {
            info!(
                replay.id = next.id,
                state = next.state.as_str(),
                matched = next.matched,
                parked = next.parked,
                lost_source = next.lost_source,
                reason = next.reason,
                "A replay has come further"
            );
        }
        self.replay = next;
        Ok(if self.replay.state.is_final() {
            Step::Ended
        } else {
            Step::Again
        })
    }
}

#[cfg(test)]
mod tests;
