//! A term: the time during which one instance runs the replays. It begins by taking the place of whoever had it and
//! reading what that one committed last, and ends when nothing is left to do, when the seat is lost, or at the first
//! trouble; then another begins.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::book::Book;
use crate::document::Replay;
use crate::ports::Trouble;
use crate::run::{Now, Rules, Run, Step};
use crate::service::Parts;
use crate::shelf::Shelf;
use crate::table::Table;

/// How many replays go on in turn.
const IN_TURN: usize = 4;
/// How long this instance may take to read the replays topic to its end.
const CATCH_UP: Duration = Duration::from_secs(30);
/// The longest rest: how soon a new replay is taken up.
const LOOK: Duration = Duration::from_millis(250);

/// One instance's time as the runner of replays.
pub(crate) struct Term {
    parts: Arc<Parts>,
    table: Arc<Table>,
    stop: CancellationToken,
    runs: Vec<Run<Shelf>>,
    /// Those that came to their end within this term; the table may not have heard yet.
    ended: HashSet<String>,
}

impl Term {
    pub(crate) fn new(parts: &Arc<Parts>, table: &Arc<Table>, stop: CancellationToken) -> Self {
        Self {
            parts: Arc::clone(parts),
            table: Arc::clone(table),
            stop,
            runs: Vec::new(),
            ended: HashSet::new(),
        }
    }

    /// Runs until nothing is left to do. Blocks.
    pub(crate) fn serve(mut self, reached: watch::Receiver<i64>) -> Result<(), Trouble> {
        let mut book = Book::open(&self.parts, &self.table, &self.stop)?;
        self.catch_up(book.end()?, reached)?;
        info!("Running the replays");
        loop {
            self.take_up()?;
            if self.runs.is_empty() {
                return Ok(());
            }
            let rest = self.turn(&mut book)?;
            self.rest(rest)?;
        }
    }

    /// Waits until everything that an earlier term committed is known.
    fn catch_up(&self, end: i64, mut reached: watch::Receiver<i64>) -> Result<(), Trouble> {
        let known = async {
            timeout(CATCH_UP, reached.wait_for(|reached| *reached >= end))
                .await
                .is_ok()
        };
        if self.parts.runtime.block_on(known) {
            return Ok(());
        }
        Err(Trouble::Behind)
    }

    fn take_up(&mut self) -> Result<(), Trouble> {
        let known = |replay: &Arc<Replay>| {
            self.ended.contains(&replay.id) || self.runs.iter().any(|run| run.replay().id == replay.id)
        };
        let mut waiting = self.table.all();
        waiting.retain(|replay| !replay.state.is_final() && !known(replay));
        let room = IN_TURN.saturating_sub(self.runs.len());
        for replay in waiting.into_iter().take(room) {
            let shelf = Shelf::open(&self.parts, replay.wanted.from, &self.stop)?;
            self.runs
                .push(Run::new(Replay::clone(&replay), shelf, self.parts.rules()));
        }
        Ok(())
    }

    /// Lets each of them go one step on; returns how long all of them rest.
    fn turn(&mut self, book: &mut Book) -> Result<Duration, Trouble> {
        let mut shortest = LOOK;
        for at in 0..self.runs.len() {
            let others = self.others();
            let now = Now {
                time: self.parts.clock.now(),
                moment: Instant::now(),
            };
            match self.runs[at].step(&others, book, now)? {
                Step::Rest(rest) => shortest = shortest.min(rest),
                Step::Again | Step::Ended => shortest = Duration::ZERO,
            }
        }
        let ended = self.runs.extract_if(.., |run| run.replay().state.is_final());
        self.ended.extend(ended.map(|run| run.replay().id.clone()));
        Ok(shortest)
    }

    /// All replays as they stand: the table may lag behind those that are under way here.
    fn others(&self) -> Vec<Arc<Replay>> {
        let mut all = self.table.all();
        for run in &self.runs {
            all.retain(|replay| replay.id != run.replay().id);
            all.push(Arc::new(run.replay().clone()));
        }
        all
    }

    fn rest(&self, rest: Duration) -> Result<(), Trouble> {
        let stopped = self.stop.cancelled();
        let stopped = self
            .parts
            .runtime
            .block_on(async { timeout(rest, stopped).await.is_ok() });
        if stopped { Err(Trouble::Stopped) } else { Ok(()) }
    }
}

impl Parts {
    pub(crate) const fn rules(&self) -> Rules {
        Rules {
            most: self.config.max_deliveries,
            tier: self.tier,
        }
    }
}
