//! What the process tells of itself: log lines on standard error, and the metrics that belong to no stage.

use std::io;

use anyhow::Context;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::runtime::Handle;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, TelemetryConfig};

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The compiler of this build.
const RUSTC: &str = env!("POSTRIDER_RUSTC");

/// Starts logging to standard error.
pub(crate) fn start(config: &TelemetryConfig) -> anyhow::Result<()> {
    let subscriber = subscriber(config, io::stderr)?;
    subscriber.try_init().context("logging has been started twice")
}

fn subscriber<W, O>(config: &TelemetryConfig, open: O) -> anyhow::Result<Box<dyn tracing::Subscriber + Send + Sync>>
where
    W: io::Write + 'static,
    O: Fn() -> W + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.log).context("telemetry.log is no filter")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(move || Escaping(open()));
    let registry = tracing_subscriber::registry().with(filter);
    Ok(match config.log_format {
        LogFormat::Json => Box::new(registry.with(lines.json().flatten_event(true))),
        LogFormat::Text => Box::new(registry.with(lines.with_ansi(false))),
    })
}

/// Bytes of one field of a log line; what is longer is cut.
const MAX_FIELD: usize = 1024;
/// Bytes of a log line that is no JSON.
const MAX_LINE: usize = 8 * 1024;

/// Writes lines in which only the last character may be a line's end. Foreign text could otherwise forge a
/// line or move the terminal's cursor. The escapes are JSON's, because lines may be JSON. Long text is cut.
struct Escaping<W>(W);

impl<W: io::Write> io::Write for Escaping<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (whole, end) = text.strip_suffix('\n').map_or((&*text, ""), |inner| (inner, "\n"));
        if whole.len() > MAX_FIELD {
            let cut: String = shortened(whole).chars().map(escaped).collect();
            self.0.write_all(format!("{cut}{end}").as_bytes())?;
            return Ok(line.len());
        }
        let inner = whole;
        if inner.contains(is_unsafe) {
            let escaped: String = inner.chars().map(escaped).collect();
            self.0.write_all(format!("{escaped}{end}").as_bytes())?;
        } else {
            self.0.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A long line with its long fields cut; as a whole where it is no JSON.
fn shortened(line: &str) -> String {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(line) else {
        return cut(line, MAX_LINE);
    };
    for field in fields.values_mut() {
        if let serde_json::Value::String(text) = field {
            *text = cut(text, MAX_FIELD);
        }
    }
    serde_json::Value::Object(fields).to_string()
}

fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(limit)])
}

/// Controls, line separators, and marks that turn the direction of text.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(c: char) -> String {
    if is_unsafe(c) {
        format!("\\u{:04x}", u32::from(c))
    } else {
        c.to_string()
    }
}

/// Registers how many tasks are alive on the runtime.
pub(crate) fn register_tasks(registry: &Registry, runtime: Handle) -> prometheus::Result<()> {
    let gauge = IntGauge::new("postrider_tasks", "Tasks of the runtime that are alive")?;
    registry.register(Box::new(Tasks { gauge, runtime }))
}

/// Asks the runtime when it is asked.
struct Tasks {
    gauge: IntGauge,
    runtime: Handle,
}

impl Collector for Tasks {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let alive = self.runtime.metrics().num_alive_tasks();
        self.gauge.set(i64::try_from(alive).unwrap_or(i64::MAX));
        self.gauge.collect()
    }
}

/// Registers the count of spans that the collector of traces did not take.
pub(crate) fn register_spans_lost(registry: &Registry) -> prometheus::Result<IntCounter> {
    let lost = IntCounter::new(
        "postrider_trace_spans_lost_total",
        "Spans of traces that the collector did not take",
    )?;
    registry.register(Box::new(lost.clone()))?;
    Ok(lost)
}

/// Registers `build_info` and the process' own series.
pub(crate) fn register(registry: &Registry) -> prometheus::Result<()> {
    let opts = Opts::new("postrider_build_info", "The build that runs; always 1");
    let build = IntGaugeVec::new(opts, &["version", "rustc"])?;
    build.with_label_values(&[VERSION, RUSTC]).set(1);
    registry.register(Box::new(build))?;
    registry.register(Box::new(ProcessCollector::for_self()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use prometheus::TextEncoder;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log_format: LogFormat, log: &str, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let config = TelemetryConfig {
            log: log.to_owned(),
            log_format,
            ..TelemetryConfig::default()
        };
        let writer = lines.clone();
        let subscriber = subscriber(&config, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn two_events() {
        tracing::info!(order = "1", "Something happened");
        tracing::debug!("Detail");
    }

    #[test]
    fn json_lines_hold_the_fields() {
        let text = logged(LogFormat::Json, "info", two_events);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "Something happened");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["order"], "1");
    }

    #[test]
    fn foreign_text_cannot_break_out_of_its_line() {
        let evil = "a\u{1b}[31m\r\nb\u{85}c\u{2028}d\u{202e}e";
        for log_format in [LogFormat::Json, LogFormat::Text] {
            let text = logged(
                log_format,
                "info",
                || tracing::info!(shown = %evil, quoted = evil, "{evil}"),
            );
            assert_eq!(text.matches(is_unsafe).collect::<String>(), "\n", "{text:?}");
            assert!(text.ends_with('\n'), "{text:?}");
            if log_format == LogFormat::Json {
                let line: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(line["quoted"], evil);
            }
        }
    }

    #[test]
    fn long_fields_are_cut_and_short_ones_beside_them_are_not() {
        let long = "ä\n".repeat(2_000);
        let log = |log_format| logged(log_format, "info", || tracing::info!(long, short = "kept", "Message"));
        let text = log(LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["short"], &line["message"]), (&"kept".into(), &"Message".into()));
        let kept = line["long"].as_str().unwrap();
        assert!(kept.len() <= MAX_FIELD + '…'.len_utf8() && long.starts_with(kept.trim_end_matches('…')));
        let text = log(LogFormat::Text);
        assert_eq!(text.lines().count(), 1);
        assert!(text.len() < 2 * MAX_LINE, "{}", text.len());
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        assert_eq!(logged(LogFormat::Text, "debug", two_events).lines().count(), 2);
        assert_eq!(logged(LogFormat::Text, "warn", two_events), "");
    }

    #[test]
    fn the_build_and_the_process_are_metrics() {
        let registry = Registry::new();
        register(&registry).unwrap();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let build = format!("postrider_build_info{{rustc=\"{RUSTC}\",version=\"{VERSION}\"}} 1");
        assert!(text.contains(&build), "{text}");
        assert!(RUSTC.starts_with("1."), "{RUSTC}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
