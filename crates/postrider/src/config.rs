//! The whole configuration: one section for each stage, layered from defaults, a file, the environment
//! and flags.
//!
//! Everything wrong with it is found in one go: layers are parsed and their references followed, merged
//! by figment, held against the schema derived from the types, read into the types section by section,
//! and judged by the sections themselves. Only then is it a [`Config`]. Whoever is about to run it has the files that it
//! names looked into as well.

mod document;
mod environment;
pub(crate) mod fault;
mod files;
mod interpolation;
mod layers;
mod mending;
mod path;
mod review;
pub(crate) mod sections;
mod shape;
mod validation;

use postrider_consumer::config::Guarantee;
use postrider_delivery::egress::Policy;
use postrider_delivery::{Schedule, webhook_faults};
use postrider_kafka::connection::SECOND;
use postrider_kafka::rights::Needs;
use postrider_kafka::topics::Layout;
use postrider_types::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use fault::{ConfigError, under};
pub(crate) use files::ca_fault;
pub(crate) use layers::{Sources, discover};
pub(crate) use sections::{LogFormat, SecretsConfig, TelemetryConfig};

/// The longest instance id: it becomes part of Kafka's group and transaction ids.
const MAX_INSTANCE_ID: usize = 128;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Stable and unique among the instances; the host's name unless set.
    pub(crate) instance_id: String,
    /// How to reach the brokers.
    pub(crate) kafka: postrider_kafka::Config,
    /// How source topics are read.
    pub(crate) consumer: postrider_consumer::Config,
    /// Webhooks and who gets what.
    pub(crate) routing: postrider_routing::Config,
    /// How events are sent.
    pub(crate) delivery: postrider_delivery::Config,
    /// How topics are created and checked.
    pub(crate) topics: postrider_kafka::TopicsConfig,
    /// The topics that are written.
    pub(crate) results: postrider_kafka::ResultsConfig,
    /// How deliveries are made again.
    pub(crate) replay: postrider_replay::Config,
    /// Which addresses may be dialled.
    pub(crate) egress: postrider_delivery::egress::Config,
    /// Health, metrics, API.
    pub(crate) admin: postrider_admin::Config,
    /// The key of stored secrets.
    pub(crate) secrets: SecretsConfig,
    /// Logs, traces, metrics.
    pub(crate) telemetry: TelemetryConfig,
}

impl Config {
    /// The defaults for an instance.
    pub(crate) fn new(instance_id: impl Into<String>) -> Self {
        Self {
            instance_id: instance_id.into(),
            kafka: postrider_kafka::Config::default(),
            consumer: postrider_consumer::Config::default(),
            routing: postrider_routing::Config::default(),
            delivery: postrider_delivery::Config::default(),
            topics: postrider_kafka::TopicsConfig::default(),
            results: postrider_kafka::ResultsConfig::default(),
            replay: postrider_replay::Config::default(),
            egress: postrider_delivery::egress::Config::default(),
            admin: postrider_admin::Config::default(),
            secrets: SecretsConfig::default(),
            telemetry: TelemetryConfig::default(),
        }
    }

    /// Reads all layers.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault of every layer.
    pub(crate) fn load(sources: &Sources) -> Result<Self, ConfigError> {
        review::load(sources, review::Extent::Text)
    }

    /// Reads all layers, and looks into the files that a run needs.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault of every layer and of those files.
    pub(crate) fn load_to_run(sources: &Sources) -> Result<Self, ConfigError> {
        review::load(sources, review::Extent::Files)
    }

    /// Reads all layers while what an earlier reading said is in use.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault of every layer; that the file holds nothing is one.
    pub(crate) fn load_again(sources: &Sources) -> Result<Self, ConfigError> {
        review::load(sources, review::Extent::Again)
    }

    /// The topics this configuration needs.
    pub(crate) fn layout(&self) -> Layout {
        let schedule = Schedule::new(&self.delivery.retry).expect("a loaded configuration has a schedule");
        Layout {
            results: self.results.clone(),
            topics: self.topics.clone(),
            webhooks: self.routing.webhooks_topic.clone(),
            sources: self
                .consumer
                .sources
                .iter()
                .map(|source| source.topic.clone())
                .collect(),
            delays: schedule.steps(),
        }
    }

    /// What this configuration has to be allowed in Kafka.
    pub(crate) fn needs(&self) -> Needs {
        Needs {
            layout: self.layout(),
            group: self.consumer.group_id.clone(),
            transactions: self.consumer.guarantee == Guarantee::ExactlyOnce,
            reads_results: self.admin.logs.path.is_some(),
        }
    }

    /// The configuration as it may be shown: secrets masked, and what a URL's query holds.
    pub(crate) fn shown(&self) -> Value {
        let mut document = serde_json::to_value(self).expect("the configuration is plain data");
        let shown = document.pointer_mut("/routing/webhooks").and_then(Value::as_array_mut);
        for (shown, webhook) in shown.into_iter().flatten().zip(&self.routing.webhooks) {
            shown["url"] = webhook.endpoint().into();
        }
        document
    }
}

/// Topics that are read although postrider writes them, and webhooks kept where something else is.
fn topic_faults(
    consumer: &postrider_consumer::Config,
    results: &postrider_kafka::ResultsConfig,
    routing: &postrider_routing::Config,
) -> Vec<Fault> {
    let written = [
        ("results.topic", &results.topic),
        ("results.dead_letters", &results.dead_letters),
        ("results.notices", &results.notices),
        ("results.pending", &results.pending),
        ("results.replays", &results.replays),
        ("routing.webhooks_topic", &routing.webhooks_topic),
    ];
    let mut faults = Vec::new();
    for (at, source) in consumer.sources.iter().enumerate() {
        let same = written
            .iter()
            .find(|(_, topic)| **topic == source.topic)
            .map(|(path, _)| *path);
        let retry = source
            .topic
            .starts_with(&results.retry_prefix)
            .then_some("results.retry_prefix");
        if let Some(path) = same.or(retry) {
            let reason = format!("is also what {path} names, so postrider would read what it writes");
            faults.push(Fault::new(format!("consumer.sources[{at}].topic"), reason));
        }
    }
    let (_, webhooks_topic) = written[5];
    if let Some((path, _)) = written[..5].iter().find(|(_, topic)| *topic == webhooks_topic) {
        let reason = format!("is the same topic as {path}");
        faults.push(Fault::new("routing.webhooks_topic", reason));
    }
    faults
}

/// What is wrong with the section `routing`, its webhooks that could never be called among it.
fn routing_faults(
    routing: &postrider_routing::Config,
    egress: Option<&postrider_delivery::egress::Config>,
) -> Vec<Fault> {
    let policy = egress.and_then(|egress| Policy::from_config(egress).ok());
    let policy = policy.unwrap_or_else(lenient_policy);
    let webhooks = routing.webhooks.iter().enumerate();
    let uncallable = webhooks.flat_map(|(at, webhook)| {
        let found = webhook_faults(webhook, &policy).into_iter();
        found.map(move |fault| fault.under(&format!("webhooks[{at}]")))
    });
    routing.faults().into_iter().chain(uncallable).collect()
}

/// For judging URLs when the egress section is itself at fault: what it would refuse is not known, but
/// what is no URL is.
fn lenient_policy() -> Policy {
    let everything = ["0.0.0.0/0", "::/0"].map(|network| network.parse().expect("a network"));
    let config = postrider_delivery::egress::Config {
        allow: everything.to_vec(),
        ..postrider_delivery::egress::Config::default()
    };
    Policy::from_config(&config).expect("allowing everything is without fault")
}

/// What is wrong with an instance's id.
fn instance_faults(id: &str) -> Vec<Fault> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let reason = if !(1..=MAX_INSTANCE_ID).contains(&id.len()) || !id.bytes().all(allowed) {
        "must be 1 to 128 of A-Z a-z 0-9 . _ -, stable over restarts and different on every instance"
    } else if id.ends_with(SECOND) {
        "must not end in .retries: so the member of the consumer group is named that reads an instance's retry topics"
    } else {
        return Vec::new();
    };
    vec![Fault::new("", reason)]
}

#[cfg(test)]
mod tests;
