//! From layers to a [`Config`], or to everything that is wrong with them.

use figment::Figment;
use figment::providers::Serialized;
use postrider_types::Fault;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fault::{ConfigError, Origin, PlacedFault};
use super::layers::{self, Layer, Sources};
use super::path::Path;
use super::shape::Shape;
use super::validation::misfits;
use super::{Config, instance_faults};

/// Reads all layers.
pub(crate) fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let shape = Shape {
        root: schemars::schema_for!(Config).to_value(),
    };
    let mut faults = Vec::new();
    let layers = layers::read(sources, &shape, &mut faults)?;
    let mut review = Review::new(Config::new(sources.host.clone()), layers, faults);
    review.check_shape(&shape);
    let config = review.check_sections();
    if let Some(config) = &config {
        review.note(config.cross_faults());
    }
    match config {
        Some(config) if review.faults.is_empty() => Ok(config),
        _ => Err(ConfigError { faults: review.faults }),
    }
}

/// The merged document and what was found wrong with it so far.
struct Review {
    layers: Vec<Layer>,
    merged: Figment,
    document: Value,
    faults: Vec<PlacedFault>,
}

impl Review {
    fn new(defaults: Config, layers: Vec<Layer>, faults: Vec<PlacedFault>) -> Self {
        // Defaults go through `Serialize`, which masks secrets: a default secret would become its mask. All are null.
        let base = Figment::from(Serialized::defaults(defaults));
        let merge = |merged: Figment, layer: &Layer| merged.merge(Serialized::defaults(&layer.value));
        let merged = layers.iter().fold(base, merge);
        let document = merged.extract().expect("any document is a JSON value");
        Self {
            layers,
            merged,
            document,
            faults,
        }
    }

    /// Notes what does not fit the schema, but for fields whose references are broken already.
    fn check_shape(&mut self, shape: &Shape) {
        for misfit in misfits(shape, &self.document) {
            let known = self
                .faults
                .iter()
                .any(|fault| fault.fault.path == misfit.path.to_string());
            if !known {
                self.place(&misfit.path, misfit.reason);
            }
        }
    }

    /// Reads every section that fits, and lets it judge itself.
    fn check_sections(&mut self) -> Option<Config> {
        let instance_id = self.section("instance_id", |id: &String| instance_faults(id));
        let kafka = self.section("kafka", postrider_kafka::Config::faults);
        let consumer = self.section("consumer", postrider_consumer::Config::faults);
        let routing = self.section("routing", postrider_routing::Config::faults);
        let delivery = self.section("delivery", postrider_delivery::Config::faults);
        let topics = self.section("topics", postrider_kafka::TopicsConfig::faults);
        let results = self.section("results", postrider_kafka::ResultsConfig::faults);
        let replay = self.section("replay", postrider_replay::Config::faults);
        let egress = self.section("egress", postrider_delivery::egress::Config::faults);
        let admin = self.section("admin", postrider_admin::Config::faults);
        let secrets = self.section("secrets", |_| Vec::new());
        let telemetry = self.section("telemetry", super::TelemetryConfig::faults);
        Some(Config {
            instance_id: instance_id?,
            kafka: kafka?,
            consumer: consumer?,
            routing: routing?,
            delivery: delivery?,
            topics: topics?,
            results: results?,
            replay: replay?,
            egress: egress?,
            admin: admin?,
            secrets: secrets?,
            telemetry: telemetry?,
        })
    }

    fn section<T: DeserializeOwned>(&mut self, name: &str, judge: impl Fn(&T) -> Vec<Fault>) -> Option<T> {
        if self.is_faulty(name) {
            return None;
        }
        let value = self
            .merged
            .find_value(name)
            .expect("the schema makes every section present");
        match value.deserialize::<T>() {
            Ok(section) => {
                self.note(judge(&section).into_iter().map(|fault| fault.under(name)).collect());
                Some(section)
            }
            Err(errors) => {
                for error in errors {
                    let pointer = format!("/{name}/{}", error.path.join("/"));
                    let path = Path::from_pointer(pointer.trim_end_matches('/'), &self.document);
                    self.place(&path, error.kind.to_string());
                }
                None
            }
        }
    }

    fn is_faulty(&self, section: &str) -> bool {
        let within = |path: &str| {
            path.strip_prefix(section)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.faults.iter().any(|fault| within(&fault.fault.path))
    }

    fn note(&mut self, faults: Vec<Fault>) {
        for fault in faults {
            let path = Path::from_text(&fault.path, &self.document);
            let origin = self.origin(&path);
            self.faults.push(PlacedFault { origin, fault });
        }
    }

    fn place(&mut self, path: &Path, reason: String) {
        let origin = self.origin(path);
        let fault = Fault::new(path.to_string(), reason);
        self.faults.push(PlacedFault { origin, fault });
    }

    /// The strongest layer that says the value at a path, or else what holds it.
    fn origin(&self, path: &Path) -> Origin {
        let saying = |path: &Path| self.layers.iter().rev().find(|layer| path.find(&layer.value).is_some());
        let mut at = Some(path.clone());
        while let Some(holder) = at.filter(|holder| !holder.0.is_empty()) {
            if let Some(layer) = saying(&holder) {
                return layer.origin(path);
            }
            at = holder.parent();
        }
        Origin::Default
    }
}
