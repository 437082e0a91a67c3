//! The tables that have to be known before any event is read: what became of webhooks, and what waits
//! for them. Read to their ends at the start, followed from then on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use postrider_kafka::Connection;
use postrider_kafka::metrics::PendingGauges;
use postrider_kafka::pending::PendingTable;
use postrider_kafka::tail::Tail;
use postrider_types::{Successes, WebhookId};
use postrider_webhooks::Directory;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::thread;
use crate::config::Config;

const WAIT: Duration = Duration::from_secs(1);

/// The tables, read to their ends.
pub(crate) struct Tables {
    webhooks: Tail,
    pending: Tail,
    table: PendingTable,
}

/// Reads both topics to their ends, on a thread of its own; `None` when stopped before that.
pub(crate) async fn read(
    config: &Config,
    connection: &Connection,
    directory: &Arc<Directory>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Tables>> {
    let topics = (config.routing.webhooks_topic.clone(), config.results.pending.clone());
    let (connection, directory, stop) = (connection.clone(), Arc::clone(directory), stop.clone());
    let runtime = tokio::runtime::Handle::current();
    let reading = move || {
        let open = |topic: &str| open(&connection, topic, &runtime, &stop);
        let (webhooks, pending) = (open(&topics.0)?, open(&topics.1)?);
        webhooks.read_to_end(&stop, |entry| directory.absorb(&entry.key, entry.value.as_deref()));
        directory.settle();
        let mut table = PendingTable::default();
        pending.read_to_end(&stop, |entry| {
            table.take_in(&entry.key, entry.value.as_deref());
        });
        (!stop.is_cancelled()).then_some(Tables {
            webhooks,
            pending,
            table,
        })
    };
    thread::run("tables", reading)?.await
}

/// Keeps trying; `None` when stopped.
fn open(
    connection: &Connection,
    topic: &str,
    runtime: &tokio::runtime::Handle,
    stop: &CancellationToken,
) -> Option<Tail> {
    while !stop.is_cancelled() {
        match Tail::open(&connection.table(), topic) {
            Ok(tail) => return Some(tail),
            Err(error) => warn!(topic, %error, "A topic that has to be known cannot be read; trying again"),
        }
        runtime.block_on(async { tokio::time::timeout(WAIT, stop.cancelled()).await.ok() });
    }
    None
}

impl Tables {
    /// What waits for each webhook, as of the start.
    pub(crate) const fn pending(&self) -> &PendingTable {
        &self.table
    }

    /// Up to which offset this instance has read the webhooks topic.
    pub(crate) fn reached(&self) -> watch::Receiver<i64> {
        self.webhooks.reached()
    }

    /// Follows both, each on a thread of its own, until `stop` fires.
    pub(crate) fn follow(
        self,
        directory: Arc<Directory>,
        mut gauges: PendingGauges,
        successes: Successes,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let Self {
            webhooks,
            pending,
            mut table,
        } = self;
        info!(webhooks = directory.table().load().webhooks().len(), "Webhooks known");
        gauges.show_all(&table);
        for webhook in table.webhooks() {
            note_success(&successes, &table, webhook);
        }
        let stopped = stop.clone();
        std::thread::Builder::new()
            .name("webhooks".to_owned())
            .spawn(move || webhooks.follow(&stopped, |entry| directory.take_in(&entry.key, entry.value.as_deref())))
            .context("the system gives no thread")?;
        let stopped = stop.clone();
        std::thread::Builder::new()
            .name("pending".to_owned())
            .spawn(move || {
                pending.follow(&stopped, |entry| {
                    if let Some(webhook) = table.take_in(&entry.key, entry.value.as_deref()) {
                        gauges.show(&table, &webhook);
                        note_success(&successes, &table, &webhook);
                    }
                });
            })
            .context("the system gives no thread")?;
        Ok(())
    }
}

fn note_success(successes: &Successes, table: &PendingTable, webhook: &WebhookId) {
    if let Some(at) = table.last_success(webhook) {
        successes.note(webhook, at);
    }
}
