//! What a term writes: each step's document, with the deliveries it parks and their counts, in one transaction of the
//! id that all instances share. Taking it fences whoever had it, and finishes or aborts what that one left open.

use std::collections::HashMap;
use std::sync::Arc;

use fail::fail_point;
use postrider_kafka::Mode;
use postrider_kafka::encode::{self, Encoder, Outgoing};
use postrider_kafka::pending::{ByWebhook, OwnCounts, PendingTable};
use postrider_kafka::publisher::{PublishError, Publisher};
use postrider_kafka::tail::Tail;
use postrider_types::Parked;
use tokio_util::sync::CancellationToken;

use crate::document::Replay;
use crate::metrics::Metrics;
use crate::ports::{Ledger, Trouble};
use crate::service::Parts;
use crate::table::Table;

/// Who the counts of what replays park are told by: no instance can have that name, and one at a time tells them.
const TELLER: &str = "~replays";
/// How many replays that have come to their end are kept.
const KEPT: usize = 1_000;

/// The writing side of a term.
pub(crate) struct Book {
    publisher: Publisher,
    encoder: Encoder,
    own: OwnCounts,
    mode: Mode,
    topic: Arc<str>,
    sequence: u32,
    metrics: Metrics,
    table: Arc<Table>,
    /// How many of each replay were lost, as of its last commit: the table may not have heard yet.
    lost: HashMap<String, u64>,
}

impl Book {
    /// Takes the place, and reads what an earlier holder counted. Blocks.
    pub(crate) fn open(parts: &Parts, table: &Arc<Table>, stop: &CancellationToken) -> Result<Self, Trouble> {
        let shared = format!("{}.replays", parts.group);
        let transactional = (parts.mode == Mode::Transactions).then_some(&*shared);
        let config = parts.connection.producer(transactional, &parts.limits);
        let publisher = Publisher::new(&config, parts.partitions.clone(), parts.reachability.clone(), None)
            .map_err(PublishError::Fatal)
            .map_err(Trouble::Write)?;
        if parts.mode == Mode::Transactions {
            publisher.take_place().map_err(Trouble::Write)?;
        }
        let encoder = Encoder::new(TELLER, parts.results.clone(), &*parts.webhooks_topic, parts.limits);
        Ok(Self {
            publisher,
            encoder,
            own: OwnCounts::new(counted(parts, stop)?, std::time::Duration::MAX),
            mode: parts.mode,
            topic: parts.results.replays.as_str().into(),
            sequence: 0,
            metrics: parts.metrics.clone(),
            table: Arc::clone(table),
            lost: HashMap::new(),
        })
    }

    /// Where the replays topic ends now.
    pub(crate) fn end(&self) -> Result<i64, Trouble> {
        Ok(self.publisher.end_of(&self.topic)?)
    }

    fn publish(&self, records: &[Outgoing]) -> Result<(), PublishError> {
        match self.mode {
            Mode::Transactions => {
                self.publisher.publish_in_transaction(records.iter(), self.sequence)?;
                fail_point!("r1");
                self.publisher.commit_alone()
            }
            Mode::AtLeastOnce => self.publisher.send_all(records.iter(), self.sequence),
        }
    }

    /// The oldest replays that are not kept any longer, once another comes to its end.
    fn forgotten(&self, ending: &Replay) -> Vec<Outgoing> {
        let mut ended = self.table.all();
        ended.retain(|replay| replay.state.is_final() && replay.id != ending.id);
        let surplus = if ending.state.is_final() {
            (ended.len() + 1).saturating_sub(KEPT)
        } else {
            0
        };
        let tombstone = |replay: Arc<Replay>| Outgoing {
            topic: Arc::clone(&self.topic),
            sticky: false,
            key: Some(replay.id.clone().into()),
            headers: Arc::default(),
            value: None,
        };
        ended.into_iter().take(surplus).map(tombstone).collect()
    }
}

impl Ledger for Book {
    fn commit(&mut self, replay: &Replay, parked: Vec<Parked>) -> Result<(), Trouble> {
        self.sequence = self.sequence.wrapping_add(1);
        let touched = self.own.parking(parked.iter().map(|parked| &parked.waiting.webhook_id));
        let count = parked.len() as u64;
        let mut records: Vec<Outgoing> = parked.iter().map(|parked| self.encoder.parked(parked)).collect();
        records.extend(
            touched
                .iter()
                .map(|(webhook, counts)| self.encoder.pending(webhook, counts)),
        );
        records.push(encode::document(&self.topic, &replay.id, replay));
        records.extend(self.forgotten(replay));
        self.publish(&records).map_err(Trouble::Write)?;
        fail_point!("r2");
        self.own.apply(touched);
        let lost = self.newly_lost(replay);
        self.metrics.went(count, lost);
        Ok(())
    }
}

impl Book {
    fn newly_lost(&mut self, replay: &Replay) -> u64 {
        let told = self.lost.insert(replay.id.clone(), replay.lost_source);
        let before = told.or_else(|| self.table.get(&replay.id).map(|known| known.lost_source));
        replay.lost_source.saturating_sub(before.unwrap_or(0))
    }
}

/// What was told of parked deliveries before. Nobody else tells it now, so the topic's end holds the last of it.
fn counted(parts: &Parts, stop: &CancellationToken) -> Result<ByWebhook, Trouble> {
    let tail = Tail::open(&parts.connection.table(), &parts.results.pending)?;
    let mut table = PendingTable::default();
    tail.read_to_end(stop, |entry| {
        table.take_in(&entry.key, entry.value.as_deref());
    });
    if stop.is_cancelled() {
        return Err(Trouble::Stopped);
    }
    Ok(table.of_instance(TELLER))
}
