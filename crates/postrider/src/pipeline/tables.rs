//! The tables that have to be known before any event is read: what became of webhooks, and what waits
//! for them. Read to their ends at the start, followed from then on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use postrider_kafka::Connection;
use postrider_kafka::metrics::PendingGauges;
use postrider_kafka::pending::PendingTable;
use postrider_kafka::tail::{Entry, Tail};
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
        gauges: PendingGauges,
        successes: Successes,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let Self {
            webhooks,
            pending,
            table,
        } = self;
        info!(webhooks = directory.table().load().webhooks().len(), "Webhooks known");
        for webhook in table.webhooks() {
            note_success(&successes, &table, webhook);
        }
        let waiting = Arc::new(Mutex::new(Waiting::shown(table, gauges)));
        let (stopped, known, shown) = (stop.clone(), Arc::clone(&directory), Arc::clone(&waiting));
        std::thread::Builder::new()
            .name("webhooks".to_owned())
            .spawn(move || {
                webhooks.follow(&stopped, |entry| {
                    known.take_in(&entry.key, entry.value.as_deref());
                    if let Some(gone) = removed(&entry) {
                        shown.lock().forget_if_gone(&gone, &known);
                    }
                });
            })
            .context("the system gives no thread")?;
        let stopped = stop.clone();
        std::thread::Builder::new()
            .name("pending".to_owned())
            .spawn(move || {
                pending.follow(&stopped, |entry| {
                    let mut waiting = waiting.lock();
                    if let Some(webhook) = waiting.table.take_in(&entry.key, entry.value.as_deref()) {
                        waiting.show(&webhook);
                        waiting.forget_if_gone(&webhook, &directory);
                        note_success(&successes, &waiting.table, &webhook);
                    }
                });
            })
            .context("the system gives no thread")?;
        Ok(())
    }
}

/// What waits for each webhook, and what is shown of it.
struct Waiting {
    table: PendingTable,
    gauges: PendingGauges,
}

impl Waiting {
    fn shown(table: PendingTable, mut gauges: PendingGauges) -> Self {
        gauges.show_all(&table);
        Self { table, gauges }
    }

    fn show(&mut self, webhook: &WebhookId) {
        self.gauges.show(&self.table, webhook);
    }

    /// The counts of a webhook that is gone stay: another instance may go on counting from its own.
    fn forget_if_gone(&mut self, webhook: &WebhookId, directory: &Directory) {
        if directory.get(webhook).is_none() {
            self.gauges.forget(&self.table, webhook);
        }
    }
}

/// The webhook that a record of the webhooks topic removes for good.
fn removed(entry: &Entry) -> Option<WebhookId> {
    let key = std::str::from_utf8(&entry.key).ok()?;
    let id = WebhookId::new(key).ok()?;
    entry.value.is_none().then_some(id)
}

fn note_success(successes: &Successes, table: &PendingTable, webhook: &WebhookId) {
    if let Some(at) = table.last_success(webhook) {
        successes.note(webhook, at);
    }
}
