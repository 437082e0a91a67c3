//! Questions to the index. Each is answered from one moment of it, by one of a few connections, on a thread that may
//! block, and within a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use postrider_types::{AccountId, DeliveryId};
use rusqlite::{Connection, InterruptHandle};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::cursor::{Cursor, Mark};
use crate::entry::Entry;
use crate::filter::Filter;
use crate::progress::{Indexed, Progress};
use crate::stats::Stats;
use crate::{query, schema, stats};

/// Questions that are answered at once; more wait.
const CONNECTIONS: usize = 4;
/// How long a question may take, its waiting included.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The most entries of a page.
pub const LARGEST_PAGE: usize = 1_000;

/// A page of outcomes, newest first.
#[derive(Debug, Clone)]
pub struct Page {
    /// The outcomes.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
    /// Up to where the topic was indexed when this was answered: what comes later comes after it.
    pub mark: Mark,
    /// How far the index is behind the topic.
    pub indexed: Indexed,
}

/// What came into the index after a mark, in the order of its dates as far as it came together.
#[derive(Debug, Clone)]
pub struct Added {
    /// The outcomes.
    pub entries: Vec<Entry>,
    /// What to ask with next time.
    pub mark: Mark,
    /// Whether there is more already.
    pub has_more: bool,
    /// How far the index is behind the topic.
    pub indexed: Indexed,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The index cannot be read now.
    #[error("the index of the logs cannot be used now: {0}")]
    Unavailable(String),
    /// It took too long.
    #[error("this took longer than {} s and was given up; ask for a shorter time or with another filter", TIME_LIMIT.as_secs())]
    TooSlow,
    /// The mark is of a topic that was made anew since.
    #[error("the results topic was made anew since this was given out; start again without it")]
    StaleMark,
}

/// Answers questions. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    path: PathBuf,
    idle: Mutex<Vec<(u64, Connection)>>,
    places: Arc<Semaphore>,
    /// Counts how often the file was made anew: connections to an earlier one are of no use.
    generation: AtomicU64,
    /// Whether a reader found the file broken.
    damaged: AtomicBool,
    pub(crate) progress: Progress,
}

impl Shared {
    /// Whether a reader found the file broken.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// From now on the file is another one.
    pub(crate) fn renew(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.damaged.store(false, Ordering::Relaxed);
        self.idle.lock().clear();
    }
}

impl Reader {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(Arc::new(Shared {
            path,
            idle: Mutex::new(Vec::new()),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            generation: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
            progress: Progress::default(),
        }))
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }

    /// How far the index is behind the topic.
    #[must_use]
    pub fn indexed(&self) -> Indexed {
        self.0.progress.indexed()
    }

    /// The newest outcomes that are asked for, or those that follow on a page; at most [`LARGEST_PAGE`].
    ///
    /// # Errors
    /// [`ReadError`] when they cannot be had.
    pub async fn page(&self, filter: Filter, after: Option<Cursor>, limit: usize) -> Result<Page, ReadError> {
        let indexed = self.indexed();
        let limit = limit.clamp(1, LARGEST_PAGE);
        let ask = move |session: &Session<'_>| query::page(session, &filter, after, limit);
        let (entries, next, mark) = self.ask(ask).await?;
        Ok(Page {
            entries,
            next,
            mark,
            indexed,
        })
    }

    /// The outcomes that are asked for and came into the index after the mark; at most `limit`, and from a bounded
    /// number of records, so there may be more when there are none.
    ///
    /// # Errors
    /// [`ReadError`] when they cannot be had.
    pub async fn added(&self, filter: Filter, mark: Mark, limit: usize) -> Result<Added, ReadError> {
        let indexed = self.indexed();
        let limit = limit.clamp(1, LARGEST_PAGE);
        let progress = self.0.progress.clone();
        let ask = move |session: &Session<'_>| query::added(session, &progress, &filter, mark, limit);
        let (entries, mark, has_more) = self.ask(ask).await?;
        Ok(Added {
            entries,
            mark,
            has_more,
            indexed,
        })
    }

    /// All outcomes of one delivery, in the order they were published in each of its runs: the delivery itself first,
    /// then each replay. Empty when there are none of these accounts.
    ///
    /// # Errors
    /// [`ReadError`] when they cannot be had.
    pub async fn delivery(&self, id: DeliveryId, accounts: Option<Vec<AccountId>>) -> Result<Vec<Entry>, ReadError> {
        let filter = Filter {
            accounts,
            ..Filter::default()
        };
        self.ask(move |session| query::delivery(session, &id, &filter)).await
    }

    /// The endpoints that outcomes of these accounts were sent to, in order; at most 1,000.
    ///
    /// # Errors
    /// [`ReadError`] when they cannot be had.
    pub async fn endpoints(&self, accounts: Option<Vec<AccountId>>) -> Result<Vec<String>, ReadError> {
        let filter = Filter {
            accounts,
            ..Filter::default()
        };
        self.ask(move |session| query::endpoints(session, &filter)).await
    }

    /// Counts and times of the outcomes that are asked for.
    ///
    /// # Errors
    /// [`ReadError`] when they cannot be had.
    pub async fn stats(&self, filter: Filter) -> Result<Stats, ReadError> {
        let indexed = self.indexed();
        let mut stats = self.ask(move |session| stats::stats(session, &filter)).await?;
        stats.indexed = indexed;
        Ok(stats)
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Session<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, ReadError> {
        if let Some(trouble) = self.0.progress.trouble() {
            return Err(ReadError::Unavailable(trouble));
        }
        let stop = Stop::default();
        // Fires also when nobody waits any more, since then this future is dropped.
        let _stop = StopOnDrop(stop.clone());
        let answer = tokio::time::timeout(TIME_LIMIT, self.answer(question, stop)).await;
        match answer.map_err(|_| ReadError::TooSlow)? {
            Ok(answer) => Ok(answer),
            Err(Failed::StaleMark) => Err(ReadError::StaleMark),
            Err(Failed::GivenUp) => Err(ReadError::TooSlow),
            Err(Failed::Sqlite(error)) => {
                if schema::is_damage(&error) {
                    self.0.damaged.store(true, Ordering::Relaxed);
                }
                warn!(%error, "The index of the logs could not be read");
                Err(ReadError::Unavailable(error.to_string()))
            }
        }
    }

    async fn answer<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Session<'_>) -> Result<T, Failed> + Send + 'static,
        stop: Stop,
    ) -> Result<T, Failed> {
        let place = Arc::clone(&self.0.places).acquire_owned().await;
        let shared = Arc::clone(&self.0);
        let blocking = move || {
            let _place = place;
            let (generation, connection) = shared.take()?;
            let answer = stop.run(&connection, question);
            shared.give_back(generation, connection);
            answer
        };
        tokio::task::spawn_blocking(blocking)
            .await
            .unwrap_or(Err(Failed::GivenUp))
    }
}

impl Shared {
    fn take(&self) -> rusqlite::Result<(u64, Connection)> {
        let generation = self.generation.load(Ordering::Relaxed);
        if let Some(idle) = self.idle.lock().pop().filter(|(of, _)| *of == generation) {
            return Ok(idle);
        }
        Ok((generation, schema::open_reader(&self.path)?))
    }

    fn give_back(&self, generation: u64, connection: Connection) {
        if generation == self.generation.load(Ordering::Relaxed) {
            self.idle.lock().push((generation, connection));
        }
    }
}

/// What ends a question.
#[derive(Debug)]
pub(crate) enum Failed {
    Sqlite(rusqlite::Error),
    StaleMark,
    GivenUp,
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => Self::GivenUp,
            _ => Self::Sqlite(error),
        }
    }
}

/// A question under way: one moment of the index.
pub(crate) struct Session<'c> {
    pub(crate) connection: &'c Connection,
    stopped: &'c AtomicBool,
}

impl<'c> Session<'c> {
    #[cfg(test)]
    pub(crate) fn of(connection: &'c Connection) -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self {
            connection,
            stopped: &NEVER,
        }
    }

    /// Ends a question for whose answer nobody waits any more. Between statements SQLite would not notice.
    pub(crate) fn check(&self) -> Result<(), Failed> {
        if self.stopped.load(Ordering::Relaxed) {
            Err(Failed::GivenUp)
        } else {
            Ok(())
        }
    }
}

/// Stops a question from another thread.
#[derive(Clone, Default)]
struct Stop {
    stopped: Arc<AtomicBool>,
    statement: Arc<Mutex<Option<InterruptHandle>>>,
}

impl Stop {
    fn run<T>(
        &self,
        connection: &Connection,
        question: impl FnOnce(&Session<'_>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        *self.statement.lock() = Some(connection.get_interrupt_handle());
        let session = Session {
            connection,
            stopped: &self.stopped,
        };
        session.check()?;
        let moment = connection.unchecked_transaction()?;
        let answer = question(&session);
        drop(moment);
        // The connection goes to another question, which must not be stopped in the place of this one.
        self.statement.lock().take();
        answer
    }
}

struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
        if let Some(statement) = &*self.0.statement.lock() {
            statement.interrupt();
        }
    }
}
