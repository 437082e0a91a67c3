//! The replays that there are, as the replays topic tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;
use tracing::warn;

use crate::document::Replay;

/// All replays, by their ids: the order in which they were asked for.
#[derive(Debug)]
pub struct Table {
    all: RwLock<BTreeMap<String, Arc<Replay>>>,
    complete: AtomicBool,
    changed: watch::Sender<u64>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            all: RwLock::default(),
            complete: AtomicBool::new(false),
            changed: watch::Sender::new(0),
        }
    }
}

impl Table {
    /// Takes in a record of the topic. What cannot be read is passed over.
    pub fn take_in(&self, key: &[u8], value: Option<&[u8]>) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        match value.map(serde_json::from_slice::<Replay>) {
            None => drop(self.all.write().remove(key)),
            Some(Ok(replay)) => drop(self.all.write().insert(key.to_owned(), Arc::new(replay))),
            Some(Err(error)) => warn!(replay.id = key, %error, "A replay's document cannot be read; passed over"),
        }
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// From now on it holds everything there is.
    pub fn completed(&self) {
        self.complete.store(true, Ordering::Relaxed);
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Whether it holds everything there is.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Replay>> {
        self.all.read().values().cloned().collect()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Replay>> {
        self.all.read().get(id).cloned()
    }

    /// How many have not come to their end.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.all
            .read()
            .values()
            .filter(|replay| !replay.state.is_final())
            .count()
    }

    /// Tells of changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
