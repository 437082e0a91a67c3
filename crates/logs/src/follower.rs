//! The one who follows the results topic into the index, on a thread of its own. Nothing that happens to it or to the
//! index stops anything else.

mod round;
mod skipped;
mod track;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postrider_kafka::Connection;
use postrider_types::Clock;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::round::Round;
use crate::metrics::Metrics;
use crate::prune::Bounds;
use crate::reader::{Reader, Shared};
use crate::schema;
use crate::writer::{WriteError, Writer, WriterError};

/// How long to wait before trying again.
const PAUSE: Duration = Duration::from_secs(2);
/// How far ahead of the clock anything may have been pruned.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Where the index is and what may be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// What is older is dropped.
    pub max_age: Duration,
    /// Of more the oldest are dropped.
    pub max_rows: u64,
}

/// Follows the results topic into the index.
#[derive(Debug)]
pub struct Follower {
    settings: Settings,
    shared: Arc<Shared>,
    metrics: Metrics,
    clock: Clock,
}

/// An index: whoever answers from it, and whoever keeps it up with the topic.
#[must_use]
pub fn index(settings: Settings, metrics: Metrics, clock: Clock) -> (Reader, Follower) {
    let reader = Reader::new(settings.path.clone());
    let shared = reader.shared();
    shared.progress.set_trouble(Some("it is being opened".to_owned()));
    let follower = Follower {
        settings,
        shared,
        metrics,
        clock,
    };
    (reader, follower)
}

/// Why the following is begun again.
#[derive(Debug)]
enum Again {
    /// The file is broken, or is not there any more.
    Lost(&'static str),
    /// The topic is another than the one that was indexed.
    Anew(&'static str),
    /// The topic's partitions have changed.
    Partitions,
    /// Kafka does not answer, or has no such topic.
    Kafka(Box<dyn std::error::Error + Send + Sync>),
    /// The index cannot be written.
    Write(WriteError),
}

impl Again {
    fn kafka(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Kafka(Box::new(error))
    }
}

impl From<WriteError> for Again {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Sqlite(error) if schema::is_damage(&error) => Self::Lost("the file is damaged"),
            other => Self::Write(other),
        }
    }
}

impl From<rusqlite::Error> for Again {
    fn from(error: rusqlite::Error) -> Self {
        WriteError::from(error).into()
    }
}

impl Follower {
    /// Follows until `stop` fires. Blocks; to be run on a thread of its own.
    pub fn run(self, connection: &Connection, topic: &str, runtime: &Handle, stop: &CancellationToken) {
        let wait = || runtime.block_on(async { tokio::time::timeout(PAUSE, stop.cancelled()).await.is_ok() });
        while !stop.is_cancelled() {
            let mut writer = match self.open(topic) {
                Ok(writer) => writer,
                Err(error) => {
                    self.complain(&error.to_string());
                    wait();
                    continue;
                }
            };
            self.shared.renew();
            self.shared.progress.set_trouble(None);
            while let Err(again) = self.follow(&mut writer, connection, topic, stop) {
                let opens_again = self.recover(&mut writer, &again);
                if !matches!(again, Again::Lost(_)) {
                    wait();
                }
                if opens_again {
                    break;
                }
            }
        }
    }

    fn open(&self, topic: &str) -> Result<Writer, WriterError> {
        let path = &self.settings.path;
        let (writer, unusable) = Writer::open(path, topic)?;
        match unusable {
            Some(unusable) => {
                warn!(path = %path.display(), %unusable, "The index of the logs is built anew from the topic")
            }
            None => info!(path = %path.display(), rows = writer.rows, "The index of the logs is open"),
        }
        Ok(writer)
    }

    /// Says what is wrong, once.
    fn complain(&self, trouble: &str) {
        if self.shared.progress.trouble().as_deref() != Some(trouble) {
            error!(
                trouble,
                "The index of the logs cannot be used; trying again. Deliveries go on"
            );
            self.shared.progress.set_trouble(Some(trouble.to_owned()));
        }
    }

    /// Does what has to be done before following is begun again; whether the file has to be opened again.
    fn recover(&self, writer: &mut Writer, again: &Again) -> bool {
        match again {
            Again::Lost(why) => {
                warn!(why, "The index of the logs is built anew from the topic");
                schema::remove(&self.settings.path);
                return true;
            }
            Again::Anew(why) => {
                warn!(
                    why,
                    "The results topic was made anew; the index of the logs is built anew from it"
                );
                return writer.clear().is_err();
            }
            Again::Partitions => info!("The results topic has other partitions; they are indexed too"),
            Again::Kafka(error) => warn!(%error, "The results topic cannot be read for the logs; trying again"),
            Again::Write(error) => {
                error!(%error, "The index of the logs cannot be written; trying again. Deliveries go on");
                return true;
            }
        }
        false
    }

    const fn bounds(&self) -> Bounds {
        Bounds {
            max_age: self.settings.max_age,
            max_rows: self.settings.max_rows,
        }
    }

    /// A clock that was far ahead for a while has pruned too much, and what comes now would be too old.
    fn judge_floor(&self, writer: &Writer) -> Result<(), Again> {
        let is_ahead = writer.floor.date() > self.clock.now().after(AHEAD);
        if is_ahead {
            return Err(Again::Lost("it was pruned by a clock that was ahead"));
        }
        Ok(())
    }

    /// Follows until `stop` fires or something has to be begun again.
    fn follow(
        &self,
        writer: &mut Writer,
        connection: &Connection,
        topic: &str,
        stop: &CancellationToken,
    ) -> Result<(), Again> {
        self.judge_floor(writer)?;
        if writer.set_bounds(self.bounds())? {
            info!("The logs may have more than before (admin.logs): the results topic is read from its beginning");
        }
        // What is too old already is not taken in first.
        writer.prune(self.bounds(), self.clock.now())?;
        Round::begin(self, writer, connection, topic)?.run(stop)
    }
}
