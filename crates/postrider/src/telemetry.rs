//! What the process tells of itself: log lines on standard error, and the metrics that belong to no stage.

use std::io;

use anyhow::Context;
use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGaugeVec, Opts, Registry};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, TelemetryConfig};

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The compiler of this build.
const RUSTC: &str = env!("POSTRIDER_RUSTC");

/// Starts logging to standard error. Foreign text goes into fields, where both formats escape it.
pub(crate) fn start(config: &TelemetryConfig) -> anyhow::Result<()> {
    let subscriber = subscriber(config, io::stderr)?;
    subscriber.try_init().context("logging has been started twice")
}

fn subscriber<W>(config: &TelemetryConfig, writer: W) -> anyhow::Result<Box<dyn tracing::Subscriber + Send + Sync>>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.log).context("telemetry.log is no filter")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter);
    Ok(match config.log_format {
        LogFormat::Json => Box::new(registry.with(lines.json().flatten_event(true))),
        LogFormat::Text => Box::new(registry.with(lines.with_ansi(false))),
    })
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

    fn logged(log_format: LogFormat, log: &str) -> String {
        let lines = Lines::default();
        let config = TelemetryConfig {
            log: log.to_owned(),
            log_format,
            ..TelemetryConfig::default()
        };
        let writer = lines.clone();
        let subscriber = subscriber(&config, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(order = "evil\u{1b}[31m\nline", "Something happened");
            tracing::debug!("Detail");
        });
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_hold_the_fields() {
        let text = logged(LogFormat::Json, "info");
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "Something happened");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["order"], "evil\u{1b}[31m\nline");
    }

    #[test]
    fn foreign_text_cannot_break_out_of_its_line() {
        for log_format in [LogFormat::Json, LogFormat::Text] {
            let text = logged(log_format, "info");
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        assert_eq!(logged(LogFormat::Text, "debug").lines().count(), 2);
        assert_eq!(logged(LogFormat::Text, "warn"), "");
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
