//! What people ask of replays.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use postrider_types::{Clock, Fault};
use serde_json::Value;
use tokio::time::timeout;

use crate::document::Replay;
use crate::request::Wanted;
use crate::table::Table;

/// The most replays that may be under way or wait.
pub const MOST_UNFINISHED: usize = 20;
/// How long this instance may take to read what it wrote.
const READ_BACK: Duration = Duration::from_secs(10);

/// Why a replay was not taken on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Fields cannot be taken.
    #[error("some fields cannot be taken")]
    Faults(Vec<Fault>),
    /// Enough are under way.
    #[error("{MOST_UNFINISHED} replays are under way or wait; ask again when one has ended")]
    Full,
    /// Kafka cannot be read or written.
    #[error("{0}")]
    Unavailable(String),
}

/// A write under way; the error says in words why it was not made.
pub type Written<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Where new replays are written, for all instances to read.
pub trait Store: fmt::Debug + Send + Sync {
    /// Writes a new one.
    fn put<'a>(&'a self, replay: &'a Replay) -> Written<'a>;
}

/// Takes replays on, and tells of them.
#[derive(Debug)]
pub struct Replays {
    table: Arc<Table>,
    store: Arc<dyn Store>,
    rate: u32,
    clock: Clock,
}

impl Replays {
    /// Over a table and the store that it is read from; `rate` is that of a replay that says nothing else.
    #[must_use]
    pub fn new(table: Arc<Table>, store: Arc<dyn Store>, rate: u32, clock: Clock) -> Self {
        Self {
            table,
            store,
            rate,
            clock,
        }
    }

    /// All of them, newest first.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] while not all are known.
    pub fn list(&self) -> Result<Vec<Arc<Replay>>, Refusal> {
        self.known()?;
        let mut all = self.table.all();
        all.reverse();
        Ok(all)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] while not all are known.
    pub fn get(&self, id: &str) -> Result<Option<Arc<Replay>>, Refusal> {
        self.known()?;
        Ok(self.table.get(id))
    }

    /// Reads what is asked for.
    ///
    /// # Errors
    /// [`Refusal::Faults`]
    pub fn read(&self, document: &Value) -> Result<Wanted, Refusal> {
        Wanted::read(document, self.rate, self.clock.now()).map_err(Refusal::Faults)
    }

    /// Takes a replay on; ends when this instance knows of it.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn ask(&self, wanted: Wanted) -> Result<Arc<Replay>, Refusal> {
        self.known()?;
        if self.table.unfinished() >= MOST_UNFINISHED {
            return Err(Refusal::Full);
        }
        let replay = Replay::new(wanted, self.clock.now());
        let mut changes = self.table.changes();
        self.store.put(&replay).await.map_err(uncertain)?;
        let read_back = changes.wait_for(|_| self.table.get(&replay.id).is_some());
        match timeout(READ_BACK, read_back).await {
            Ok(Ok(_)) => Ok(self.table.get(&replay.id).unwrap_or_else(|| Arc::new(replay))),
            _ => Err(Refusal::Unavailable(
                "the replay was written, but could not be read back; look for it in the list".to_owned(),
            )),
        }
    }

    fn known(&self) -> Result<(), Refusal> {
        if self.table.is_complete() {
            return Ok(());
        }
        let detail = "the replays topic could not be read yet; `postrider topics check` says whether it is there";
        Err(Refusal::Unavailable(detail.to_owned()))
    }
}

/// What was given to Kafka and not acknowledged may be there all the same.
fn uncertain(why: String) -> Refusal {
    Refusal::Unavailable(format!(
        "it is not known whether the replay was written: {why}; look for it in the list before you ask for it again"
    ))
}

/// A store that nobody else reads, for tests: it goes straight into a table.
#[derive(Debug)]
pub struct MemoryStore(pub Arc<Table>);

impl Store for MemoryStore {
    fn put<'a>(&'a self, replay: &'a Replay) -> Written<'a> {
        Box::pin(async move {
            let value = serde_json::to_vec(replay).map_err(|error| error.to_string())?;
            self.0.take_in(replay.id.as_bytes(), Some(&value));
            Ok(())
        })
    }
}
