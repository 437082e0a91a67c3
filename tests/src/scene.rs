//! One test's own corner of the shared broker: names that no other test has, a configuration that uses them,
//! and a folder that goes with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::ensure;
use postrider_types::{Clock, Outcome};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary;
use crate::broker::Broker;
use crate::contract::{DeadLetter, dead_letters, outcomes};
use crate::daemon::Daemon;
use crate::port;
use crate::topic::{Received, Topic};

static SCENES: AtomicU32 = AtomicU32::new(0);

/// Partitions of each source topic.
const SOURCE_PARTITIONS: i32 = 3;

/// One test's names, configuration and folder.
#[derive(Debug)]
pub struct Scene {
    bootstrap: String,
    name: String,
    folder: TempDir,
    /// The configuration, to be changed before a daemon starts on it.
    pub config: Value,
}

impl Scene {
    /// A scene on the shared broker, with its source topics made.
    ///
    /// # Errors
    /// When the broker could not be started.
    pub async fn new(test: &str) -> anyhow::Result<Self> {
        Self::on(Broker::shared().await?, test).await
    }

    /// A scene on a broker of the test's own.
    ///
    /// # Errors
    /// When the broker does not make the source topics.
    pub async fn on(broker: &Broker, test: &str) -> anyhow::Result<Self> {
        let scene = Self::at(broker.bootstrap(), test)?;
        for source in ["shipments", "tracking"] {
            scene.topic(source).create(SOURCE_PARTITIONS).await?;
        }
        Ok(scene)
    }

    /// A scene for an address where no broker needs to be.
    ///
    /// # Errors
    /// When there is no temporary folder.
    pub fn at(bootstrap: &str, test: &str) -> anyhow::Result<Self> {
        let number = SCENES.fetch_add(1, Ordering::Relaxed);
        let moment = Clock::system().now().as_millis() % 100_000_000;
        let name = format!("{test}-{moment}-{}-{number}", std::process::id());
        Ok(Self {
            config: config(bootstrap, &name),
            folder: TempDir::with_prefix("postrider-it-")?,
            bootstrap: bootstrap.to_owned(),
            name,
        })
    }

    /// The consumer group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.name
    }

    /// A topic of the scene: `shipments`, `tracking`, `results`, `dead-letters`, …
    #[must_use]
    pub fn topic(&self, short: &str) -> Topic {
        Topic::new(&self.bootstrap, format!("{}.{short}", self.name))
    }

    /// The folder, for files of the test's own.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the configuration's webhooks.
    pub fn webhooks(&mut self, webhooks: impl IntoIterator<Item = Value>) {
        self.config["routing"]["webhooks"] = webhooks.into_iter().collect();
    }

    /// Writes the configuration as it stands to the scene's file. JSON is YAML.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_config(&self) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join("postrider.yaml");
        std::fs::write(&path, format!("{:#}\n", self.config))?;
        Ok(path)
    }

    /// Writes the configuration for one of several instances: a name of its own, an admin port of its own.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_instance(&self, instance: &str) -> anyhow::Result<PathBuf> {
        let mut config = self.config.clone();
        config["instance_id"] = json!(format!("{}-{instance}", self.name));
        config["admin"]["listen"] = json!(format!("127.0.0.1:{}", port::free()));
        let path = self.folder.path().join(format!("{instance}.yaml"));
        std::fs::write(&path, format!("{config:#}\n"))?;
        Ok(path)
    }

    /// Has postrider make its own topics.
    ///
    /// # Errors
    /// When `postrider topics create` fails.
    pub async fn create_topics(&self) -> anyhow::Result<()> {
        let path = self.write_config()?;
        let mut command = binary::command(["topics", "create", "--config"]).await?;
        command.arg(path);
        let ran = binary::run_command(command).await?;
        ensure!(ran.code == Some(0), "postrider topics create: {ran:?}");
        Ok(())
    }

    /// Makes the topics and starts a daemon that is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(&self) -> anyhow::Result<Daemon> {
        self.create_topics().await?;
        Daemon::start(&self.write_config()?).await
    }

    /// The outcomes, once there are `count` at least; all fit their schema.
    ///
    /// # Errors
    /// When they do not come in time.
    pub async fn outcomes(&self, count: usize) -> anyhow::Result<Vec<Outcome>> {
        outcomes(&self.records("results", count).await?)
    }

    /// The dead letters, once there are `count` at least; all fit their schema.
    ///
    /// # Errors
    /// When they do not come in time.
    pub async fn dead_letters(&self, count: usize) -> anyhow::Result<Vec<DeadLetter>> {
        dead_letters(&self.records("dead-letters", count).await?)
    }

    async fn records(&self, topic: &str, count: usize) -> anyhow::Result<Vec<Received>> {
        self.topic(topic).read_until(|records| records.len() >= count).await
    }
}

fn config(bootstrap: &str, name: &str) -> Value {
    json!({
        "instance_id": name,
        "kafka": { "brokers": bootstrap },
        "consumer": {
            "group_id": name,
            "sources": [
                { "topic": format!("{name}.shipments"), "event": "order_shipped" },
                { "topic": format!("{name}.tracking"), "event": "tracking_update" },
            ],
        },
        "routing": { "webhooks_topic": format!("{name}.webhooks") },
        "delivery": { "retry": { "initial": "500ms", "multiplier": 1, "jitter": 0 } },
        "topics": { "results_partitions": 3, "retry_partitions": 2 },
        "results": {
            "topic": format!("{name}.results"),
            "dead_letters": format!("{name}.dead-letters"),
            "notices": format!("{name}.notices"),
            "retry_prefix": format!("{name}.retry."),
            "pending": format!("{name}.pending"),
            "replays": format!("{name}.replays"),
        },
        "egress": { "allow": ["127.0.0.0/8"] },
        "admin": { "listen": format!("127.0.0.1:{}", port::free()) },
    })
}
