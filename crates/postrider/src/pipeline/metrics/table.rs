//! All metrics, and that these are all. The README's table is written from here:
//! `POSTRIDER_WRITE_METRICS=1 cargo test --package postrider metrics::table`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use postrider_kafka::metrics::PendingGauges;
use postrider_types::Clock;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Gauge, GaugeVec, Opts};

use super::*;

/// Set to write the README's table anew.
const WRITE: &str = "POSTRIDER_WRITE_METRICS";
/// What stands around the table in the README.
const MARKS: (&str, &str) = ("<!-- metrics, written from code -->\n", "<!-- end of metrics -->");

/// One family of series.
struct Metric(&'static str, Kind, &'static [&'static str], &'static str);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge as Level, Histogram};

#[rustfmt::skip]
const TABLE: &[Metric] = &[
    Metric("postrider_events_consumed_total", Counter, &["topic", "event"], "Events read from source topics"),
    Metric("postrider_events_unmatched_total", Counter, &["event"], "Events that no webhook got and that left no outcome"),
    Metric("postrider_source_events_lost_total", Counter, &["topic"], "Offsets that Kafka's retention removed before they were read"),
    Metric("postrider_consumer_lag", Level, &["topic", "partition"], "Offsets from the watermark to the partition's end"),
    Metric("postrider_partitions_paused", Level, &[], "Partitions that are not read for now"),
    Metric("postrider_held_events", Level, &[], "Records read and not settled"),
    Metric("postrider_held_bytes", Level, &[], "Bytes of records read and not settled"),
    Metric("postrider_deliveries_total", Counter, &["event", "result"], "Deliveries that ended, by result"),
    Metric("postrider_attempts_total", Counter, &["event", "outcome"], "Requests made, by what they met"),
    Metric("postrider_attempt_duration_seconds", Histogram, &["event"], "Wall time of a request"),
    Metric("postrider_event_to_delivery_seconds", Histogram, &["event"], "From the source record's timestamp to the 2xx"),
    Metric("postrider_retry_skew_seconds", Histogram, &[], "From a retry's due time to its request"),
    Metric("postrider_in_flight", Level, &[], "Requests under way"),
    Metric("postrider_parked_total", Counter, &["cause"], "Deliveries put into a retry topic, by cause"),
    Metric("postrider_parked_lag_seconds", Level, &["delay"], "How late the oldest due parked delivery is"),
    Metric("postrider_webhooks", Level, &["status"], "Webhooks by status"),
    Metric("postrider_webhook_attempts_total", Counter, &["webhook", "outcome"], "Requests made, by webhook and what they met"),
    Metric("postrider_webhook_pending", Level, &["webhook"], "Deliveries parked in retry topics, by webhook"),
    Metric("postrider_webhook_oldest_undelivered_seconds", Level, &["webhook"],
        "Age of the oldest event that waits, is under way or is parked for a webhook, replays left out"),
    Metric("postrider_circuits_open", Level, &[], "Webhooks whose circuit is open"),
    Metric("postrider_blocked_total", Counter, &["reason"], "Addresses and names that the egress guard refused"),
    Metric("postrider_dead_letters_total", Counter, &["reason"], "Dead letters committed, by reason"),
    Metric("postrider_transactions_total", Counter, &["result"], "Transactions by how they ended"),
    Metric("postrider_transaction_duration_seconds", Histogram, &[], "Time from begin to end of a transaction"),
    Metric("postrider_kafka_up", Level, &[], "1 while a broker can be reached"),
    Metric("postrider_replay_deliveries_total", Counter, &["result"],
        "Deliveries that replays put on their way (parked), and those that are kept nowhere any more (lost)"),
    Metric("postrider_replays_unfinished", Level, &[], "Replays that have not come to their end"),
    Metric("postrider_replay_leader", Level, &[], "1 on the instance that runs the replays"),
    Metric("postrider_logs_rows", Level, &[], "Outcomes in the index of the logs"),
    Metric("postrider_logs_lag", Level, &[], "Records of the results topic that are not in the index of the logs yet, about"),
    Metric("postrider_logs_skipped_total", Counter, &[],
        "Records of the results topic that are no outcomes, passed over by the index of the logs"),
    Metric("postrider_panics_total", Counter, &[], "Faults in postrider itself that ended a task"),
    Metric("postrider_trace_spans_lost_total", Counter, &[], "Spans of traces that the collector did not take"),
    Metric("postrider_tasks", Level, &[], "Tasks of the runtime that are alive"),
    Metric("postrider_build_info", Level, &["version", "rustc"], "The build that runs; always 1"),
    Metric("process_cpu_seconds_total", Counter, &[], "Total user and system CPU time spent in seconds."),
    Metric("process_open_fds", Level, &[], "Number of open file descriptors."),
    Metric("process_max_fds", Level, &[], "Maximum number of open file descriptors."),
    Metric("process_virtual_memory_bytes", Level, &[], "Virtual memory size in bytes."),
    Metric("process_resident_memory_bytes", Level, &[], "Resident memory size in bytes."),
    Metric("process_start_time_seconds", Level, &[], "Start time of the process since unix epoch in seconds."),
    Metric("process_threads", Level, &[], "Number of OS threads in the process."),
];

/// The words of the contract, chapter Metrics.
const PROMISED: &str = "events_consumed_total{topic,event} dead_letters_total{reason} events_unmatched_total{event} \
    deliveries_total{event,result} attempts_total{event,outcome} attempt_duration_seconds{event} \
    event_to_delivery_seconds{event} retry_skew_seconds in_flight held_events held_bytes parked_total{cause} \
    parked_lag_seconds{delay} webhook_pending{webhook} consumer_lag{topic,partition} partitions_paused \
    transactions_total{result} transaction_duration_seconds webhooks{status} circuits_open blocked_total{reason} \
    source_events_lost_total{topic} webhook_oldest_undelivered_seconds{webhook} webhook_attempts_total{webhook,outcome} \
    kafka_up build_info{version,rustc}";

/// Series without a value of their labels, until something happens.
const LATER: [&str; 6] = [
    "postrider_consumer_lag",
    "postrider_parked_lag_seconds",
    "postrider_webhook_attempts_total",
    "postrider_webhook_pending",
    "postrider_webhook_oldest_undelivered_seconds",
    "postrider_panics_total",
];

/// Strings of the code that look like metrics and are none.
const OTHERS: [&str; 1] = ["postrider_session"];

fn everything() -> Registry {
    let registry = Registry::new();
    let mut config = Config::new("postrider-0");
    config.admin.logs.path = Some("logs".into());
    let metrics = Metrics::register(&registry, &config, &Undelivered::new(Clock::system())).unwrap();
    PendingGauges::register(&registry, metrics.delivery.named()).unwrap();
    telemetry::register_tasks(&registry, tokio::runtime::Handle::current()).unwrap();
    registry
}

fn find(name: &str) -> Option<&'static Metric> {
    TABLE.iter().find(|metric| metric.0 == name)
}

fn kind(family: &MetricFamily) -> Kind {
    match family.get_field_type() {
        MetricType::COUNTER => Counter,
        MetricType::GAUGE => Level,
        MetricType::HISTOGRAM => Histogram,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_registered_stands_in_the_table_as_it_is() {
    for family in everything().gather() {
        let Some(Metric(name, stated, labels, help)) = find(family.name()) else {
            panic!("{} is not in the table", family.name())
        };
        assert_eq!((*stated, *help), (kind(&family), family.help()), "{name}");
        let has: BTreeSet<&str> = family.get_metric()[0]
            .get_label()
            .iter()
            .map(|pair| pair.name())
            .collect();
        assert_eq!(has, labels.iter().copied().collect(), "{name}");
    }
}

#[tokio::test]
async fn what_stands_in_the_table_is_registered_with_these_words() {
    let registry = everything();
    let gathered: BTreeSet<String> = registry
        .gather()
        .iter()
        .map(|family| family.name().to_owned())
        .collect();
    for Metric(name, _, labels, help) in TABLE {
        assert!(
            gathered.contains(*name) != LATER.contains(name),
            "{name}: begins at once, or later"
        );
        if *name == "postrider_panics_total" || name.starts_with("process_") {
            continue;
        }
        // Only one that says the very same is refused as being there.
        let opts = Opts::new(*name, *help);
        let again = if labels.is_empty() {
            registry.register(Box::new(Gauge::with_opts(opts).unwrap()))
        } else {
            registry.register(Box::new(GaugeVec::new(opts, labels).unwrap()))
        };
        assert!(matches!(again, Err(prometheus::Error::AlreadyReg)), "{name}: {again:?}");
    }
}

#[test]
fn every_name_in_the_code_stands_in_the_table() {
    let mut found = BTreeSet::new();
    for file in sources(&repository().join("crates")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let strings = text.split('"').filter(|word| word.starts_with("postrider_"));
        let is_name = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        found.extend(strings.filter(is_name).map(str::to_owned));
    }
    for other in OTHERS {
        found.remove(other);
    }
    let ours = TABLE
        .iter()
        .map(|metric| metric.0.to_owned())
        .filter(|name| name.starts_with("postrider_"));
    assert_eq!(found, ours.collect());
}

#[test]
fn everything_that_is_promised_stands_in_the_table() {
    for promise in PROMISED.split_whitespace() {
        let (name, labels) = promise.split_once('{').unwrap_or((promise, "}"));
        let labels: Vec<&str> = labels
            .trim_end_matches('}')
            .split(',')
            .filter(|label| !label.is_empty())
            .collect();
        let metric = find(&format!("postrider_{name}")).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(metric.2, labels, "{name}");
    }
}

#[test]
fn the_readme_has_this_table() {
    let file = repository().join("README.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(MARKS.0).unwrap();
    let (_, after) = rest.split_once(MARKS.1).unwrap();
    let whole = format!("{before}{}{}{}{after}", MARKS.0, written(), MARKS.1);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, &whole).unwrap();
    } else {
        assert!(
            text == whole,
            "README.md has another table of metrics; write it anew with {WRITE}=1"
        );
    }
}

fn written() -> String {
    let mut text = "| metric | type | labels | tells |\n| --- | --- | --- | --- |\n".to_owned();
    for Metric(name, kind, labels, help) in TABLE {
        let kind = format!("{kind:?}").to_lowercase();
        let help = help.trim_end_matches('.');
        writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", ")).unwrap();
    }
    text
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of code below a folder, without those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            files.extend(sources(&path));
        } else if name.ends_with(".rs") && !["tests.rs", "table.rs"].contains(&&*name) {
            files.push(path);
        }
    }
    files
}
