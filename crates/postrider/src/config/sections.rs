//! The sections that belong to no stage: `secrets` and `telemetry`.

use std::path::PathBuf;

use postrider_types::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use url::Url;

/// Where the key is that encrypts what the webhooks topic holds of secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SecretsConfig {
    /// A file with base64 of 32 bytes; null means `POSTRIDER_SECRETS_KEY`, if that is set.
    pub(crate) key_file: Option<PathBuf>,
}

/// What the process tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TelemetryConfig {
    /// What to log: a level, or `module=level` pairs separated by commas.
    pub(crate) log: String,
    /// How log lines look.
    pub(crate) log_format: LogFormat,
    /// Where to send traces: a collector that takes OTLP over HTTP.
    pub(crate) otlp_endpoint: Option<String>,
    /// Webhooks with metric series of their own; the rest are counted together as `other`.
    pub(crate) max_webhook_series: usize,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// One JSON object on each line.
    #[default]
    Json,
    /// For people.
    Text,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            log_format: LogFormat::Json,
            otlp_endpoint: None,
            max_webhook_series: 200,
        }
    }
}

/// The most webhooks that may have series of their own.
const MOST_SERIES: usize = 10_000;

impl TelemetryConfig {
    /// What is wrong with it.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if EnvFilter::try_new(&self.log).is_err() {
            let reason = "is no filter; write a level (error, warn, info, debug, trace) or pairs like \
                          info,postrider_delivery=debug";
            faults.push(Fault::new("log", reason));
        }
        let endpoint = self.otlp_endpoint.as_deref();
        faults.extend(
            endpoint
                .and_then(bad_collector)
                .map(|why| Fault::new("otlp_endpoint", why)),
        );
        if self.max_webhook_series > MOST_SERIES {
            let reason = format!("must be 0 to {MOST_SERIES}, or Prometheus suffers");
            faults.push(Fault::new("max_webhook_series", reason));
        }
        faults
    }
}

/// What is wrong with a collector's address.
fn bad_collector(endpoint: &str) -> Option<&'static str> {
    if cfg!(not(feature = "otel")) {
        return Some("is set, but this build sends no traces; leave it null");
    }
    let Ok(url) = Url::parse(endpoint) else {
        return Some("is no URL; write one like http://collector:4318");
    };
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Some("is not of http or https; write a URL like http://collector:4318");
    }
    (!is_plain || url.fragment().is_some())
        .then_some("holds more than an address; credentials go into the variable OTEL_EXPORTER_OTLP_HEADERS")
}

#[cfg(all(test, feature = "otel"))]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_its_address_alone() {
        for good in ["http://127.0.0.1:4318", "https://collector.example/otlp"] {
            assert_eq!(bad_collector(good), None, "{good}");
        }
        for bad in [
            "collector:4318",
            "grpc://c:4317",
            "http://",
            "http://u:p@c",
            "http://c?token=x",
            "http://c#x",
        ] {
            let why = bad_collector(bad).unwrap_or_else(|| panic!("{bad}"));
            assert!(!why.contains("token=x"), "{bad}");
        }
    }
}
