//! Following, from one beginning to what ends it: records are taken into a batch, written together, and in between the
//! topic's ends and the index itself are looked after.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use postrider_kafka::Connection;
use postrider_kafka::feed::{Fed, Feed, Record};
use postrider_types::{Partition, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::skipped::Skipped;
use super::track::Track;
use super::{Again, Follower};
use crate::writer::{Batch, Writer};

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
/// Steps of pruning at a time: following goes on in between.
const PRUNINGS: usize = 10;

/// Following under way.
pub(super) struct Round<'a> {
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

impl<'a> Round<'a> {
    /// Goes on where the index ends.
    pub(super) fn begin(
        follower: &'a Follower,
        writer: &'a mut Writer,
        connection: &Connection,
        topic: &str,
    ) -> Result<Self, Again> {
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
        Ok(Self {
            follower,
            writer,
            feed,
            tracks,
            batch: Batch::default(),
            begun: None,
            skipped: Skipped::default(),
            looked_after: follower.clock.now(),
        })
    }

    /// Follows until `stop` fires or something has to be begun again.
    pub(super) fn run(&mut self, stop: &CancellationToken) -> Result<(), Again> {
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
