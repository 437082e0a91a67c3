//! What the index of the logs does with a million outcomes on a real broker: how fast it takes them in, how long it
//! takes to answer, and whether it has each of them once after a kill -9 and after it was deleted.
//!
//! `make bench-logs`; LOGS_OUTCOMES and LOGS_SPAN (seconds over which they are spread) change what is measured.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_kafka::Connection;
use postrider_kafka::config::Config as KafkaConfig;
use postrider_logs::{Filter, Metrics, Reader, Retry, Settings};
use postrider_tests::patience::until;
use postrider_tests::{Broker, Daemon, Scene, Sent};
use postrider_types::{AccountId, Clock, EventType, OutcomeResult, Timestamp, WebhookId};
use prometheus::Registry;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const WEBHOOKS: u32 = 200;
const ACCOUNTS: u32 = 50;
const PARTITIONS: i32 = 12;
const CHUNK: u64 = 50_000;
/// Questions of each kind.
const QUESTIONS: usize = 300;
/// What is asked for: rows a second, and milliseconds.
const LEAST_RATE: f64 = 20_000.0;
const MOST_MILLIS: f64 = 50.0;
const PATIENCE: Duration = Duration::from_secs(600);

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run())
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What is measured.
struct Measured {
    outcomes: u64,
    span_ms: i64,
    end: i64,
    /// Whether everything was as it has to be.
    is_good: bool,
}

impl Measured {
    fn judge(&mut self, what: &str, is_good: bool) {
        if !is_good {
            eprintln!("NOT GOOD: {what}");
        }
        self.is_good &= is_good;
    }
}

async fn run() -> Result<()> {
    let mut measured = Measured {
        outcomes: number("LOGS_OUTCOMES", 1_000_000),
        span_ms: i64::try_from(number("LOGS_SPAN", 6 * 24 * 3600))? * 1000,
        end: Clock::system().now().as_millis(),
        is_good: true,
    };
    Broker::shared().await?;
    let mut scene = Scene::new("bench-logs").await?;
    scene.config["topics"]["results_partitions"] = json!(PARTITIONS);
    let file = scene.folder().join("logs.db");
    scene.config["admin"]["logs"] = json!({ "path": file });
    scene.create_topics().await?;
    produce(&scene, &measured).await?;
    in_process(&scene, &mut measured).await?;
    as_daemon(&scene, &file, &mut measured).await?;
    ensure!(measured.is_good, "not as it has to be; see above");
    eprintln!("all as it has to be");
    Ok(())
}

/// An outcome, a different one for each number and the same for the same.
struct Made {
    webhook: u32,
    event: &'static str,
    result: &'static str,
    retry: u32,
    status: Option<u16>,
    order: u64,
    start: Timestamp,
    spent: f64,
}

impl Made {
    fn new(number: u64, measured: &Measured) -> Self {
        let mut random = StdRng::seed_from_u64(number);
        let (result, status) = match random.random_range(0..1000) {
            0..880 => ("success", Some([200, 200, 200, 202, 204][random.random_range(0..5)])),
            880..960 => (
                "retrying",
                Some([500, 502, 503, 429, 499, 599][random.random_range(0..6)]),
            ),
            960..988 => ("failed", Some([404, 500, 503, 410, 599][random.random_range(0..5)])),
            _ => ("skipped", None),
        };
        let step =
            measured.span_ms * i64::try_from(number).unwrap_or(0) / i64::try_from(measured.outcomes).unwrap_or(1);
        let start = measured.end - measured.span_ms + step + random.random_range(0..20_000);
        Self {
            // The first ones are the busiest.
            webhook: random.random_range(0..WEBHOOKS).min(random.random_range(0..WEBHOOKS)),
            event: ["tracking_update", "tracking_update", "order_shipped", "order_error"][random.random_range(0..4)],
            retry: if result == "success" && random.random_bool(0.9) {
                0
            } else {
                random.random_range(0..8)
            },
            result,
            status,
            order: random.random_range(0..600_000),
            start: Timestamp::from_millis(start),
            spent: random.random_range(5.0..900.0),
        }
    }

    fn account(&self) -> String {
        format!("account-{}", self.webhook % ACCOUNTS)
    }

    fn webhook(&self) -> String {
        format!("wh_01J8ZQ4{:05}", self.webhook)
    }

    fn endpoint(&self) -> String {
        format!(
            "https://merchant-{}.example/hooks/{}",
            self.webhook % ACCOUNTS,
            self.webhook
        )
    }

    fn document(&self, number: u64) -> Value {
        let event_id = format!("tracking-{}-{number}-{}", number % 12, self.start.as_millis());
        let was_sent = self.status.is_some();
        let start = was_sent.then_some(self.start);
        json!({
            "schema": "postrider.outcome.v1",
            "delivery_id": format!("{event_id}.{}", self.webhook()), "event_id": event_id,
            "webhook_id": self.webhook(), "account_id": self.account(), "event": self.event, "trigger": "event",
            "endpoint": self.endpoint(), "order_id": self.order.to_string(),
            "transaction_id": format!("{}_1", self.order), "tracking": format!("WZ{:09}", self.order),
            "carrier": "FedEx", "code": 6, "message": "Shipment delivered", "is_return": false, "replay": null,
            "result": self.result, "attempt": self.retry + 1, "retry": self.retry, "max_retries": 10,
            "status_code": self.status, "status_text": self.status.map(|_| "Something"), "error": null,
            "date_start": start, "date_end": start, "time_spent_ms": was_sent.then_some(self.spent),
            "next_attempt_at": (self.result == "retrying").then_some(self.start), "event_time": self.start,
            "source": {"topic": "tracking", "partition": number % 12, "offset": number},
            "request": {"body_bytes": 604},
            "response": {"content_type": "text/html", "body": "<html><body><h1>Thank you</h1><p>It was received.</p></body></html>", "truncated": false},
            "trace_id": format!("{number:032x}"), "instance": "postrider-0"
        })
    }
}

async fn produce(scene: &Scene, measured: &Measured) -> Result<()> {
    let topic = scene.topic("results");
    let (begun, mut bytes) = (Instant::now(), 0);
    for first in (0..measured.outcomes).step_by(usize::try_from(CHUNK)?) {
        let numbers = first..(first + CHUNK).min(measured.outcomes);
        let records: Vec<Sent> = numbers
            .map(|number| {
                let document = Made::new(number, measured).document(number);
                let partition = i32::try_from(number % u64::from(PARTITIONS.unsigned_abs())).unwrap_or(0);
                let text = document.to_string();
                bytes += text.len();
                Sent::value(text).partition(partition)
            })
            .collect();
        topic.produce(records).await?;
    }
    let each = bytes as u64 / measured.outcomes.max(1);
    eprintln!(
        "{} outcomes of {each} bytes produced in {:?}",
        measured.outcomes,
        begun.elapsed()
    );
    Ok(())
}

/// The index alone, in this process, and questions to its reader.
async fn in_process(scene: &Scene, measured: &mut Measured) -> Result<()> {
    let registry = Registry::new();
    let settings = Settings {
        path: scene.folder().join("in-process.db"),
        max_age: Duration::from_secs(7 * 24 * 3600),
        max_rows: 5_000_000,
    };
    let file = settings.path.clone();
    let (reader, follower) = postrider_logs::index(settings, Metrics::register(&registry)?, Clock::system());
    let brokers = scene.config["kafka"]["brokers"].as_str().context("brokers")?;
    let config: KafkaConfig = serde_json::from_value(json!({ "brokers": brokers }))?;
    let connection = Connection::new(config, "bench");
    let (stop, topic) = (CancellationToken::new(), scene.topic("results").name().to_owned());
    let (runtime, stopped) = (tokio::runtime::Handle::current(), stop.clone());
    let begun = Instant::now();
    let (tell, told) = std::sync::mpsc::channel();
    let following = std::thread::spawn(move || {
        // The time a thread has run is found by its number.
        let _ = tell.send(std::fs::read_link("/proc/thread-self"));
        follower.run(&connection, &topic, &runtime, &stopped);
    });
    let thread = told.recv()??;
    let rows = || {
        registry
            .gather()
            .iter()
            .find(|family| family.name() == "postrider_logs_rows")
            .map(rows_of)
    };
    until("the index to have everything", PATIENCE, || {
        let done = rows() == Some(measured.outcomes);
        async move { Ok(done.then_some(())) }
    })
    .await?;
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = measured.outcomes as f64 / seconds;
    let size = std::fs::metadata(&file)?.len() >> 20;
    let busy = std::fs::read_to_string(Path::new("/proc").join(thread).join("schedstat"))?;
    let busy: u64 = busy.split(' ').next().context("a time")?.parse()?;
    let busy = Duration::from_nanos(busy).as_secs_f64();
    eprintln!(
        "{} outcomes indexed in {seconds:.1} s: {rate:.0} rows/s; {busy:.1} s of a processor; file {size} MiB",
        measured.outcomes
    );
    measured.judge("rows/s", rate >= LEAST_RATE);
    ask_all(&reader, measured).await?;
    stop.cancel();
    tokio::task::spawn_blocking(move || following.join().is_ok()).await?;
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn rows_of(family: &prometheus::proto::MetricFamily) -> u64 {
    family.get_metric()[0].get_gauge().get_value() as u64
}

type Kind = (&'static str, fn(&Made, &Measured, &mut StdRng) -> Filter);

fn no_filter(_: &Made, _: &Measured, _: &mut StdRng) -> Filter {
    Filter::default()
}

fn result(text: &str) -> Option<OutcomeResult> {
    OutcomeResult::ALL.into_iter().find(|result| result.as_str() == text)
}

fn of_facets(made: &Made, _: &Measured, _: &mut StdRng) -> Filter {
    Filter {
        accounts: AccountId::new(&made.account()).ok().map(|account| vec![account]),
        webhook: WebhookId::new(&made.webhook()).ok(),
        endpoint: Some(made.endpoint()),
        event: made.event.parse().ok(),
        result: result(made.result),
        retry: Some(Retry::Number(made.retry)),
        status_code: made.status,
        ..Filter::default()
    }
}

fn of_all(made: &Made, measured: &Measured, random: &mut StdRng) -> Filter {
    Filter {
        order_id: Some(made.order.to_string()),
        transaction_id: Some(format!("{}_1", made.order)),
        tracking: Some(format!("WZ{:09}", made.order)),
        from: Some(Timestamp::from_millis(made.start.as_millis() - 3_600_000)),
        to: Some(Timestamp::from_millis(made.start.as_millis() + 3_600_000)),
        ..of_facets(made, measured, random)
    }
}

fn none_such(made: &Made, measured: &Measured, random: &mut StdRng) -> Filter {
    Filter {
        result: Some(OutcomeResult::Success),
        status_code: Some(503),
        ..of_facets(made, measured, random)
    }
}

fn only(made: &Made, pick: impl FnOnce(Filter) -> Filter, measured: &Measured, random: &mut StdRng) -> Filter {
    pick(of_all(made, measured, random))
}

/// A filter of one field of all of them.
macro_rules! alone {
    ($($field:ident),+) => {
        |made, measured, random| only(made, |all| Filter { $($field: all.$field,)+ ..Filter::default() }, measured, random)
    };
}

const KINDS: [Kind; 21] = [
    ("none", no_filter),
    ("account", alone!(accounts)),
    ("webhook", alone!(webhook)),
    ("endpoint", alone!(endpoint)),
    ("event", alone!(event)),
    ("result", alone!(result)),
    ("result=failed", |_, _, _| Filter {
        result: Some(OutcomeResult::Failed),
        ..Filter::default()
    }),
    ("retry", alone!(retry)),
    ("retry=true", |_, _, _| Filter {
        retry: Some(Retry::Any),
        ..Filter::default()
    }),
    ("status_code", alone!(status_code)),
    ("status_code=410", |_, _, _| Filter {
        status_code: Some(410),
        ..Filter::default()
    }),
    ("order_id", alone!(order_id)),
    ("transaction_id", alone!(transaction_id)),
    ("tracking", alone!(tracking)),
    ("an unknown order", |_, _, random| Filter {
        order_id: Some(format!("x{}", random.random::<u32>())),
        ..Filter::default()
    }),
    ("from", alone!(from)),
    ("to", alone!(to)),
    ("from, to", alone!(from, to)),
    ("all but identifiers and times", of_facets),
    ("all together", of_all),
    ("what there is not", none_such),
];

async fn ask_all(reader: &Reader, measured: &mut Measured) -> Result<()> {
    for (name, kind) in KINDS {
        let mut random = StdRng::seed_from_u64(7);
        let (mut times, mut found) = (Vec::new(), 0);
        for _ in 0..QUESTIONS {
            let made = Made::new(random.random_range(0..measured.outcomes), measured);
            let filter = kind(&made, measured, &mut random);
            let begun = Instant::now();
            let page = reader.page(filter.clone(), None, 100).await?;
            times.push(begun.elapsed());
            found += page.entries.len();
            if let Some(next) = page.next {
                let begun = Instant::now();
                reader.page(filter, Some(next), 100).await?;
                times.push(begun.elapsed());
            }
        }
        told(&format!("logs by {name}"), times, Some(found), measured);
    }
    ask_stats(reader, measured).await
}

async fn ask_stats(reader: &Reader, measured: &mut Measured) -> Result<()> {
    for (name, kind) in KINDS {
        let mut random = StdRng::seed_from_u64(9);
        let mut times = Vec::new();
        for _ in 0..20 {
            let made = Made::new(random.random_range(0..measured.outcomes), measured);
            let filter = kind(&made, measured, &mut random);
            let begun = Instant::now();
            reader.stats(filter).await?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        eprintln!("stats by {name:32} median {:7.1} ms", millis(times[times.len() / 2]));
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn told(what: &str, mut times: Vec<Duration>, found: Option<usize>, measured: &mut Measured) {
    times.sort_unstable();
    let at = |hundredths: usize| millis(times[(times.len() * hundredths / 100).min(times.len() - 1)]);
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let each = |found: usize| format!("  {:5.1} found", found as f64 / QUESTIONS as f64);
    let found = found.map(each).unwrap_or_default();
    eprintln!("{what:38} p50 {:6.2} ms  p99 {:6.2} ms{found}", at(50), at(99));
    measured.judge(what, at(99) < MOST_MILLIS);
}

/// The daemon: killed while it indexes, asked over HTTP, and left without its file.
async fn as_daemon(scene: &Scene, file: &Path, measured: &mut Measured) -> Result<()> {
    let config = scene.write_config()?;
    let mut daemon = Daemon::start(&config).await?;
    for part in [3, 6] {
        let enough = measured.outcomes * part / 10;
        let rows = indexed(&daemon, enough).await?;
        daemon.kill().await?;
        eprintln!("kill -9 at {rows} rows");
        daemon.restart().await?;
    }
    indexed(&daemon, measured.outcomes).await?;
    let first = Dump::read(&daemon).await?;
    first.tell("after two kills", measured);
    ask_http(&daemon, measured).await?;
    ensure!(daemon.stop().await?.success(), "the daemon does not stop");
    std::fs::remove_file(file)?;
    let begun = Instant::now();
    let daemon = Daemon::start(&config).await?;
    indexed(&daemon, measured.outcomes).await?;
    eprintln!(
        "deleted and built again in {:.1} s, the daemon's start included",
        begun.elapsed().as_secs_f64()
    );
    let second = Dump::read(&daemon).await?;
    second.tell("built again", measured);
    measured.judge("the index that was built again is another", first == second);
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
async fn indexed(daemon: &Daemon, rows: u64) -> Result<u64> {
    until("rows", PATIENCE, || async {
        let have = daemon.metric("postrider_logs_rows", &[]).await? as u64;
        Ok((have >= rows).then_some(have))
    })
    .await
}

async fn ask_http(daemon: &Daemon, measured: &mut Measured) -> Result<()> {
    let mut random = StdRng::seed_from_u64(11);
    for (name, kind) in KINDS {
        let mut times = Vec::new();
        for _ in 0..QUESTIONS / 3 {
            let made = Made::new(random.random_range(0..measured.outcomes), measured);
            let path = format!("/api/v1/logs?{}", query(&kind(&made, measured, &mut random)));
            let begun = Instant::now();
            let (status, body) = daemon.get(&path).await?;
            times.push(begun.elapsed());
            ensure!(status == 200, "{path}: {status} {body}");
        }
        told(&format!("HTTP by {name}"), times, None, measured);
    }
    Ok(())
}

fn query(filter: &Filter) -> String {
    let retry = filter.retry.map(|retry| match retry {
        Retry::Any => "true".to_owned(),
        Retry::Number(number) => number.to_string(),
    });
    let account = filter.accounts.iter().flatten().next().map(ToString::to_string);
    let pairs = [
        ("account", account),
        ("webhook", filter.webhook.as_ref().map(ToString::to_string)),
        (
            "endpoint",
            filter
                .endpoint
                .as_ref()
                .map(|text| text.replace(':', "%3A").replace('/', "%2F")),
        ),
        ("event", filter.event.map(EventType::as_str).map(str::to_owned)),
        ("result", filter.result.map(OutcomeResult::as_str).map(str::to_owned)),
        ("retry", retry),
        ("status_code", filter.status_code.map(|status| status.to_string())),
        ("order_id", filter.order_id.clone()),
        ("transaction_id", filter.transaction_id.clone()),
        ("tracking", filter.tracking.clone()),
        ("from", filter.from.map(|time| time.to_string())),
        ("to", filter.to.map(|time| time.to_string())),
    ];
    let given = pairs
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    given.collect::<Vec<_>>().join("&")
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// Everything in the index, page by page, as the API tells it.
#[derive(PartialEq, Eq)]
struct Dump {
    count: u64,
    different: usize,
    digest: u64,
}

impl Dump {
    async fn read(daemon: &Daemon) -> Result<Self> {
        let (mut digest, mut seen, mut count) = (DefaultHasher::new(), HashSet::new(), 0);
        let mut path = "/api/v1/logs?limit=1000".to_owned();
        loop {
            let (status, body) = daemon.get(&path).await?;
            ensure!(status == 200, "{path}: {status}");
            let page: Page = serde_json::from_str(&body)?;
            for item in &page.items {
                item.get().hash(&mut digest);
                let mut own = DefaultHasher::new();
                item.get().hash(&mut own);
                seen.insert(own.finish());
                count += 1;
            }
            match page.next_cursor {
                Some(next) => path = format!("/api/v1/logs?limit=1000&cursor={next}"),
                None => break,
            }
        }
        Ok(Self {
            count,
            different: seen.len(),
            digest: digest.finish(),
        })
    }

    fn tell(&self, when: &str, measured: &mut Measured) {
        let Self {
            count,
            different,
            digest,
        } = self;
        eprintln!("{when}: {count} outcomes, {different} of them different, digest {digest:016x}");
        let once = *count == measured.outcomes && *different as u64 == measured.outcomes;
        measured.judge("each outcome once", once);
    }
}
