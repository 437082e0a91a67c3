//! Many hostile endpoints at once beside good ones: what they cost in memory, in time, and in what is left behind.

use std::time::Duration;

use anyhow::{Context, Result};
use postrider_tests::contract::sample;
use postrider_tests::endpoints::Endpoints;
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Behaviour, Daemon, Hostile, Scene, Sent, Upstream};
use postrider_types::{Clock, Outcome, Timestamp};
use serde_json::{Value, json};
use tokio::time::interval;

use crate::trial::say;
use crate::turn;

const GOOD: usize = 50;
const HOSTILE: usize = 500;
/// Events come a few at a time: each good one has four a second, each hostile one has one.
const TICK: Duration = Duration::from_millis(10);
const TICKS_A_SECOND: usize = 100;
const GOOD_AT_A_TICK: usize = 2;
const HOSTILE_AT_A_TICK: usize = 5;
/// What an attempt may take, and how much longer one may.
const DEADLINE: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_millis(500);
/// Seconds until connections are open.
const WARM: usize = 3;
/// What all of the hostile ones may add to the resident memory.
const ROOM: u64 = 100 << 20;
/// A p99 below this is good whatever it was alone: on a busy machine the rest is noise.
const FLOOR: Duration = Duration::from_millis(50);
/// Descriptors and tasks that may come and go by themselves.
const LOOSE: f64 = 6.0;

struct Yard {
    scene: Scene,
    /// One for all: a producer's first records wait until it knows the topic.
    upstream: Upstream,
    _endpoints: Endpoints,
    _hostile: Vec<Hostile>,
}

fn hook(id: &str, account: &str, url: String) -> Value {
    json!({
        "id": id, "account_id": account, "url": url, "events": ["tracking_update"], "retry": { "enabled": false },
    })
}

impl Yard {
    async fn new() -> Result<Self> {
        let endpoints = Endpoints::open().await?;
        endpoints.always("/good", 200, Duration::from_millis(5));
        let good = (0..GOOD).map(|number| account("good", number));
        let good = good.map(|name| hook(&name, &name, endpoints.url("/good")));
        let mut hooks: Vec<Value> = good.collect();
        let mut hostile = Vec::new();
        for (number, behaviour) in Behaviour::all().into_iter().cycle().take(HOSTILE).enumerate() {
            let server = Hostile::start(behaviour).await?;
            let account = account("bad", number);
            hooks.push(hook(&format!("{account}-{}", behaviour.name), &account, server.url()));
            hostile.push(server);
        }
        let mut scene = Scene::new("hostile").await?;
        scene.config["delivery"]["timeout"] = json!("2s");
        scene.config["delivery"]["connect_timeout"] = json!("1s");
        // Every one of them is met again and again.
        scene.config["delivery"]["circuit"]["failures"] = json!(1_000_000);
        scene.webhooks(hooks);
        Ok(Self {
            upstream: scene.topic("tracking").upstream()?,
            scene,
            _endpoints: endpoints,
            _hostile: hostile,
        })
    }

    /// Events for the good ones, and with `hostile` for those too, each in turn, for so many seconds. Tells the most
    /// memory that was resident meanwhile.
    async fn events(&self, seconds: usize, hostile: bool, daemon: &Daemon) -> Result<u64> {
        let mut worst = 0;
        let mut ticks = interval(TICK);
        for tick in 0..seconds * TICKS_A_SECOND {
            ticks.tick().await;
            self.upstream.send(turn_of("good", tick, GOOD_AT_A_TICK, GOOD))?;
            if hostile {
                self.upstream.send(turn_of("bad", tick, HOSTILE_AT_A_TICK, HOSTILE))?;
            }
            if tick % TICKS_A_SECOND == 0 {
                worst = worst.max(daemon.memory()?);
            }
        }
        Ok(worst)
    }
}

/// Those of a kind whose turn it is.
fn turn_of(kind: &'static str, tick: usize, count: usize, all: usize) -> impl Iterator<Item = Sent> {
    let event = |number| Sent::value(sample("tracking_update")).header("account-id", account(kind, number));
    (tick * count..(tick + 1) * count).map(move |at| event(at % all))
}

/// Merchants have a few webhooks each, so each one is somebody else's.
fn account(kind: &str, number: usize) -> String {
    format!("{kind}-{number}")
}

fn p99(outcomes: &[Outcome], from: Timestamp, to: Timestamp) -> Option<Duration> {
    let good = outcomes
        .iter()
        .filter(|outcome| outcome.webhook_id.as_str().starts_with("good-"));
    let within = good.filter(|outcome| (from..to).contains(&outcome.event_time));
    let mut took: Vec<Duration> = within
        .filter_map(|outcome| Some(outcome.date_end?.since(outcome.event_time)))
        .collect();
    took.sort();
    took.get(took.len() * 99 / 100).copied()
}

async fn held(daemon: &Daemon) -> Result<(f64, f64)> {
    let descriptors = daemon.metric("process_open_fds", &[]).await?;
    Ok((descriptors, daemon.metric("postrider_tasks", &[]).await?))
}

/// What is held once nothing is in flight, and idle connections were closed: at most what it was, if that comes true.
async fn idle(daemon: &Daemon, before: (f64, f64)) -> Result<(f64, f64)> {
    let back = || async {
        let now = held(daemon).await?;
        let idle = daemon.metric("postrider_in_flight", &[]).await? == 0.0;
        let back = now.0 <= before.0 + LOOSE && now.1 <= before.1 + LOOSE;
        Ok((idle && back).then_some(now))
    };
    until("descriptors and tasks to be back where they were", PATIENCE * 2, back).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_hostile_endpoints_cost_the_good_ones_nothing_and_leave_nothing_behind() -> Result<()> {
    let _turn = turn::alone().await;
    let seconds = turn::sized(10, 60);
    let yard = Yard::new().await?;
    let daemon = yard.scene.start().await?;
    let clock = Clock::system();
    // Connections are made, and everything that a delivery needs is open.
    yard.events(WARM, false, &daemon).await?;
    let began = clock.now();
    let memory = yard.events(seconds, false, &daemon).await?;
    let (alone, before) = (clock.now(), held(&daemon).await?);
    let worst = yard.events(seconds, true, &daemon).await?;
    let over = clock.now();
    let for_good = (WARM + 2 * seconds) * TICKS_A_SECOND * GOOD_AT_A_TICK;
    let for_bad = seconds * TICKS_A_SECOND * HOSTILE_AT_A_TICK;
    let outcomes = yard.scene.outcomes(for_good + for_bad).await?;
    let after = idle(&daemon, before).await?;

    let slowest = outcomes
        .iter()
        .filter_map(|outcome| outcome.time_spent_ms)
        .fold(0.0, f64::max);
    let bad = outcomes
        .iter()
        .filter(|outcome| outcome.account_id.as_str().starts_with("bad-"))
        .count();
    let quiet = p99(&outcomes, began, alone).context("good ones alone")?;
    let beside = p99(&outcomes, alone, over).context("good ones beside them")?;
    let mebibytes = |bytes: u64| bytes >> 20;
    say(&format!(
        "hostile: {bad} attempts at {HOSTILE} of them beside {GOOD} good ones; RSS {} MiB without, {} at most with \
         them; the good ones' p99 {quiet:?}, {beside:?} beside them; the longest attempt {slowest:.0} ms of {DEADLINE:?}; \
         descriptors and tasks {before:?} before, {after:?} after",
        mebibytes(memory),
        mebibytes(worst)
    ));
    assert_eq!(bad, for_bad);
    assert!(worst <= memory + ROOM, "{memory} to {worst}");
    assert!(slowest <= (DEADLINE + GRACE).as_secs_f64() * 1e3, "{slowest} ms");
    assert!(
        beside <= (quiet * 2).max(FLOOR) || !turn::is_long(),
        "{quiet:?} alone, {beside:?} beside"
    );
    Ok(())
}
