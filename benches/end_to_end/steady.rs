//! A steady trickle: how long an event takes from the moment its producer sends it until the receiver has answered.

use std::time::Duration;

use anyhow::{Result, ensure};
use postrider_tests::patience::until;
use postrider_tests::{Daemon, Scene};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use crate::bare::per_1000;
use crate::feed::Producing;
use crate::stage::{PATIENCE, Stage, Used};

/// Before anything is measured: connections are made, code is warm.
const WARM_UP_SECONDS: u64 = 3;

/// How events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// Evenly spaced.
    Even,
    /// At random moments of the same rate: sometimes many at once.
    Poisson,
}

/// All of them.
pub(crate) const ARRIVALS: [Arrivals; 2] = [Arrivals::Even, Arrivals::Poisson];

impl Arrivals {
    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Even => "steady-even",
            Self::Poisson => "steady-poisson",
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate of events is small")]
    fn gaps(self, rate: u64) -> impl FnMut() -> Duration + Send + 'static {
        let mean = 1.0 / rate.max(1) as f64;
        let mut random = StdRng::seed_from_u64(5);
        move || {
            Duration::from_secs_f64(match self {
                Self::Even => mean,
                Self::Poisson => -mean * (1.0 - random.random::<f64>()).ln(),
            })
        }
    }
}

/// What a steady load came to; times in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Steady {
    pub(crate) name: &'static str,
    pub(crate) events: u64,
    pub(crate) per_second: u64,
    /// From the producer's stamp to the receiver's answer.
    pub(crate) answered: Spread,
    /// From the same stamp to the broker's word that it has the record: what of it is Kafka's share.
    pub(crate) acknowledged: Spread,
    pub(crate) daemon_cpu_ms_per_1000: f64,
    pub(crate) broker_cpu_ms_per_1000: f64,
    pub(crate) peak_mib: f64,
    pub(crate) others_percent: f64,
}

/// How times are spread, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Spread {
    /// Of sorted times.
    fn of(sorted: &[u64]) -> Self {
        let at = |thousandths: usize| {
            let index = (sorted.len() * thousandths / 1_000).min(sorted.len().saturating_sub(1));
            sorted.get(index).copied().unwrap_or(0)
        };
        Self {
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p999: at(999),
            max: at(1_000),
        }
    }
}

/// Runs the load through one daemon.
pub(crate) async fn run(stage: &mut Stage<'_>, arrivals: Arrivals) -> Result<Steady> {
    let (rate, seconds) = (stage.options.rate, stage.options.seconds);
    eprintln!("{}: {rate} events a second for {seconds} s", arrivals.name());
    let partitions = stage.options.partitions;
    let mut scene = stage.scene(arrivals.name(), partitions).await?;
    scene.webhooks([stage.webhook(0, None)]);
    let mut daemon = scene.start().await?;
    let pids = [daemon.pid()];
    let producing = Producing::new(&scene.topic("tracking"), partitions)?;
    let (producing, _) = load(stage, producing, arrivals, WARM_UP_SECONDS * rate).await?;
    let before = stage.used(&pids)?;
    stage.tell_pids(&pids);
    let (_, acks) = load(stage, producing, arrivals, seconds * rate).await?;
    let after = stage.used(&pids)?;
    end(&mut daemon, &scene).await?;
    let answered = stage.receiver.latencies()?;
    ensure!(
        answered.len() as u64 == seconds * rate,
        "{} were answered",
        answered.len()
    );
    Ok(told(arrivals, rate, (&answered, &acks), (&before, &after)))
}

/// Sends so many events and waits until all are answered; tells how long the broker took for each.
async fn load(
    stage: &mut Stage<'_>,
    producing: Producing,
    arrivals: Arrivals,
    events: u64,
) -> Result<(Producing, Vec<u64>)> {
    stage.receiver.begin(Duration::ZERO)?;
    let gaps = arrivals.gaps(stage.options.rate);
    let sending = tokio::task::spawn_blocking(move || {
        let acks = producing.send(events, gaps);
        (producing, acks)
    });
    let (producing, acks) = sending.await?;
    until("every event to be answered", PATIENCE, || {
        let counted = stage.receiver.counted();
        async move { Ok((counted?.requests >= events).then_some(())) }
    })
    .await?;
    Ok((producing, acks?))
}

async fn end(daemon: &mut Daemon, scene: &Scene) -> Result<()> {
    ensure!(daemon.stop().await?.success(), "the daemon does not stop");
    scene.topic("results").delete().await?;
    scene.topic("tracking").delete().await
}

#[expect(clippy::cast_precision_loss, reason = "mebibytes")]
fn told(arrivals: Arrivals, rate: u64, (answered, acks): (&[u64], &[u64]), (before, after): (&Used, &Used)) -> Steady {
    let events = answered.len() as u64;
    Steady {
        name: arrivals.name(),
        events,
        per_second: rate,
        answered: Spread::of(answered),
        acknowledged: Spread::of(acks),
        daemon_cpu_ms_per_1000: per_1000(after.daemons.cpu_ms - before.daemons.cpu_ms, events),
        broker_cpu_ms_per_1000: per_1000(after.broker.cpu_ms - before.broker.cpu_ms, events),
        peak_mib: after.daemons.peak_kib as f64 / 1024.0,
        others_percent: after.others_percent(before),
    }
}
