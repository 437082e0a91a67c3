//! How the stages, and what stands beside them, are made of the configuration.

use postrider_consumer::{Shared, Topic};
use postrider_logs::Reader;
use postrider_replay::Replays;
use rdkafka::ClientConfig;

use super::*;
use crate::config::{ConfigError, ca_fault};
use crate::explain::FromTopics;

/// A stage that reads, and its name.
pub(super) type Named = (&'static str, Consumer);

type TopicMap = HashMap<Arc<str>, Topic>;

/// What a member reads, as [`Setup`] has it.
struct Part {
    topics: TopicMap,
    looked_after: TopicMap,
    has_nothing_yet: bool,
}

/// What the survey found of the topics that are read.
pub(super) struct Found {
    /// Retry topics whose delay the schedule no longer has.
    pub(super) retired: Vec<(String, Duration)>,
    /// None of the sources exists yet.
    pub(super) no_sources: bool,
}

/// What the API works with, beside webhooks.
pub(super) struct Served {
    pub(super) limits: Limits,
    /// Up to which offset the webhooks topic was read.
    pub(super) reached: watch::Receiver<i64>,
    pub(super) logs: Option<Reader>,
    pub(super) replays: Replays,
}

impl Core {
    /// The webhooks of the file; those of the topic come later.
    pub(super) fn directory(&self, keys: &KeySource) -> anyhow::Result<Arc<Directory>> {
        let keyring = keys.read().map_err(ConfigError::from)?;
        let directory = Directory::new(self.config.routing.webhooks.clone(), keyring);
        Ok(Arc::new(directory.map_err(under("routing.webhooks"))?))
    }

    /// What is known of the cluster, or is found out; `None` when stopped before that.
    pub(super) async fn surveyed(
        &self,
        known: Option<Survey>,
        conditions: &probes::Conditions,
    ) -> anyhow::Result<Option<Survey>> {
        match known {
            Some(known) => Ok(Some(known)),
            None => cluster::await_ready(&self.config, &self.connection, conditions, &self.stop).await,
        }
    }

    /// `None` when stopped before the place was had.
    pub(super) async fn open_committer(
        &self,
        survey: Survey,
        conditions: &probes::Conditions,
    ) -> anyhow::Result<Option<Committer>> {
        let settings = self.committer_settings(survey);
        let (reachability, metrics) = (self.reachability.clone(), self.metrics.kafka.clone());
        let (runtime, stop, trouble) = (Handle::current(), self.stop.clone(), self.trouble.clone());
        // Before its place is had nothing is at stake, so giving up there is stopping.
        let opened = thread::run("open-committer", move || {
            Committer::open(settings, reachability, metrics, runtime, stop, trouble)
        });
        match conditions.until_open(&self.trouble, opened?).await? {
            Ok(committer) => Ok(Some(committer.giving_up(self.give_up.clone()))),
            Err(CommitterError::GivenUp) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn committer_settings(&self, survey: Survey) -> Settings {
        let config = &self.config;
        let transactional = self.connection.transactional_id(&config.consumer.group_id);
        let mode = self.mode();
        if mode == Mode::AtLeastOnce {
            warn!("Guarantee is at_least_once: after a crash an outcome may be published twice");
        }
        let id = (mode == Mode::Transactions).then_some(&*transactional);
        Settings {
            producer: self.connection.producer(id, &survey.limits),
            mode,
            partitions: survey.partitions,
            interval: config.consumer.commit_interval,
            limits: BatchLimits::default(),
            encoder: self.encoder(survey.limits),
        }
    }

    /// This instance's members of the group: one for the sources, and one for the retry topics if there are any. So each
    /// kind is spread evenly over the instances.
    pub(super) fn members(&self, found: Found) -> anyhow::Result<Vec<(Named, probes::Member)>> {
        let retry = Setup::retry_topics(&self.retry_topics(found.retired));
        let sources = Setup::source_topics(&self.config.consumer);
        let all = sources.clone().into_iter().chain(retry.clone()).collect();
        let shared = Shared::default();
        let (by_first, by_second) = if retry.is_empty() {
            (all, TopicMap::default())
        } else {
            (TopicMap::default(), all)
        };
        let of_sources = Part {
            topics: sources,
            looked_after: by_first,
            has_nothing_yet: found.no_sources,
        };
        let mut members = vec![self.member("consumer", Connection::consumer, of_sources, &shared)?];
        if !retry.is_empty() {
            let of_retries = Part {
                topics: retry,
                looked_after: by_second,
                has_nothing_yet: false,
            };
            let client = Connection::second_consumer;
            members.push(self.member("consumer of retries", client, of_retries, &shared)?);
        }
        Ok(members)
    }

    fn retry_topics(&self, retired: Vec<(String, Duration)>) -> Vec<(String, Duration)> {
        for (topic, _) in &retired {
            info!(
                topic,
                "The schedule no longer has this delay; its topic is read until it is empty"
            );
        }
        self.config.layout().retry_topics().into_iter().chain(retired).collect()
    }

    fn member(
        &self,
        name: &'static str,
        client: impl Fn(&Connection, &str) -> ClientConfig,
        part: Part,
        shared: &Shared,
    ) -> anyhow::Result<(Named, probes::Member)> {
        let (joined, is_joined) = watch::channel(false);
        let heartbeat = postrider_consumer::Heartbeat::default();
        let setup = Setup {
            config: self.config.consumer.clone(),
            client: client(&self.connection, &self.config.consumer.group_id),
            topics: part.topics,
            looked_after: part.looked_after,
            has_nothing_yet: part.has_nothing_yet,
            admin: self.connection.admin(),
            delays: self.config.layout().delays,
            jitter: self.config.delivery.retry.jitter,
            drain: self.config.delivery.drain,
            runtime: Handle::current(),
            clock: self.clock,
            metrics: self.metrics.consumer.clone(),
            shared: shared.clone(),
            undelivered: self.undelivered.clone(),
            flush: self.flush.clone(),
            reachability: self.reachability.clone(),
            heartbeat: heartbeat.clone(),
            joined,
            stop: self.stop.clone(),
            committed: self.committed.clone(),
        };
        let seen = probes::Member {
            joined: is_joined,
            heartbeat,
        };
        Ok(((name, Consumer::new(setup)?), seen))
    }

    pub(super) fn router(&self, table: SharedTable) -> Router {
        Router::new(
            table,
            self.issuer(),
            self.config.routing.record_skipped,
            self.metrics.routing.clone(),
        )
    }

    /// What everything that dials has in common.
    pub(super) fn egress(&self) -> anyhow::Result<Egress> {
        let policy = Policy::from_config(&self.config.egress).map_err(under("egress"))?;
        let policy = Arc::new(policy.with_own_listeners(vec![self.admin]));
        let ca_file = self.config.egress.ca_file.as_deref();
        let tls = postrider_delivery::tls::client_config(ca_file);
        let tls = tls.map_err(|error| under("egress")(vec![ca_fault(error)]))?;
        let limits = self.config.delivery.client_limits();
        let clients = Clients::new(Arc::clone(&policy), tls, limits, self.metrics.delivery.egress())?;
        Ok(Egress { policy, clients })
    }

    /// What this instance has told of parked deliveries so far.
    pub(super) fn own_counts(&self, tables: &tables::Tables) -> OwnCounts {
        let told = tables.pending().of_instance(&self.config.instance_id);
        OwnCounts::new(told, self.config.delivery.disable_after / SUCCESSES_TOLD)
    }

    /// From now on the API answers.
    pub(super) fn open_api(
        &self,
        api: ApiParts,
        egress: &Egress,
        directory: &Arc<Directory>,
        served: Served,
    ) -> anyhow::Result<()> {
        let Served {
            limits,
            reached,
            logs,
            replays,
        } = served;
        let config = &self.config;
        let tests = self.tests(egress, limits)?;
        let store = manage::Store {
            directory: Arc::clone(directory),
            journal: self.journal(limits, reached),
            keys: api.keys,
        };
        let reading = manage::Reading {
            logs,
            bodies: Arc::new(logs::Sources::new(&self.connection)),
            explainer: Arc::new(FromTopics::new(
                config,
                self.connection.clone(),
                directory.table(),
                self.clock,
            )),
            replays,
        };
        let judging = (self.clock, Arc::clone(&egress.policy));
        let made = manage::api(config, judging, store, tests, reading);
        api.slot.set(made);
        Ok(())
    }

    /// What sends Tests and first connections.
    fn tests(&self, egress: &Egress, limits: Limits) -> anyhow::Result<manage::Tests> {
        let aside = Aside::new(
            &self.connection.producer(None, &limits),
            self.encoder(limits),
            self.reachability.clone(),
        )?;
        let trials = Trials::new(
            Arc::clone(&egress.policy),
            egress.clients.clone(),
            self.issuer(),
            self.clock,
            self.config.delivery.timeout,
        );
        Ok(manage::Tests {
            trials,
            aside: Arc::new(aside),
            reachability: self.reachability.clone(),
        })
    }

    /// What writes changes of webhooks, `reached` being how far their topic was read.
    fn journal(&self, limits: Limits, reached: watch::Receiver<i64>) -> Journal {
        let (config, mode) = (&self.config, self.mode());
        let shared = self.connection.webhooks_id(&config.consumer.group_id);
        let id = (mode == Mode::Transactions).then_some(&*shared);
        Journal::new(
            self.connection.producer(id, &limits),
            mode,
            config.routing.webhooks_topic.as_str(),
            self.reachability.clone(),
            reached,
            Handle::current(),
        )
    }

    pub(super) fn mode(&self) -> Mode {
        match self.config.consumer.guarantee {
            postrider_consumer::config::Guarantee::ExactlyOnce => Mode::Transactions,
            postrider_consumer::config::Guarantee::AtLeastOnce => Mode::AtLeastOnce,
        }
    }

    fn encoder(&self, limits: Limits) -> Encoder {
        let config = &self.config;
        Encoder::new(
            &*config.instance_id,
            config.results.clone(),
            &*config.routing.webhooks_topic,
            limits,
        )
    }

    pub(super) fn dispatcher(
        &self,
        egress: &Egress,
        largest_parked: usize,
        failing_since: HashMap<WebhookId, Timestamp>,
    ) -> anyhow::Result<Dispatcher> {
        let metrics = self.metrics.delivery.clone();
        let parts = Parts {
            issuer: self.issuer(),
            clock: self.clock,
            clients: egress.clients.clone(),
            policy: Arc::clone(&egress.policy),
            metrics,
            random: StdRng::from_rng(&mut rand::rng()),
            failing_since,
            successes: self.successes.clone(),
            undelivered: self.undelivered.clone(),
            largest_parked,
        };
        Ok(Dispatcher::new(&self.config.delivery, parts).map_err(under("delivery"))?)
    }

    /// Where what settles goes: to the committer, by way of what tells a collector of it where there is one.
    pub(super) fn traced(
        &self,
        committer: mpsc::Sender<Settled>,
        stages: &mut ending::Stages,
    ) -> anyhow::Result<mpsc::Sender<Settled>> {
        let Some(endpoint) = &self.config.telemetry.otlp_endpoint else {
            return Ok(committer);
        };
        let ca_file = self.config.egress.ca_file.as_deref();
        let lost = self.metrics.spans_lost.clone();
        let traces = Traces::start(endpoint, ca_file, &self.config.instance_id, self.clock, lost)?;
        let (settled_in, settled) = mpsc::channel(SETTLED);
        stages.task("teller of traces", traces.run(settled, committer));
        Ok(settled_in)
    }

    fn issuer(&self) -> Issuer {
        Issuer {
            instance: self.config.instance_id.as_str().into(),
            max_retries: self.config.delivery.retry.max_retries,
            traced: self.config.telemetry.otlp_endpoint.is_some(),
        }
    }
}
