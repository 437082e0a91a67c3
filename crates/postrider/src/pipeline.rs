//! The daemon: four stages and three bounded channels, and what has to stand before they start.
//!
//! ```text
//! consumer ──events───▶ router ──deliveries──▶ dispatcher ──settled──▶ committer
//!     ├─────due retries─▶ router ──deliveries──────▲                         │
//!     └───────────────────── dead letters, hops ─────────────────────settled─┘
//! ```
//!
//! First attempts and due retries have channels and a router of their own, so that neither kind waits behind
//! the other.
//!
//! Only the consumer hears `stop`. It closes its end of the channels, and each later stage ends when its
//! input does, so the pipeline drains front to back by itself. The consumer stays a member of the group
//! until the committer has committed the last of it. A stage that ends on its own is a fault: it stops
//! the others.

mod cluster;
mod ending;
mod probes;
mod reload;
mod tables;
pub(crate) mod thread;
mod watchdog;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use postrider_admin::{Health, Server};
use postrider_consumer::{Consumer, Outlets, Setup};
use postrider_delivery::Dispatcher;
use postrider_delivery::client::Clients;
use postrider_delivery::dispatcher::Parts;
use postrider_delivery::egress::Policy;
use postrider_kafka::batch::BatchLimits;
use postrider_kafka::committer::Settings;
use postrider_kafka::encode::Encoder;
use postrider_kafka::metrics::PendingGauges;
use postrider_kafka::pending::OwnCounts;
use postrider_kafka::topics::Survey;
use postrider_kafka::{Committer, CommitterError, Connection, Flush, Mode, Reachability};
use postrider_routing::{Router, SharedTable};
use postrider_types::outcome::Issuer;
use postrider_types::{Clock, Successes, Timestamp, WebhookId};
use postrider_webhooks::Directory;
use prometheus::Registry;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, under};
use crate::shutdown::Signals;
use crate::telemetry;

pub(crate) use reload::Reload;

/// Events, and due retries, between the poll thread and routing.
const ARRIVALS: usize = 1_024;
/// Deliveries of each kind between routing and their lanes, where they queue.
const DELIVERIES: usize = 256;
/// Settled records that wait for a transaction. When it is full nothing more is sent.
const SETTLED: usize = 10_000;
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

/// Runs the daemon until it is asked to stop and the last outcome is committed.
pub(crate) async fn run(config: Config, surroundings: Surroundings) -> anyhow::Result<()> {
    let Surroundings {
        signals,
        reload,
        survey,
        started,
    } = surroundings;
    let (registry, health) = (Registry::new(), Health::new());
    // Before anybody can ask: without conditions it would be ready.
    let conditions = probes::Conditions::new(&health);
    let server = Server::bind(&config.admin, health.clone(), registry.clone()).await?;
    let address = server.address();
    info!(%address, version = telemetry::VERSION, instance = config.instance_id, "Starting");
    let core = Core::new(config, registry, health.clone(), address, signals.stop.clone())?;
    if let Some(started) = started {
        // Whoever asked may be gone.
        let _ = started.send(Started { address, health });
    }
    let serving = CancellationToken::new();
    let served = tokio::spawn(server.run(serving.clone()));
    let ended = core.deliver(conditions, reload, signals.reload, survey).await;
    serving.cancel();
    served.await.context("the admin server panicked")?;
    info!("Stopped");
    ended
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
    flush: Flush,
    successes: Successes,
    stop: CancellationToken,
    /// Fires when nothing more will be committed.
    committed: CancellationToken,
    /// Fires when stopping takes too long.
    give_up: CancellationToken,
}

struct Metrics {
    consumer: postrider_consumer::Metrics,
    routing: postrider_routing::Metrics,
    delivery: postrider_delivery::Metrics,
    kafka: postrider_kafka::Metrics,
}

impl Metrics {
    fn register(registry: &Registry, max_webhook_series: usize) -> prometheus::Result<Self> {
        telemetry::register(registry)?;
        let delivery = postrider_delivery::Metrics::register(registry, max_webhook_series)?;
        Ok(Self {
            consumer: postrider_consumer::Metrics::register(registry)?,
            routing: postrider_routing::Metrics::register(registry, delivery.deliveries())?,
            kafka: postrider_kafka::Metrics::register(registry)?,
            delivery,
        })
    }
}

impl Core {
    fn new(
        config: Config,
        registry: Registry,
        health: Health,
        admin: SocketAddr,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            admin,
            metrics: Metrics::register(&registry, config.telemetry.max_webhook_series)?,
            connection: Connection::new(config.kafka.clone(), &config.instance_id),
            config,
            registry,
            health,
            clock: Clock::system(),
            reachability: Reachability::default(),
            flush: Flush::default(),
            successes: Successes::default(),
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
    ) -> anyhow::Result<()> {
        let directory = Directory::new(self.config.routing.webhooks.clone()).map_err(under("routing.webhooks"))?;
        let directory = Arc::new(directory);
        let survey = match survey {
            Some(known) => known,
            None => {
                let Some(survey) =
                    cluster::await_ready(&self.config, &self.connection, &conditions, &self.stop).await?
                else {
                    return Ok(());
                };
                survey
            }
        };
        self.reachability.note(true);
        let retired = self.config.layout().retired(survey.partitions.keys());
        let largest_parked = survey.limits.retry;
        let Some(committer) = self.open_committer(survey).await? else {
            return Ok(());
        };
        let Some(tables) = tables::read(&self.config, &self.connection, &directory, &self.stop).await? else {
            return Ok(());
        };
        conditions.webhooks_loaded();
        let told = tables.pending().of_instance(&self.config.instance_id);
        let own = OwnCounts::new(told, self.config.delivery.disable_after / SUCCESSES_TOLD);
        let committer = committer.counting_from(own);
        let dispatcher = self.dispatcher(largest_parked, tables.pending().failing())?;
        let gauges = PendingGauges::register(&self.registry, self.config.telemetry.max_webhook_series)?;
        tables.follow(Arc::clone(&directory), gauges, self.successes.clone(), &self.stop)?;
        let (joined, is_joined) = watch::channel(false);
        let setup = self.consumer_setup(joined, retired);
        let watching = [
            probes::watch(
                conditions,
                self.reachability.clone(),
                committer.trouble(),
                is_joined,
                setup.heartbeat.clone(),
                self.stop.clone(),
            ),
            reload::watch(reload, reloads, Arc::clone(&directory)),
            watchdog::watch(committer.pulse()),
        ];
        let consumer = Consumer::new(setup)?;
        let ended = self
            .run_stages(directory.table(), consumer, dispatcher, committer)
            .await;
        watching.iter().for_each(JoinHandle::abort);
        ended
    }

    /// `None` when stopped before the place was had.
    async fn open_committer(&self, survey: Survey) -> anyhow::Result<Option<Committer>> {
        let settings = self.committer_settings(survey);
        let (reachability, metrics) = (self.reachability.clone(), self.metrics.kafka.clone());
        let (runtime, stop) = (Handle::current(), self.stop.clone());
        // Before its place is had nothing is at stake, so giving up there is stopping.
        let opened = thread::run("open-committer", move || {
            Committer::open(settings, reachability, metrics, runtime, stop)
        });
        match opened?.await? {
            Ok(committer) => Ok(Some(committer.giving_up(self.give_up.clone()))),
            Err(CommitterError::GivenUp) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn committer_settings(&self, survey: Survey) -> Settings {
        let config = &self.config;
        let transactional = self.connection.transactional_id(&config.consumer.group_id);
        let mode = match config.consumer.guarantee {
            postrider_consumer::config::Guarantee::ExactlyOnce => Mode::Transactions,
            postrider_consumer::config::Guarantee::AtLeastOnce => Mode::AtLeastOnce,
        };
        if mode == Mode::AtLeastOnce {
            warn!("Guarantee is at_least_once: after a crash an outcome may be published twice");
        }
        let id = (mode == Mode::Transactions).then_some(&*transactional);
        Settings {
            producer: self.connection.producer(id, survey.limits.largest()),
            mode,
            partitions: survey.partitions,
            interval: config.consumer.commit_interval,
            limits: BatchLimits::default(),
            encoder: Encoder::new(
                &*config.instance_id,
                config.results.clone(),
                &*config.routing.webhooks_topic,
                survey.limits,
            ),
        }
    }

    fn consumer_setup(&self, joined: watch::Sender<bool>, retired: Vec<(String, Duration)>) -> Setup {
        let layout = self.config.layout();
        for (topic, _) in &retired {
            info!(
                topic,
                "The schedule no longer has this delay; its topic is read until it is empty"
            );
        }
        let retry: Vec<(String, Duration)> = layout.retry_topics().into_iter().chain(retired).collect();
        Setup {
            config: self.config.consumer.clone(),
            client: self.connection.consumer(&self.config.consumer.group_id),
            topics: Setup::topics(&self.config.consumer, &retry),
            admin: self.connection.admin(),
            delays: layout.delays,
            drain: self.config.delivery.drain,
            runtime: Handle::current(),
            clock: self.clock,
            metrics: self.metrics.consumer.clone(),
            flush: self.flush.clone(),
            reachability: self.reachability.clone(),
            heartbeat: postrider_consumer::Heartbeat::default(),
            joined,
            stop: self.stop.clone(),
            committed: self.committed.clone(),
        }
    }

    fn router(&self, table: SharedTable) -> Router {
        Router::new(
            table,
            self.issuer(),
            self.config.routing.record_skipped,
            self.metrics.routing.clone(),
        )
    }

    fn dispatcher(
        &self,
        largest_parked: usize,
        failing_since: HashMap<WebhookId, Timestamp>,
    ) -> anyhow::Result<Dispatcher> {
        let policy = Policy::from_config(&self.config.egress).map_err(under("egress"))?;
        let policy = Arc::new(policy.with_own_listeners(vec![self.admin]));
        let tls = postrider_delivery::tls::client_config(self.config.egress.ca_file.as_deref())?;
        let limits = self.config.delivery.client_limits();
        let metrics = self.metrics.delivery.clone();
        let parts = Parts {
            issuer: self.issuer(),
            clock: self.clock,
            clients: Clients::new(Arc::clone(&policy), tls, limits, metrics.egress())?,
            policy,
            metrics,
            random: StdRng::from_rng(&mut rand::rng()),
            failing_since,
            successes: self.successes.clone(),
            largest_parked,
        };
        Ok(Dispatcher::new(&self.config.delivery, parts).map_err(under("delivery"))?)
    }

    fn issuer(&self) -> Issuer {
        Issuer {
            instance: self.config.instance_id.clone(),
            max_retries: self.config.delivery.retry.max_retries,
        }
    }

    async fn run_stages(
        self,
        table: SharedTable,
        consumer: Consumer,
        dispatcher: Dispatcher,
        committer: Committer,
    ) -> anyhow::Result<()> {
        let (events_in, events) = mpsc::channel(ARRIVALS);
        let (due_in, due) = mpsc::channel(ARRIVALS);
        let (fresh_in, fresh) = mpsc::channel(DELIVERIES);
        let (retries_in, retries) = mpsc::channel(DELIVERIES);
        let (settled_in, settled) = mpsc::channel(SETTLED);
        let router = self.router(table);
        let membership = consumer.membership();
        let outlets = Outlets {
            fresh: events_in,
            retries: due_in,
            settled: settled_in.clone(),
        };
        let flush = self.flush.clone();
        let mut stages = ending::Stages::new(self.stop.clone());
        stages.thread("consumer", move || consumer.run(outlets))?;
        let second = router.clone();
        stages.task("router of events", router.run(events, fresh_in, settled_in.clone()));
        stages.task("router of retries", second.run(due, retries_in, settled_in.clone()));
        stages.task("dispatcher", dispatcher.run(fresh, retries, settled_in));
        let committed = self.committed.clone();
        stages.thread("committer", move || {
            let _fires = committed.drop_guard();
            committer.run(settled, &membership, &flush)
        })?;
        info!("Reading");
        let patience = self.config.delivery.drain + LEAVING;
        stages.end(&self.health, patience, &self.give_up).await
    }
}
