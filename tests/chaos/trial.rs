//! One trial: three webhooks (a healthy one, one that mends after it failed, a slow one) under a steady load,
//! whatever breaks in between, and in the end the laws.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::endpoints::Endpoints;
use postrider_tests::history::{Attempt, Crash, History, RetryEnd, Seen};
use postrider_tests::laws::{self, Bounds, Verdict};
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::receiver::Answer;
use postrider_tests::seed::mixed;
use postrider_tests::watch::{Ends, Offsets};
use postrider_tests::{Broker, Daemon, Load, Received, Scene, Seed, Topic, contract};
use postrider_types::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Events a second.
pub(crate) const RATE: u64 = 100;
/// Partitions of the source topic in the beginning.
pub(crate) const PARTITIONS: i32 = 3;
/// The webhooks' ids; each has a path of its name.
const WEBHOOKS: [&str; 3] = ["healthy", "mending", "slow"];
/// The retry topics of the trial's schedule.
const DELAYS: [&str; 3] = ["500ms", "1s", "2s"];
/// Outcomes that are held against their schema; the rest are as the types read them.
const CONTRACT: usize = 2_000;
/// How long nothing may come to an end before a trial counts as stuck.
const PATIENT: Duration = Duration::from_secs(45);
/// What crashes may cost under this load. In flight are 32 requests; a commit interval, stretched to its most,
/// lasts 1 s, in which 300 deliveries arrive; and while what piled up during the time without a daemon is sent,
/// that much more waits for its record's slow share.
pub(crate) const BOUNDS: Bounds = Bounds {
    per_crash: 1_500,
    horizon: Duration::from_secs(5),
};

/// A scene under load, and everything that is remembered of it.
#[derive(Debug)]
pub(crate) struct Trial {
    name: &'static str,
    pub(crate) seed: Seed,
    pub(crate) scene: Scene,
    pub(crate) endpoints: Endpoints,
    pub(crate) webhooks: Vec<&'static str>,
    /// The delays that the retry topics are named after.
    delays: &'static [&'static str],
    /// How long nothing may come to an end before the trial counts as stuck.
    pub(crate) patience: Duration,
    produced: u64,
    load: Option<Load>,
    offsets: Option<Offsets>,
    ends: Option<Ends>,
    crashes: Vec<Crash>,
    began: Instant,
}

impl Trial {
    /// A trial on the broker that most of them share.
    pub(crate) async fn new(name: &'static str) -> Result<Self> {
        Self::on(Broker::shared().await?, name).await
    }

    /// A trial on a broker of its own.
    pub(crate) async fn on(broker: &Broker, name: &'static str) -> Result<Self> {
        let endpoints = Endpoints::open().await?;
        let mut scene = Scene::on(broker, name).await?;
        scene.config["delivery"]["retry"] =
            json!({ "initial": "500ms", "multiplier": 2, "max_interval": "2s", "jitter": 0.1 });
        scene.config["delivery"]["circuit"] = json!({ "failures": 20, "open": "500ms", "max_open": "1s" });
        let mut trial = Self {
            name,
            seed: Seed::of(name),
            scene,
            endpoints,
            webhooks: Vec::new(),
            delays: &DELAYS,
            patience: PATIENT,
            produced: 0,
            load: None,
            offsets: None,
            ends: None,
            crashes: Vec::new(),
            began: Instant::now(),
        };
        say(&format!("{name}: seed {}", trial.seed.first()));
        trial.three_webhooks();
        Ok(trial)
    }

    fn three_webhooks(&mut self) {
        self.endpoints.always("/healthy", 200, Duration::from_millis(10));
        self.endpoints.always("/slow", 200, Duration::from_millis(60));
        // Out of order at first; then a third of its messages fails at the first attempt, a ninth at the second
        // too, and one of 64 ever after.
        let mends = Instant::now() + Duration::from_secs(4);
        self.endpoints.conduct("/mending", move |seen| {
            let status = if Instant::now() < mends || fails(seen) {
                503
            } else {
                200
            };
            Answer::status(status).after(Duration::from_millis(10))
        });
        let mut hooks = self.hooks(&WEBHOOKS);
        for (hook, limit) in hooks.iter_mut().zip([8, 8, 16]) {
            hook["max_in_flight"] = json!(limit);
        }
        hooks[1]["retry"] = json!({ "max_retries": 3 });
        self.owe(&WEBHOOKS, hooks);
    }

    /// Plain webhooks of these ids, each at the path of its name.
    pub(crate) fn hooks(&self, ids: &[&'static str]) -> Vec<Value> {
        let hook = |id: &&'static str| {
            let url = self.endpoints.url(&format!("/{id}"));
            json!({ "id": id, "url": url, "events": ["tracking_update"] })
        };
        ids.iter().map(hook).collect()
    }

    /// Replaces the webhooks: each of them is owed every event.
    pub(crate) fn owe(&mut self, ids: &[&'static str], hooks: Vec<Value>) {
        self.webhooks = ids.to_vec();
        self.scene.webhooks(hooks);
    }

    /// Goes by the schedule that postrider has by itself, instead of a fast one.
    pub(crate) fn usual_schedule(&mut self) {
        self.delays = &["5s", "20s", "80s", "320s", "1280s", "5120s", "18000s"];
        self.scene.config["delivery"]["retry"] = json!({});
    }

    /// Has second failures wait so long that the partitions they are parked in are not read meanwhile.
    pub(crate) fn resting_schedule(&mut self) {
        self.delays = &["500ms", "10s"];
        self.scene.config["delivery"]["retry"] =
            json!({ "initial": "500ms", "multiplier": 20, "max_interval": "10s", "jitter": 0.1 });
    }

    /// Sets one of librdkafka's settings for the daemons.
    pub(crate) fn property(&mut self, name: &str, value: impl Into<Value>) {
        self.scene.config["kafka"]["properties"][name] = value.into();
    }

    /// Makes the topics and begins to watch. The configuration stays as it is from now on.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        self.scene.create_topics().await?;
        let mut topics = vec![self.source()];
        topics.extend(self.retry_topics());
        self.offsets = Some(Offsets::of(self.scene.group(), topics)?);
        self.ends = Some(Ends::of(&self.scene.topic("results")).await?);
        Ok(())
    }

    /// The source topic that the load goes to.
    pub(crate) fn source(&self) -> Topic {
        self.scene.topic("tracking")
    }

    fn retry_topics(&self) -> impl Iterator<Item = Topic> {
        let delays = self.delays.iter();
        delays.map(|delay| self.scene.topic(&format!("retry.{delay}")))
    }

    /// Begins to produce at the usual rate.
    pub(crate) fn load(&mut self) -> Result<()> {
        self.load_of(RATE, u64::MAX)
    }

    /// Begins to produce, at most so many events.
    pub(crate) fn load_of(&mut self, rate: u64, most: u64) -> Result<()> {
        self.load = Some(Load::begin(&self.source(), PARTITIONS, rate, most)?);
        Ok(())
    }

    /// The load, while there is one.
    pub(crate) fn loading(&self) -> Result<&Load> {
        self.load.as_ref().context("a load was begun")
    }

    /// Stops producing.
    pub(crate) async fn unload(&mut self) -> Result<()> {
        let load = self.load.take().context("a load was begun")?;
        self.produced += load.stop().await?;
        Ok(())
    }

    /// Waits until the whole load is in the topic.
    pub(crate) async fn loaded(&mut self) -> Result<()> {
        let load = self.load.take().context("a load was begun")?;
        self.produced += load.end().await?;
        Ok(())
    }

    /// The configuration of an instance; the same port and name each time.
    pub(crate) fn instance(&self, instance: &str) -> Result<PathBuf> {
        let path = self.scene.folder().join(format!("{instance}.yaml"));
        if path.exists() {
            Ok(path)
        } else {
            self.scene.write_instance(instance)
        }
    }

    /// Where an instance's admin port is or will be.
    pub(crate) fn admin(&self, instance: &str) -> Result<SocketAddr> {
        let config: Value = serde_json::from_slice(&std::fs::read(self.instance(instance)?)?)?;
        let listen = config["admin"]["listen"].as_str().context("admin.listen is set")?;
        Ok(listen.parse()?)
    }

    /// Starts an instance and waits until it is ready.
    pub(crate) async fn start(&self, instance: &str) -> Result<Daemon> {
        Daemon::start(&self.instance(instance)?).await
    }

    /// Remembers that at `at` something broke that may make requests come again.
    pub(crate) async fn crashed(&mut self, at: Timestamp) -> Result<()> {
        let ends = self.ends.as_mut().context("the trial has begun")?;
        ends.count().await?;
        self.crashes.push(Crash {
            at,
            committed: ends.read_to().clone(),
            seen: self.endpoints.total(),
        });
        Ok(())
    }

    /// Remembers that what broke last goes on to have consequences at `at`: a frozen process woke up.
    pub(crate) fn crashed_again(&mut self, at: Timestamp) -> Result<()> {
        let last = self.crashes.last().context("something broke before")?.clone();
        let seen = self.endpoints.total();
        self.crashes.push(Crash { at, seen, ..last });
        Ok(())
    }

    /// `kill -9`, remembered.
    pub(crate) async fn kill(&mut self, daemon: &mut Daemon) -> Result<()> {
        let at = self.endpoints.now();
        daemon.kill().await?;
        self.crashed(at).await
    }

    /// Starts an instance that aborts by itself at a failpoint, waits for that, and remembers it.
    pub(crate) async fn abort_at(&mut self, instance: &str, failpoint: &str) -> Result<()> {
        let mut daemon = Daemon::spawn_to_abort(&self.instance(instance)?, failpoint).await?;
        self.aborted(&mut daemon).await
    }

    /// Waits until a daemon has aborted by itself, and remembers it.
    pub(crate) async fn aborted(&mut self, daemon: &mut Daemon) -> Result<()> {
        let ended = daemon.exit(PATIENCE).await?;
        let at = self.endpoints.now();
        ensure!(ended.signal().is_some(), "the daemon did not abort: {ended}");
        self.crashed(at).await
    }

    /// Deliveries that have come to their end.
    pub(crate) async fn ended(&mut self) -> Result<usize> {
        self.ends.as_mut().context("the trial has begun")?.count().await
    }

    /// Waits until the deliveries of so many events have come to their end.
    pub(crate) async fn all_ended(&mut self, events: usize) -> Result<()> {
        let owed = events * self.webhooks.len();
        let (began, patience) = (Instant::now(), self.patience);
        loop {
            let ended = self.ended().await?;
            if ended == owed {
                return Ok(());
            }
            ensure!(ended < owed && began.elapsed() < patience, "{ended} of {owed} ended");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops producing, and waits until nothing has come to its end for `quiet`; tells how many deliveries have not.
    pub(crate) async fn unended(&mut self, quiet: Duration) -> Result<usize> {
        self.unload().await?;
        let (mut ended, mut moved) = (self.ended().await?, Instant::now());
        while moved.elapsed() < quiet {
            sleep(Duration::from_millis(200)).await;
            let now = self.ended().await?;
            if now > ended {
                (ended, moved) = (now, Instant::now());
            }
        }
        Ok(usize::try_from(self.produced)? * self.webhooks.len() - ended)
    }

    /// Waits until everything owed has come to its end; then stops the daemons, as planned stops do.
    pub(crate) async fn settle(&mut self, daemons: &mut [Daemon]) -> Result<()> {
        if self.load.is_some() {
            self.unload().await?;
        }
        // A broker that dies can make a producer write a record again: that is one event more.
        let owed = usize::try_from(self.source().count().await?)? * self.webhooks.len();
        let (mut ended, mut moved) = (self.ended().await?, Instant::now());
        while ended < owed {
            self.supervise(daemons).await?;
            let now = self.ended().await?;
            if now > ended {
                (ended, moved) = (now, Instant::now());
            }
            if moved.elapsed() >= self.patience {
                // The laws tell what is missing.
                say(&format!(
                    "{}: {ended} of {owed} ended, then none for {:?}",
                    self.name, self.patience
                ));
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let nothing_parked = || async { Ok(self.retry_ends().await?.iter().all(is_settled).then_some(())) };
        // When it does not come true, the laws say so with the partitions.
        let _ = until("nothing parked", Duration::from_secs(15), nothing_parked).await;
        // Time for what should not come.
        sleep(Duration::from_secs(1)).await;
        for daemon in daemons {
            let status = daemon.stop().await?;
            assert!(status.success(), "{}: {status}", self.name);
        }
        Ok(())
    }

    /// Starts what its own watchdog has ended, as a supervisor does: a call to Kafka did not come back.
    async fn supervise(&mut self, daemons: &mut [Daemon]) -> Result<()> {
        for daemon in daemons {
            let Some(status) = daemon.ended()? else { continue };
            let by_watchdog = daemon.log().iter().any(|line| line.contains("does not come back"));
            assert!(by_watchdog, "{}: a daemon ended: {status}", self.name);
            say(&format!(
                "{}: the watchdog ended a daemon; it is started again",
                self.name
            ));
            self.crashed(self.endpoints.now()).await?;
            daemon.restart().await?;
        }
        Ok(())
    }

    /// Waits for the end of everything owed, stops the daemons, and holds what is left against the laws.
    pub(crate) async fn judge(&mut self, daemons: &mut [Daemon], bounds: Bounds) -> Result<Verdict> {
        self.settle(daemons).await?;
        let history = self.history().await?;
        let verdict = laws::judge(&history, bounds);
        say(&format!(
            "{}: {verdict}; {} s",
            self.name,
            self.began.elapsed().as_secs()
        ));
        assert!(
            verdict.breaches.is_empty(),
            "{}, seed {}: {verdict}",
            self.name,
            self.seed.first()
        );
        Ok(verdict)
    }

    async fn history(&self) -> Result<History> {
        let results = self.scene.topic("results").read().await?;
        contract::outcomes(&results[..results.len().min(CONTRACT)])?;
        let dead_letters = contract::dead_letters(&self.scene.topic("dead-letters").read().await?)?;
        let letter = |own: &dyn Fn(&str) -> String| {
            let part = |name: &str| own(&format!("pr-dl-{name}"));
            let position = ["topic", "partition", "offset", "timestamp"].map(part).join("-");
            format!("{position}.{}", own("pr-webhook-id"))
        };
        Ok(History {
            owed: self.owed().await?,
            attempts: results.iter().map(attempt).collect::<Result<_>>()?,
            dead_letters: dead_letters
                .iter()
                .map(|dead| letter(&|name| dead.own[name].clone()))
                .collect(),
            requests: self.endpoints.requests(),
            crashes: self.crashes.clone(),
            samples: self.offsets.as_ref().context("the trial has begun")?.samples(),
            retry_ends: self.retry_ends().await?,
        })
    }

    async fn owed(&self) -> Result<BTreeSet<String>> {
        let source = self.source();
        let events = source.read().await?;
        ensure!(
            events.len() as u64 >= self.produced,
            "{} of {} events",
            events.len(),
            self.produced
        );
        let positions = events.iter().map(|event| {
            let (partition, offset) = (event.partition, event.offset);
            format!(
                "{}-{partition}-{offset}-{}",
                source.name(),
                event.timestamp.unwrap_or_default()
            )
        });
        let owed = positions.flat_map(|position| self.webhooks.iter().map(move |id| format!("{position}.{id}")));
        Ok(owed.collect())
    }

    async fn retry_ends(&self) -> Result<Vec<RetryEnd>> {
        let mut ends = Vec::new();
        for topic in self.retry_topics() {
            let committed = topic.committed(self.scene.group()).await?;
            let records = topic.read().await?;
            for partition in topic.partitions().await? {
                let last = records.iter().rfind(|record| record.partition == partition);
                ends.push(RetryEnd {
                    partition: (topic.name().to_owned(), partition),
                    last: last.map(|record| record.offset),
                    committed: committed.get(&partition).map(|(offset, _)| *offset),
                });
            }
        }
        Ok(ends)
    }
}

fn is_settled(end: &RetryEnd) -> bool {
    end.last.is_none() || end.last < end.committed
}

fn attempt(record: &Received) -> Result<Attempt> {
    let value = record.value.as_deref().context("an outcome has a value")?;
    Ok(Attempt::new(
        &serde_json::from_slice(value)?,
        (record.partition, record.offset),
    ))
}

/// Whether a message fails at this attempt: the message decides, so that it does the same after a crash.
fn fails(seen: &Seen) -> bool {
    let number = mixed(seen.message.bytes().fold(0, |sum, byte| mixed(sum ^ u64::from(byte))));
    let first = number.is_multiple_of(3) && seen.attempt == 1;
    let second = number.is_multiple_of(9) && seen.attempt == 2;
    first || second || number.is_multiple_of(64)
}

/// Says something past the test harness, which keeps what a passing test prints to itself.
pub(crate) fn say(words: &str) {
    use std::io::Write as _;
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "chaos: {words}");
}
