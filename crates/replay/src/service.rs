//! Replays as a part of the daemon: the table follows the topic, and while any replay is under way this instance asks
//! for the seat and, when it has it, runs them. Whatever goes wrong here stops no delivery.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_kafka::encode::{Limits, document};
use postrider_kafka::publisher::{Partitions, Publisher};
use postrider_kafka::seat::Seat;
use postrider_kafka::tail::Tail;
use postrider_kafka::{Connection, Mode, Reachability, ResultsConfig};
use postrider_types::Clock;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;
use crate::document::Replay;
use crate::metrics::Metrics;
use crate::ports::Trouble;
use crate::replays::{Store, Written};
use crate::shelf::Decoder;
use crate::table::Table;
use crate::term::Term;

/// How long after a trouble another try is made.
const PAUSE: Duration = Duration::from_secs(2);
/// The same for a topic that is not there.
const ABSENT: Duration = Duration::from_secs(10);
/// How often the table is looked at while nothing is under way.
const LOOK: Duration = Duration::from_secs(1);

/// What replays are run with.
pub struct Parts {
    /// The section `replay`.
    pub config: Config,
    /// To Kafka.
    pub connection: Connection,
    /// `consumer.group_id`
    pub group: String,
    /// With or without transactions.
    pub mode: Mode,
    /// The topics' names.
    pub results: ResultsConfig,
    /// `routing.webhooks_topic`
    pub webhooks_topic: String,
    /// What each topic takes.
    pub limits: Limits,
    /// Partitions of the topics whose records stick together.
    pub partitions: Partitions,
    /// The delay of the smallest retry topic.
    pub tier: Duration,
    /// Reads source records as events.
    pub decoder: Arc<dyn Decoder>,
    /// Its series.
    pub metrics: Metrics,
    /// Shared with the other clients.
    pub reachability: Reachability,
    /// The time.
    pub clock: Clock,
    /// For waiting inside threads.
    pub runtime: Handle,
    /// Fires when all of it should end.
    pub stop: CancellationToken,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// The replays of one instance.
#[derive(Debug)]
pub struct Service {
    parts: Arc<Parts>,
    table: Arc<Table>,
}

impl Service {
    /// With an empty table; nothing happens before [`run`](Self::run).
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
            table: Arc::default(),
        }
    }

    /// The table, shared.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table)
    }

    /// Where new replays are written.
    ///
    /// # Errors
    /// In words, when the client cannot be made.
    pub fn store(&self) -> Result<Arc<dyn Store>, String> {
        let parts = &self.parts;
        let config = parts.connection.producer(None, &parts.limits);
        let publisher = Publisher::new(&config, Partitions::default(), parts.reachability.clone(), None);
        Ok(Arc::new(TopicStore {
            publisher: Arc::new(Mutex::new(publisher.map_err(|error| error.to_string())?)),
            topic: parts.results.replays.as_str().into(),
        }))
    }

    /// Follows the topic and runs replays until stopped. Blocks: for a thread of its own.
    pub fn run(self) {
        let Some(tail) = self.open_tail() else { return };
        let table = Arc::clone(&self.table);
        tail.read_to_end(&self.parts.stop, |entry| {
            table.take_in(&entry.key, entry.value.as_deref())
        });
        table.completed();
        let reached = tail.reached();
        let stop = self.parts.stop.clone();
        let follow = move || tail.follow(&stop, |entry| table.take_in(&entry.key, entry.value.as_deref()));
        let following = std::thread::Builder::new()
            .name("replays-table".to_owned())
            .spawn(follow);
        if let Err(error) = following {
            return warn!(%error, "The system gives no thread; no replays on this instance");
        }
        while !self.parts.stop.is_cancelled() {
            if self.has_work() {
                self.stand(&reached);
            }
            self.pause(LOOK);
        }
    }

    /// Keeps trying; `None` when stopped.
    fn open_tail(&self) -> Option<Tail> {
        let topic = &self.parts.results.replays;
        while !self.parts.stop.is_cancelled() {
            match Tail::open(&self.parts.connection.table(), topic) {
                Ok(tail) if tail.has_partitions() => return Some(tail),
                Ok(_) => warn!(
                    topic,
                    "The replays topic is not there, so nothing can be replayed; run `postrider topics create`"
                ),
                Err(error) => warn!(topic, %error, "The replays topic cannot be read; trying again"),
            }
            self.pause(ABSENT);
        }
        None
    }

    fn has_work(&self) -> bool {
        let unfinished = self.table.unfinished();
        let shown = i64::try_from(unfinished).unwrap_or(i64::MAX);
        self.parts.metrics.unfinished.set(shown);
        unfinished > 0
    }

    /// Stands for the seat as long as there is work, and holds terms while it has it.
    fn stand(&self, reached: &watch::Receiver<i64>) {
        let group = format!("{}.replays", self.parts.group);
        let config = self.parts.connection.seat(&group);
        let seat = match Seat::seek(&config, &self.parts.results.replays) {
            Ok(seat) => seat,
            Err(error) => return warn!(%error, "The group of the replays cannot be joined; trying again"),
        };
        let mut term: Option<Holding> = None;
        while self.has_work() && !self.parts.stop.is_cancelled() {
            let leads = seat.look();
            term = match term {
                Some(term) if !leads => {
                    info!("The replays are another instance's now");
                    self.end(term);
                    None
                }
                Some(term) if term.running.is_finished() => {
                    self.end(term);
                    None
                }
                None if leads => self.begin(reached),
                same => same,
            };
        }
        if let Some(term) = term {
            self.end(term);
        }
    }

    fn begin(&self, reached: &watch::Receiver<i64>) -> Option<Holding> {
        let stop = self.parts.stop.child_token();
        let term = Term::new(&self.parts, &self.table, stop.clone());
        let reached = reached.clone();
        let running = std::thread::Builder::new()
            .name("replays-term".to_owned())
            .spawn(move || term.serve(reached));
        self.parts.metrics.leads.set(1);
        running.map(|running| Holding { running, stop }).ok()
    }

    fn end(&self, term: Holding) {
        term.stop.cancel();
        let ended = term.running.join();
        self.parts.metrics.leads.set(0);
        match ended {
            Ok(Ok(()) | Err(Trouble::Stopped)) => {}
            Ok(Err(why)) => {
                warn!(%why, "Replays met trouble; going on from what was committed");
                self.pause(PAUSE);
            }
            Err(_) => {
                tracing::error!("Running the replays panicked; going on from what was committed");
                self.pause(PAUSE);
            }
        }
    }

    fn pause(&self, time: Duration) {
        let stopped = self.parts.stop.cancelled();
        // Whether it was stopped is looked at by whoever paused.
        let _ = self.parts.runtime.block_on(async { timeout(time, stopped).await });
    }
}

/// A term under way.
struct Holding {
    running: JoinHandle<Result<(), Trouble>>,
    stop: CancellationToken,
}

/// The replays topic, written to.
struct TopicStore {
    publisher: Arc<Mutex<Publisher>>,
    topic: Arc<str>,
}

impl fmt::Debug for TopicStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicStore")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Store for TopicStore {
    fn put<'a>(&'a self, replay: &'a Replay) -> Written<'a> {
        let record = document(&self.topic, &replay.id, replay);
        let publisher = Arc::clone(&self.publisher);
        Box::pin(async move {
            let sent = tokio::task::spawn_blocking(move || publisher.lock().send_all([&record].into_iter(), 0));
            match sent.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.sentence()),
                Err(_) => Err("writing the replay panicked".to_owned()),
            }
        })
    }
}
