//! The index of the logs, which follows the results topic beside the stages, and the bodies of events. Neither can
//! stop a delivery.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use postrider_admin::{Bodies, Body};
use postrider_kafka::Connection;
use postrider_kafka::lookup::{Lookup, Missing};
use postrider_kafka::record::Fetched;
use postrider_logs::{Reader, Settings};
use postrider_types::{Outcome, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Core, manage, thread};

/// How long the last batch may take when all else has ended.
const ENDING: Duration = Duration::from_secs(10);
/// How long looking for one body may take.
const LOOK: Duration = Duration::from_secs(5);
/// Bodies that are looked for at once, one of them under way.
const LOOKS: usize = 8;

/// The index, if there is to be one.
pub(super) struct Logs(Option<Following>);

struct Following {
    reader: Reader,
    stop: CancellationToken,
    ended: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
}

impl Logs {
    /// Begins to follow, where `admin.logs.path` says where to.
    pub(super) fn follow(core: &Core) -> anyhow::Result<Self> {
        let config = &core.config.admin.logs;
        let Some((path, metrics)) = config.path.clone().zip(core.metrics.logs.clone()) else {
            return Ok(Self(None));
        };
        let settings = Settings {
            path,
            max_age: config.max_age,
            max_rows: config.max_rows,
        };
        let (reader, follower) = postrider_logs::index(settings, metrics, core.clock);
        let stop = CancellationToken::new();
        let (stopped, runtime) = (stop.clone(), Handle::current());
        let (connection, topic) = (core.connection.clone(), core.config.results.topic.clone());
        let ended = thread::run("logs", move || follower.run(&connection, &topic, &runtime, &stopped))?;
        Ok(Self(Some(Following {
            reader,
            stop,
            ended: Box::pin(ended),
        })))
    }

    /// Answers from the index.
    pub(super) fn reader(&self) -> Option<Reader> {
        self.0.as_ref().map(|following| following.reader.clone())
    }

    /// Ends the following, now that nothing more is published.
    pub(super) async fn end(self) {
        let Some(following) = self.0 else { return };
        following.stop.cancel();
        match timeout(ENDING, following.ended).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(%error, "The index of the logs ended with a fault"),
            Err(_) => warn!("The index of the logs does not end in time; what is missing is indexed at the next start"),
        }
    }
}

/// Reads the bodies of events from their source records.
pub(super) struct Sources {
    lookup: Arc<Lookup>,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    pub(super) fn new(connection: &Connection) -> Self {
        Self {
            lookup: Arc::new(Lookup::new(connection.lookup())),
            places: Arc::new(Semaphore::new(LOOKS)),
        }
    }
}

impl Bodies for Sources {
    fn body<'a>(&'a self, outcome: &'a Outcome) -> Body<'a> {
        Box::pin(async move {
            let Some(source) = outcome.source.clone() else {
                return Ok(manage::sample(outcome.event));
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                return Err("too many bodies are looked for at once; try again".to_owned());
            };
            let lookup = Arc::clone(&self.lookup);
            let found = tokio::task::spawn_blocking(move || {
                let _place = place;
                lookup.read(&source, LOOK)
            });
            let found = found.await.unwrap_or(Err(Missing::Late));
            of_the_event(found, outcome.event_time).map_err(|missing| missing.to_string())
        })
    }
}

/// The body, if the record is still the one the event came from: a topic that was made anew has others at its offsets.
fn of_the_event(found: Result<Fetched, Missing>, event_time: Timestamp) -> Result<bytes::Bytes, Missing> {
    let found = found?;
    if found.origin.timestamp != event_time {
        return Err(Missing::NoTopic);
    }
    found.value.ok_or(Missing::Removed)
}
