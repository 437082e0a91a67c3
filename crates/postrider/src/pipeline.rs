//! The daemon: four stages and three bounded channels, and what has to stand before they start.
//!
//! ```text
//! consumer ──events───▶ router ──deliveries──▶ dispatcher ──settled──▶ committer
//!     ├─────due retries─▶ router ──deliveries──────▲                         │
//!     └───────────────────── dead letters, hops ─────────────────────settled─┘
//! ```
//!
//! First attempts and due retries have channels and a router of their own, so that neither kind waits behind
//! the other. The consumer is two threads, each a member of the group: one reads the sources, one the retry topics.
//!
//! Only the consumer hears `stop`. It closes its end of the channels, and each later stage ends when its
//! input does, so the pipeline drains front to back by itself. The consumer stays a member of the group
//! until the committer has committed the last of it. A stage that ends on its own is a fault: it stops
//! the others.

mod cluster;
mod ending;
mod logs;
mod manage;
mod metrics;
mod parts;
mod probes;
mod reload;
mod replays;
mod tables;
pub(crate) mod thread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use foldhash::HashMap;
use postrider_admin::{ApiSlot, Health, Server};
use postrider_consumer::{Consumer, ConsumerError, Members, Outlets, Setup};
use postrider_delivery::Dispatcher;
use postrider_delivery::client::Clients;
use postrider_delivery::dispatcher::Parts;
use postrider_delivery::egress::Policy;
use postrider_delivery::trial::Trials;
use postrider_kafka::aside::Aside;
use postrider_kafka::batch::BatchLimits;
use postrider_kafka::committer::{Settings, Trouble};
use postrider_kafka::encode::{Encoder, Limits};
use postrider_kafka::journal::Journal;
use postrider_kafka::metrics::PendingGauges;
use postrider_kafka::pending::OwnCounts;
use postrider_kafka::topics::Survey;
use postrider_kafka::{Committer, CommitterError, Connection, Flush, Mode, Reachability};
use postrider_routing::{Router, SharedTable};
use postrider_types::outcome::Issuer;
use postrider_types::{Clock, Settled, Successes, Timestamp, Undelivered, WebhookId};
use postrider_webhooks::Directory;
use prometheus::Registry;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::metrics::Metrics;
use crate::config::{Config, under};
use crate::panics;
use crate::secrets::KeySource;
use crate::shutdown::Signals;
use crate::telemetry;
use crate::traces::Traces;

pub(crate) use reload::Reload;

/// Events, and due retries, between the poll thread and routing.
const ARRIVALS: usize = 1_024;
/// Deliveries of each kind between routing and their lanes, where they queue.
const DELIVERIES: usize = 256;
/// Settled records that wait for a transaction. When it is full nothing more is sent.
const SETTLED: usize = 5_000;
/// What stopping may take beyond `delivery.drain`: the last transaction, and leaving the group.
const LEAVING: Duration = Duration::from_secs(15);
/// How often a webhook that goes on succeeding is told of within `delivery.disable_after`.
const SUCCESSES_TOLD: u32 = 10;

/// What a run needs besides its configuration.
pub(crate) struct Surroundings {
    /// Stop and reload.
    pub(crate) signals: Signals,
    /// Reads the configuration again.
    pub(crate) reload: Reload,
    /// Where the key of stored secrets comes from.
    pub(crate) keys: KeySource,
    /// What is known of the cluster; `None` to ask it.
    pub(crate) survey: Option<Survey>,
    /// Told once health and metrics are served.
    pub(crate) started: Option<oneshot::Sender<Started>>,
}

/// A daemon that has begun to start.
pub(crate) struct Started {
    /// Where health and metrics are served.
    pub(crate) address: SocketAddr,
    /// What is still unready.
    pub(crate) health: Health,
}

/// Whether a run ended because Kafka took this instance for two: the next one takes its place again.
pub(crate) fn is_displaced(ended: &anyhow::Error) -> bool {
    matches!(ended.downcast_ref(), Some(ConsumerError::Displaced(_)))
}

/// Runs the daemon until it is asked to stop and the last outcome is committed.
pub(crate) async fn run(config: Config, surroundings: Surroundings) -> anyhow::Result<()> {
    let Surroundings {
        signals,
        reload,
        keys,
        survey,
        started,
    } = surroundings;
    let (registry, health) = (Registry::new(), Health::new());
    panics::watch(&registry)?;
    telemetry::register_tasks(&registry, Handle::current())?;
    // Before anybody can ask: without conditions it would be ready.
    let conditions = probes::Conditions::new(&health);
    let slot = ApiSlot::default();
    let server = Server::bind(&config.admin, health.clone(), registry.clone(), slot.clone()).await?;
    let address = server.address();
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    info!(
        %address,
        version = telemetry::VERSION,
        librdkafka,
        instance = config.instance_id,
        egress.allow = ?config.egress.allow,
        "Starting"
    );
    if config.kafka.is_open() {
        warn!(
            "Anybody on the way to Kafka can read along; set security.protocol among kafka.properties to SSL or SASL_SSL"
        );
    }
    let core = Core::new(config, registry, health.clone(), address, signals.stop.clone())?;
    let api = ApiParts { slot, keys };
    if let Some(started) = started {
        // Whoever asked may be gone.
        let _ = started.send(Started { address, health });
    }
    let serving = CancellationToken::new();
    let served = tokio::spawn(server.run(serving.clone()));
    let ended = core.deliver(conditions, reload, signals.reload, survey, api).await;
    serving.cancel();
    served.await.context("the admin server panicked")?;
    info!("Stopped");
    ended
}

/// What the API is made of, and where it is put once it can be.
struct ApiParts {
    slot: ApiSlot,
    keys: KeySource,
}

/// What the stages share.
struct Core {
    config: Config,
    registry: Registry,
    health: Health,
    metrics: Metrics,
    clock: Clock,
    connection: Connection,
    /// Where health and metrics are served: nothing is ever sent there.
    admin: SocketAddr,
    reachability: Reachability,
    /// Why commits fail, while they do.
    trouble: Trouble,
    flush: Flush,
    successes: Successes,
    undelivered: Undelivered,
    stop: CancellationToken,
    /// Fires when nothing more will be committed.
    committed: CancellationToken,
    /// Fires when stopping takes too long.
    give_up: CancellationToken,
}

/// What everything that dials has in common.
struct Egress {
    policy: Arc<Policy>,
    clients: Clients,
}

impl Core {
    fn new(
        config: Config,
        registry: Registry,
        health: Health,
        admin: SocketAddr,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let undelivered = Undelivered::new(clock);
        Ok(Self {
            admin,
            metrics: Metrics::register(&registry, &config, &undelivered)?,
            connection: Connection::new(config.kafka.clone(), &config.instance_id).in_group(&config.consumer.group_id),
            config,
            registry,
            health,
            clock,
            reachability: Reachability::default(),
            trouble: Trouble::default(),
            flush: Flush::default(),
            successes: Successes::default(),
            undelivered,
            stop,
            committed: CancellationToken::new(),
            give_up: CancellationToken::new(),
        })
    }

    /// Waits for Kafka, takes this instance's place, and delivers until stopped.
    async fn deliver(
        self,
        conditions: probes::Conditions,
        reload: Reload,
        reloads: watch::Receiver<u64>,
        survey: Option<Survey>,
        api: ApiParts,
    ) -> anyhow::Result<()> {
        let directory = self.directory(&api.keys)?;
        let Some(survey) = self.surveyed(survey, &conditions).await? else {
            return Ok(());
        };
        self.reachability.note(true);
        let found = parts::Found {
            retired: self.config.layout().retired(survey.partitions.keys()),
            no_sources: survey.missing_sources.len() == self.config.consumer.sources.len(),
        };
        let limits = survey.limits;
        let replays = self.replays(&survey, directory.table());
        let Some(committer) = self.open_committer(survey, &conditions).await? else {
            return Ok(());
        };
        let Some(tables) = tables::read(&self.config, &self.connection, &directory, &self.stop).await? else {
            return Ok(());
        };
        conditions.webhooks_loaded();
        let committer = committer.counting_from(self.own_counts(&tables));
        let egress = self.egress()?;
        let dispatcher = self.dispatcher(&egress, limits.retry, tables.pending().failing())?;
        let logs = logs::Logs::follow(&self)?;
        let served = parts::Served {
            limits,
            reached: tables.reached(),
            logs: logs.reader(),
            replays: self.asked(&replays)?,
        };
        self.open_api(api, &egress, &directory, served)?;
        let replaying = replays::begin(replays)?;
        let gauges = PendingGauges::register(&self.registry, self.metrics.delivery.named())?;
        tables.follow(Arc::clone(&directory), gauges, self.successes.clone(), &self.stop)?;
        let (consumers, members) = self.members(found)?.into_iter().unzip();
        let watching = [
            probes::watch(
                conditions,
                self.reachability.clone(),
                self.trouble.clone(),
                members,
                self.stop.clone(),
            ),
            reload::watch(reload, reloads, Arc::clone(&directory)),
        ];
        let ended = self
            .run_stages(directory.table(), consumers, dispatcher, committer)
            .await;
        watching.iter().for_each(JoinHandle::abort);
        logs.end().await;
        replays::left(replaying).await;
        ended
    }

    async fn run_stages(
        self,
        table: SharedTable,
        consumers: Vec<parts::Named>,
        dispatcher: Dispatcher,
        committer: Committer,
    ) -> anyhow::Result<()> {
        let (events_in, events) = mpsc::channel(ARRIVALS);
        let (due_in, due) = mpsc::channel(ARRIVALS);
        let (fresh_in, fresh) = mpsc::channel(DELIVERIES);
        let (retries_in, retries) = mpsc::channel(DELIVERIES);
        let (committed_in, settled) = mpsc::channel(SETTLED);
        let router = self.router(table);
        let members = Members(consumers.iter().map(|(_, consumer)| consumer.member()).collect());
        let flush = self.flush.clone();
        let mut stages = ending::Stages::new(self.stop.clone());
        let settled_in = self.traced(committed_in, &mut stages)?;
        let outlets = Outlets {
            fresh: events_in,
            retries: due_in,
            settled: settled_in.clone(),
        };
        for (name, consumer) in consumers {
            let outlets = outlets.clone();
            stages.thread(name, move || consumer.run(outlets))?;
        }
        drop(outlets);
        let second = router.clone();
        stages.task("router of events", router.run(events, fresh_in, settled_in.clone()));
        stages.task("router of retries", second.run(due, retries_in, settled_in.clone()));
        stages.task("dispatcher", dispatcher.run(fresh, retries, settled_in));
        let committed = self.committed.clone();
        stages.thread("committer", move || {
            let _fires = committed.drop_guard();
            committer.run(settled, &members, &flush)
        })?;
        info!("Reading");
        let patience = self.config.delivery.drain + LEAVING;
        stages.end(&self.health, patience, &self.give_up).await
    }
}
