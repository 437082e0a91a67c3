//! From layers to a [`Config`], or to everything that is wrong with them.

use figment::Figment;
use figment::providers::Serialized;
use postrider_types::Fault;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::fault::{ConfigError, Origin, PlacedFault};
use super::files::{ca_faults, missing_keys};
use super::layers::{self, Layer, Sources};
use super::mending;
use super::path::Path;
use super::shape::Shape;
use super::validation::misfits;
use super::{Config, instance_faults, routing_faults, topic_faults};
use crate::secrets::NoKeys;

/// How often a section is mended to find what only reading it shows, one fault at a time.
const MOST_MENDINGS: usize = 32;

/// How far a review goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What is written.
    Text,
    /// The same, while webhooks of an earlier reading are in use: a file that holds nothing is a fault.
    Again,
    /// The files that a run needs, too.
    Files,
}

/// Reads all layers.
pub(crate) fn load(sources: &Sources, extent: Extent) -> Result<Config, ConfigError> {
    let shape = Shape {
        root: schemars::schema_for!(Config).to_value(),
    };
    let mut faults = Vec::new();
    let layers = layers::read(sources, &shape, &mut faults)?;
    if extent == Extent::Again {
        faults.extend(layers.iter().filter_map(Layer::emptied));
    }
    let mut review = Review::new(Config::new(sources.host.clone()), layers, faults);
    review.check_shape(&shape);
    let config = review.check_sections();
    if extent == Extent::Files {
        review.check_files(sources);
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
        let egress = self.fields("egress", postrider_delivery::egress::Config::faults);
        let routing = self.fields("routing", |routing| routing_faults(routing, egress.as_ref()));
        let delivery = self.fields("delivery", |delivery: &postrider_delivery::Config| {
            delivery.clone().bounded().faults()
        });
        let topics = self.fields("topics", postrider_kafka::TopicsConfig::faults);
        let results = self.section("results", postrider_kafka::ResultsConfig::faults);
        let replay = self.fields("replay", postrider_replay::Config::faults);
        let admin = self.section("admin", postrider_admin::Config::faults);
        let secrets = self.section("secrets", |_| Vec::new());
        let telemetry = self.fields("telemetry", super::TelemetryConfig::faults);
        if let (Some(consumer), Some(results), Some(routing)) = (&consumer, &results, &routing) {
            self.note(topic_faults(consumer, results, routing));
        }
        Some(Config {
            instance_id: instance_id?,
            kafka: kafka?,
            consumer: consumer?,
            routing: routing?,
            delivery: delivery?.bounded(),
            topics: topics?,
            results: results?,
            replay: replay?,
            egress: egress?,
            admin: admin?,
            secrets: secrets?,
            telemetry: telemetry?,
        })
    }

    /// A section that can be judged only as a whole.
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
                self.place_unread(name, errors);
                None
            }
        }
    }

    /// A section none of whose fields is judged by another, so that the rest of a faulty one is judged as well.
    fn fields<T: DeserializeOwned>(&mut self, name: &str, judge: impl Fn(&T) -> Vec<Fault>) -> Option<T> {
        let whole = self.section(name, &judge);
        if whole.is_none()
            && let Some(rest) = self.rest(name)
        {
            let found = judge(&rest).into_iter().map(|fault| fault.under(name));
            let news = found.filter(|fault| self.is_news(&fault.path)).collect();
            self.note(news);
        }
        whole
    }

    /// What can be read of a faulty section. What cannot is noted on the way.
    fn rest<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        for _ in 0..MOST_MENDINGS {
            let faulty = self.faults.iter().filter(|fault| holds(name, &fault.fault.path));
            let paths = faulty.map(|fault| Path::from_text(&fault.fault.path, &self.document));
            let section = mending::without(json!({ name: self.document.get(name)? }), paths);
            let known = self.faults.len();
            let rest = figment::value::Value::serialize(section.get(name)?).ok()?;
            match rest.deserialize::<T>() {
                Ok(rest) => return Some(rest),
                Err(errors) => self.place_unread(name, errors),
            }
            if self.faults.len() == known {
                return None;
            }
        }
        None
    }

    /// Looks into the files that a run needs, where it is known which.
    fn check_files(&mut self, sources: &Sources) {
        if let Some(egress) = self.settled("egress") {
            self.note(
                ca_faults(&egress)
                    .into_iter()
                    .map(|fault| fault.under("egress"))
                    .collect(),
            );
        }
        let missing = self
            .settled("secrets")
            .and_then(|secrets| missing_keys(&secrets, &sources.variables));
        match missing {
            Some(NoKeys::File(reason)) => self.note(vec![Fault::new("secrets.key_file", reason)]),
            Some(missing) => self.faults.extend(ConfigError::from(missing).faults),
            None => {}
        }
    }

    /// A section without fault.
    fn settled<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let value = self.merged.find_value(name).ok().filter(|_| !self.is_faulty(name));
        value?.deserialize().ok()
    }

    /// Notes what cannot be read of a section.
    fn place_unread(&mut self, section: &str, errors: figment::Error) {
        for error in errors {
            let pointer = format!("/{section}/{}", error.path.join("/"));
            let path = Path::from_pointer(pointer.trim_end_matches('/'), &self.document);
            if self.is_news(&path.to_string()) {
                self.place(&path, error.kind.to_string());
            }
        }
    }

    /// Whether something is known to be wrong at a path or within it.
    fn is_faulty(&self, path: &str) -> bool {
        self.faults.iter().any(|fault| holds(path, &fault.fault.path))
    }

    /// Whether nothing is known to be wrong at a path, within it, or with what holds it.
    fn is_news(&self, path: &str) -> bool {
        !self.is_faulty(path) && !self.faults.iter().any(|fault| holds(&fault.fault.path, path))
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

/// Whether a path is another one or leads into it.
fn holds(outer: &str, inner: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
