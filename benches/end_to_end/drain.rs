//! A topic full of events, drained: deliveries a second beside the bare client's, and what each process used.

use std::time::Duration;

use anyhow::{Result, ensure};
use postrider_tests::patience::until;
use postrider_tests::{Daemon, Scene};
use serde::Serialize;
use serde_json::json;

use crate::bare::{self, Bare, per_1000};
use crate::feed;
use crate::receiver::Counted;
use crate::stage::{PATIENCE, Stage, Used};
use crate::usage::now_nanos;

/// So many drains at most before anything is measured.
const WARM_UPS: u32 = 12;
/// A broker that takes more than this part of the least so far has not become faster,
const LESS: f64 = 0.95;
/// and has warmed up when it has not so many times in a row.
const IN_VAIN: u32 = 2;
/// Requests at once, unless a drain is about that.
const CONCURRENCY: u64 = 256;

/// One drain of those that are set beside the bare client.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    concurrency: u64,
    per_event: u64,
    wait: Duration,
}

const fn shape(name: &'static str, concurrency: u64, per_event: u64, wait_ms: u64) -> Shape {
    Shape {
        name,
        concurrency,
        per_event,
        wait: Duration::from_millis(wait_ms),
    }
}

/// All of them.
pub(crate) const SHAPES: [Shape; 5] = [
    shape("drain-64", 64, 1, 0),
    shape("drain-256", 256, 1, 0),
    shape("drain-64-five", 64, 5, 0),
    shape("drain-256-five", 256, 5, 0),
    shape("drain-256-slow", 256, 1, 50),
];

/// What is to be drained, and by whom.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    /// Deliveries in all.
    pub(crate) deliveries: u64,
    /// `delivery.max_in_flight` of each instance, and the same for each webhook.
    pub(crate) concurrency: u64,
    /// Webhooks that get each event.
    pub(crate) per_event: u64,
    /// Accounts, each with webhooks of its own; the events go round.
    pub(crate) accounts: u64,
    pub(crate) partitions: i32,
    pub(crate) instances: u64,
    /// What each answer takes.
    pub(crate) wait: Duration,
    /// Whether the daemons are ready before the first event is written, and not the other way round.
    pub(crate) daemons_first: bool,
}

impl Plan {
    /// The plainest: one webhook for each event, one account, one instance, answers at once, events first.
    pub(crate) fn plain(stage: &Stage<'_>, name: &str, deliveries: u64) -> Self {
        Self {
            name: name.to_owned(),
            deliveries,
            concurrency: CONCURRENCY,
            per_event: 1,
            accounts: 1,
            partitions: stage.options.partitions,
            instances: 1,
            wait: Duration::ZERO,
            daemons_first: false,
        }
    }
}

/// What a drain came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Drained {
    pub(crate) name: String,
    pub(crate) deliveries: u64,
    pub(crate) concurrency: u64,
    pub(crate) webhooks: u64,
    pub(crate) partitions: i32,
    pub(crate) instances: u64,
    pub(crate) wait_ms: u64,
    /// From the first request to the last.
    pub(crate) per_second: f64,
    /// From the first request until the last outcome was committed; none for who commits no outcomes.
    pub(crate) committed_per_second: Option<f64>,
    pub(crate) daemon_cpu_ms_per_1000: f64,
    pub(crate) broker_cpu_ms_per_1000: f64,
    pub(crate) receiver_cpu_ms_per_1000: f64,
    /// Of the largest instance.
    pub(crate) peak_mib: f64,
    /// Deliveries that were parked: a drain of healthy webhooks parks none.
    pub(crate) parked: f64,
    /// Busy time of the machine that was neither the benchmark's nor a process of its own.
    pub(crate) others_percent: f64,
}

/// A drain and the bare client before and after it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Beside {
    pub(crate) drained: Drained,
    pub(crate) bare_before: Bare,
    pub(crate) bare_after: Bare,
    /// Deliveries a second as a part of the bare client's requests a second.
    pub(crate) ratio: f64,
}

/// Drains again and again until what a delivery takes of the broker falls no more: a Kafka that has just started is slow, and
/// half of what it takes of the processors goes to its compiler.
pub(crate) async fn warm_up(stage: &mut Stage<'_>) -> Result<()> {
    let plan = Plan::plain(stage, "warm-up", stage.options.warm_up);
    let (mut least, mut in_vain) = (f64::INFINITY, 0);
    for round in 1..=WARM_UPS {
        let scene = prepare(stage, &plan).await?;
        let broker = drain(stage, &scene, &plan).await?.broker_cpu_ms_per_1000;
        eprintln!(
            "warm-up {round}: {} deliveries, broker {broker:.1} ms/1000",
            plan.deliveries
        );
        in_vain = if broker > least * LESS { in_vain + 1 } else { 0 };
        if in_vain == IN_VAIN {
            break;
        }
        least = least.min(broker);
    }
    Ok(())
}

/// Drains once, with the bare client before and after.
pub(crate) async fn run(stage: &mut Stage<'_>, shape: &Shape) -> Result<Beside> {
    // Where answers take their time, fewer tell as much.
    let most = stage.options.events / if shape.wait.is_zero() { 1 } else { 5 };
    let deliveries = most / shape.per_event * shape.per_event;
    let plan = Plan {
        concurrency: shape.concurrency,
        per_event: shape.per_event,
        wait: shape.wait,
        ..Plan::plain(stage, shape.name, deliveries)
    };
    eprintln!("{}: {} deliveries", plan.name, plan.deliveries);
    let scene = prepare(stage, &plan).await?;
    let bare_before = bare::run(stage, &plan, deliveries).await?;
    let drained = drain(stage, &scene, &plan).await?;
    let bare_after = bare::run(stage, &plan, deliveries).await?;
    let bare = Bare::mean(bare_before, bare_after);
    Ok(Beside {
        ratio: drained.per_second / bare.per_second,
        drained,
        bare_before,
        bare_after,
    })
}

/// The topics, the configuration, and the events unless they come later.
pub(crate) async fn prepare(stage: &Stage<'_>, plan: &Plan) -> Result<Scene> {
    let mut scene = stage.scene(&plan.name, plan.partitions).await?;
    let webhooks = (0..plan.accounts * plan.per_event).map(|number| {
        let account = (plan.accounts > 1).then_some(number / plan.per_event);
        stage.webhook(number, account)
    });
    scene.webhooks(webhooks);
    let delivery = &mut scene.config["delivery"];
    delivery["max_in_flight"] = json!(plan.concurrency);
    delivery["max_in_flight_per_webhook"] = json!(plan.concurrency);
    scene.create_topics().await?;
    if !plan.daemons_first {
        fill(&scene, plan).await?;
    }
    Ok(scene)
}

async fn fill(scene: &Scene, plan: &Plan) -> Result<()> {
    let events = plan.deliveries / plan.per_event;
    feed::fill(&scene.topic("tracking"), events, plan.partitions, plan.accounts).await
}

/// Starts the daemons and waits until everything is delivered and committed.
pub(crate) async fn drain(stage: &mut Stage<'_>, scene: &Scene, plan: &Plan) -> Result<Drained> {
    stage.receiver.begin(plan.wait)?;
    let mut daemons = start(scene, plan).await?;
    if plan.daemons_first {
        for daemon in &mut daemons {
            daemon.ready().await?;
        }
        fill(scene, plan).await?;
    }
    let pids: Vec<u32> = daemons.iter().map(Daemon::pid).collect();
    let begun = counted(stage, &mut daemons, 1).await?;
    let before = stage.used(&pids)?;
    stage.tell_pids(&pids);
    let ended = counted(stage, &mut daemons, plan.deliveries).await?;
    committed(&daemons, plan.deliveries).await?;
    let committed_at = Some(now_nanos());
    let after = stage.used(&pids)?;
    let parked = sum(&daemons, "postrider_parked_total", &[]).await?;
    for daemon in &mut daemons {
        ensure!(daemon.stop().await?.success(), "the daemon does not stop");
    }
    for topic in ["results", "tracking"] {
        scene.topic(topic).delete().await?;
    }
    let measured = Measured {
        ended: stage.receiver.counted()?,
        committed_at,
        between: ended.requests - begun.requests,
        before,
        after,
        parked,
    };
    ensure!(measured.ended.requests == plan.deliveries, "{:?} came", measured.ended);
    Ok(measured.told(plan))
}

async fn start(scene: &Scene, plan: &Plan) -> Result<Vec<Daemon>> {
    let mut daemons = Vec::new();
    for number in 0..plan.instances {
        let config = scene.write_instance(&number.to_string())?;
        daemons.push(Daemon::spawn(&config).await?);
    }
    Ok(daemons)
}

/// Waits until so many requests came, as long as the daemons live.
async fn counted(stage: &mut Stage<'_>, daemons: &mut [Daemon], requests: u64) -> Result<Counted> {
    until("requests at the receiver", PATIENCE, || {
        let counted = stage.receiver.counted();
        let ended = daemons.iter_mut().find_map(|daemon| daemon.ended().transpose());
        async move {
            ensure!(ended.is_none(), "the daemon ended: {ended:?}");
            let counted = counted?;
            Ok((counted.requests >= requests).then_some(counted))
        }
    })
    .await
}

/// Waits until no record is held any more, and every delivery is counted.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
async fn committed(daemons: &[Daemon], deliveries: u64) -> Result<()> {
    until("the last outcome to be committed", PATIENCE, || async {
        let held = sum(daemons, "postrider_held_events", &[]).await?;
        let done = sum(daemons, "postrider_deliveries_total", &[r#"result="success""#]).await?;
        Ok((held == 0.0 && done >= deliveries as f64).then_some(()))
    })
    .await
}

async fn sum(daemons: &[Daemon], metric: &str, labels: &[&str]) -> Result<f64> {
    let mut sum = 0.0;
    for daemon in daemons {
        sum += daemon.metric(metric, labels).await?;
    }
    Ok(sum)
}

/// What was seen of a drain.
pub(crate) struct Measured {
    pub(crate) ended: Counted,
    /// In nanoseconds of the machine's clock.
    pub(crate) committed_at: Option<u64>,
    /// Deliveries between the two moments at which was read what had been used.
    pub(crate) between: u64,
    pub(crate) before: Used,
    pub(crate) after: Used,
    pub(crate) parked: f64,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "rates and mebibytes")]
    pub(crate) fn told(&self, plan: &Plan) -> Drained {
        let (before, after) = (&self.before, &self.after);
        let each = |pick: fn(&Used) -> u64| per_1000(pick(after) - pick(before), self.between);
        let committed = |at: u64| plan.deliveries as f64 * 1e9 / at.saturating_sub(self.ended.first).max(1) as f64;
        Drained {
            name: plan.name.clone(),
            deliveries: plan.deliveries,
            concurrency: plan.concurrency,
            webhooks: plan.accounts * plan.per_event,
            partitions: plan.partitions,
            instances: plan.instances,
            wait_ms: u64::try_from(plan.wait.as_millis()).unwrap_or(u64::MAX),
            per_second: self.ended.rate(),
            committed_per_second: self.committed_at.map(committed),
            daemon_cpu_ms_per_1000: each(|used| used.daemons.cpu_ms),
            broker_cpu_ms_per_1000: each(|used| used.broker.cpu_ms),
            receiver_cpu_ms_per_1000: each(|used| used.receiver.cpu_ms),
            peak_mib: after.daemons.peak_kib as f64 / 1024.0,
            parked: self.parked,
            others_percent: after.others_percent(before),
        }
    }
}
