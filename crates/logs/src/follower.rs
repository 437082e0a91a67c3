//! The one who follows the results topic into the index, on a thread of its own. Nothing that happens to it or to the
//! index stops anything else.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postrider_kafka::Connection;
use postrider_kafka::feed::{Fed, Feed, Record};
use postrider_types::{Clock, Offset, Partition, Timestamp};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::metrics::Metrics;
use crate::progress::Standing;
use crate::prune::Bounds;
use crate::reader::{Reader, Shared};
use crate::schema;
use crate::writer::{Batch, Reached, WriteError, Writer, WriterError};

/// Records of a batch.
const BATCH_RECORDS: usize = 5_000;
/// Bytes of a batch.
const BATCH_BYTES: usize = 8 << 20;
/// How long a record waits for its batch to fill.
const BATCH_AGE: Duration = Duration::from_millis(250);
const POLL: Duration = Duration::from_millis(50);
/// How often the end of one partition is asked for, and how far the index is gets told.
const LOOK: Duration = Duration::from_millis(200);
/// How often the file, the topic's partitions and old rows are looked at.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long to wait before trying again.
const PAUSE: Duration = Duration::from_secs(2);
/// How often records that were passed over are told of.
const COMPLAIN: Duration = Duration::from_secs(60);
/// Steps of pruning at a time: following goes on in between.
const PRUNINGS: usize = 10;
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
        let feed = Feed::open(&connection.reader(), topic).map_err(Again::kafka)?;
        let mut tracks = BTreeMap::new();
        let reached = writer.reached()?;
        for partition in feed.partitions() {
            let bounds = feed.bounds(*partition).map_err(Again::kafka)?;
            let track = Track::begin(*partition, reached.get(partition), (bounds.first, bounds.end))?;
            tracks.insert(*partition, track);
        }
        let offsets = tracks
            .iter()
            .map(|(partition, track)| (*partition, track.start))
            .collect();
        feed.start(&offsets).map_err(Again::kafka)?;
        let mut round = Round {
            follower: self,
            writer,
            feed,
            tracks,
            batch: Batch::default(),
            begun: None,
            skipped: Skipped::default(),
            looked_after: self.clock.now(),
        };
        round.run(stop)
    }
}

/// One partition, as it is followed.
#[derive(Debug, Clone, Copy)]
struct Track {
    start: Offset,
    standing: Standing,
    /// When the record at `start` was published, if it was indexed before: by it the topic is known again.
    known: Option<Timestamp>,
}

impl Track {
    fn begin(partition: Partition, reached: Option<&Reached>, (first, end): (Offset, Offset)) -> Result<Self, Again> {
        let Some(reached) = reached else {
            return Ok(Self::at(first, None, (first, end)));
        };
        let last = Offset(reached.next.0 - 1);
        if reached.next > end {
            return Err(Again::Anew("it ends before what was indexed"));
        }
        if last >= first {
            return Ok(Self::at(last, Some(reached.timestamp), (reached.next, end)));
        }
        let lost = first.0 - reached.next.0;
        if lost > 0 {
            warn!(%partition, lost, "Retention removed records of the results topic before they were indexed");
        }
        Ok(Self::at(first, None, (first, end)))
    }

    const fn at(start: Offset, known: Option<Timestamp>, (next, end): (Offset, Offset)) -> Self {
        Self {
            start,
            standing: Standing {
                next,
                end,
                timestamp: Timestamp::from_millis(0),
            },
            known,
        }
    }

    /// Whether a record is new. The first one tells whether this is the topic that was indexed.
    fn take(&mut self, record: &Record) -> Result<bool, Again> {
        if let Some(known) = self.known.take() {
            let is_known = record.offset == self.start && record.timestamp == known;
            return if is_known {
                Ok(false)
            } else {
                Err(Again::Anew("its last record that was indexed is another now"))
            };
        }
        if record.offset < self.standing.next {
            return Err(Again::Anew("its offsets went back"));
        }
        let next = Offset(record.offset.0 + 1);
        self.standing = Standing {
            next,
            end: self.standing.end.max(next),
            timestamp: record.timestamp,
        };
        Ok(true)
    }
}

/// Records that were passed over and not told of yet.
#[derive(Debug, Default)]
struct Skipped {
    count: u64,
    told: Option<Instant>,
}

impl Skipped {
    fn note(&mut self, record: (Partition, Offset), why: &dyn std::error::Error) {
        self.count += 1;
        if self.told.is_none_or(|told| told.elapsed() >= COMPLAIN) {
            let (partition, offset) = record;
            let count = std::mem::take(&mut self.count);
            warn!(%partition, %offset, count, %why, "A record of the results topic is passed over by the logs");
            self.told = Some(Instant::now());
        }
    }
}

struct Round<'a> {
    follower: &'a Follower,
    writer: &'a mut Writer,
    feed: Feed,
    tracks: BTreeMap<Partition, Track>,
    batch: Batch,
    begun: Option<Instant>,
    skipped: Skipped,
    /// The last upkeep: a clock that has gone back since may have been far ahead.
    looked_after: Timestamp,
}

impl Round<'_> {
    fn run(&mut self, stop: &CancellationToken) -> Result<(), Again> {
        let file = self.inode();
        self.tell();
        let (mut looked, mut kept_up, mut turn) = (Instant::now(), Instant::now(), 0);
        while !stop.is_cancelled() {
            let idle = self.step()?;
            if self.is_due(idle) {
                self.flush()?;
            }
            if looked.elapsed() >= LOOK {
                self.look(turn);
                (looked, turn) = (Instant::now(), turn + 1);
            }
            if kept_up.elapsed() >= UPKEEP {
                kept_up = Instant::now();
                if self.inode() != file {
                    return Err(Again::Lost("the file was removed"));
                }
                self.keep_up()?;
            }
        }
        self.flush()
    }

    /// Takes what comes next; whether nothing did.
    fn step(&mut self) -> Result<bool, Again> {
        match self.feed.poll(POLL) {
            Fed::Record(record) => self.take(record).map(|()| false),
            Fed::End(partition) => self.end(partition).map(|()| true),
            Fed::Nothing => Ok(true),
            Fed::Trouble(error) => {
                debug!(%error, "Reading the results topic met an error; trying again");
                Ok(true)
            }
            Fed::Lost(error) => Err(Again::kafka(error)),
        }
    }

    fn take(&mut self, record: Record) -> Result<(), Again> {
        let Some(track) = self.tracks.get_mut(&record.partition) else {
            return Ok(());
        };
        if !track.take(&record)? {
            return Ok(());
        }
        let at = (record.partition, record.offset);
        if let Err(malformed) = self.batch.take(record) {
            self.follower.metrics.skipped.inc();
            self.skipped.note(at, &malformed);
        }
        self.begun.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// A partition's end: markers of transactions before it are no records that are missing.
    fn end(&mut self, partition: Partition) -> Result<(), Again> {
        let position = self.feed.positions().get(&partition).copied();
        let Some(track) = self.tracks.get_mut(&partition) else {
            return Ok(());
        };
        if track.known.is_some() {
            return Err(Again::Anew("its last record that was indexed is not there"));
        }
        let standing = &mut track.standing;
        standing.next = position.unwrap_or(standing.next).max(standing.next);
        standing.end = standing.next;
        Ok(())
    }

    fn is_due(&self, idle: bool) -> bool {
        let waited = self.begun.is_some_and(|begun| begun.elapsed() >= BATCH_AGE);
        self.batch.len() >= BATCH_RECORDS
            || self.batch.bytes() >= BATCH_BYTES
            || (self.batch.len() > 0 && (idle || waited))
    }

    fn flush(&mut self) -> Result<(), Again> {
        if self.batch.len() == 0 {
            return Ok(());
        }
        self.writer.write(&self.batch)?;
        self.batch.clear();
        self.begun = None;
        if self.writer.rows > self.follower.settings.max_rows {
            self.prune()?;
        }
        self.tell();
        Ok(())
    }

    fn prune(&mut self) -> Result<bool, Again> {
        Ok(self.writer.prune(self.follower.bounds(), self.follower.clock.now())?)
    }

    /// Asks for the end of one partition after the other.
    fn look(&mut self, turn: usize) {
        let partitions = self.feed.partitions();
        let partition = partitions[turn % partitions.len()];
        let Ok(bounds) = self.feed.bounds(partition) else {
            return;
        };
        if let Some(track) = self.tracks.get_mut(&partition) {
            // Markers behind the last record are met when the next record comes, or the next end.
            let is_at_end = track.standing.next == track.standing.end;
            let moved = bounds.end > track.standing.end;
            if moved || !is_at_end {
                track.standing.end = bounds.end.max(track.standing.next);
            }
        }
        self.tell();
    }

    fn tell(&self) {
        let standings = self
            .tracks
            .iter()
            .map(|(partition, track)| (*partition, track.standing));
        let progress = &self.follower.shared.progress;
        progress.set(standings.collect(), self.follower.clock.now());
        let metrics = &self.follower.metrics;
        metrics.rows.set(gauge(self.writer.rows));
        metrics.lag.set(gauge(progress.indexed().lag.unwrap_or(0)));
    }

    fn keep_up(&mut self) -> Result<(), Again> {
        if self.follower.shared.is_damaged() {
            return Err(Again::Lost("the file is damaged"));
        }
        let now = self.follower.clock.now();
        if now < std::mem::replace(&mut self.looked_after, now) {
            self.follower.judge_floor(self.writer)?;
        }
        for _ in 0..PRUNINGS {
            if !self.prune()? {
                break;
            }
        }
        // When Kafka does not say, it is asked again.
        if self.feed.has_changed().unwrap_or(false) {
            return Err(Again::Partitions);
        }
        Ok(())
    }

    /// Which file the path leads to.
    fn inode(&self) -> Option<u64> {
        let metadata = std::fs::metadata(&self.follower.settings.path).ok();
        metadata.map(|metadata| metadata.ino())
    }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
