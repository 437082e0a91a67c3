//! The sections that belong to no stage: `secrets` and `telemetry`.

use std::path::PathBuf;

use postrider_types::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

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
    /// Where to send traces.
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
        if self.otlp_endpoint.is_some() {
            let reason = "is set, but this build sends no traces; leave it null";
            faults.push(Fault::new("otlp_endpoint", reason));
        }
        if self.max_webhook_series > MOST_SERIES {
            let reason = format!("must be 0 to {MOST_SERIES}, or Prometheus suffers");
            faults.push(Fault::new("max_webhook_series", reason));
        }
        faults
    }
}
