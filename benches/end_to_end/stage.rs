//! What all parts play on: the broker, the receiver, and scenes that differ in what is measured.

use std::time::Duration;

use anyhow::{Context, Result};
use postrider_tests::{Broker, Scene};
use serde_json::{Value, json};

use crate::options::Options;
use crate::receiver::Receiver;
use crate::usage::{Usage, machine_ms};

/// How long anything may take that has to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(900);

/// The key that everything is signed with.
const SECRET: &str = "whsec_cG9zdHJpZGVyIG1lYXN1cmVzIHdpdGggdGhpcw==";

/// The stage.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) options: &'a Options,
    pub(crate) receiver: Receiver,
    broker: &'static Broker,
    broker_pids: Vec<u32>,
}

impl<'a> Stage<'a> {
    pub(crate) async fn open(options: &'a Options) -> Result<Self> {
        let broker = Broker::shared().await?;
        Ok(Self {
            options,
            receiver: Receiver::start()?,
            broker,
            broker_pids: broker.pids().await?,
        })
    }

    /// A scene whose `tracking` topic has as many partitions, with the daemon's own topics still to be made.
    pub(crate) async fn scene(&self, name: &str, partitions: i32) -> Result<Scene> {
        let mut scene = Scene::at(self.broker.bootstrap(), &format!("bench-{name}"))?;
        scene.topic("tracking").create(partitions).await?;
        let tracking = scene.topic("tracking").name().to_owned();
        scene.config["consumer"]["sources"] = json!([{ "topic": tracking, "event": "tracking_update" }]);
        // As many as the daemon makes by itself; a test's scene has fewer.
        scene.config["topics"] = json!({});
        scene.config["delivery"] = json!({});
        if let Some(text) = &self.options.config {
            let overlay = serde_json::from_str(text).context("BENCH_CONFIG is a JSON document")?;
            lay_over(&mut scene.config, overlay);
        }
        Ok(scene)
    }

    /// Signed, for all tracking updates of an account, to the receiver.
    pub(crate) fn webhook(&self, number: u64, account: Option<u64>) -> Value {
        let mut webhook = json!({
            "id": format!("wh_{number}"),
            "url": format!("http://{}/hooks", self.receiver.address),
            "events": ["tracking_update"],
            "signing": { "secret": SECRET },
        });
        if let Some(account) = account {
            webhook["account_id"] = json!(account_id(account));
        }
        webhook
    }

    /// What everything used so far, the daemons of these pids among it.
    pub(crate) fn used(&self, pids: &[u32]) -> Result<Used> {
        Ok(Used {
            daemons: Usage::of_all(pids)?,
            broker: Usage::of_all(&self.broker_pids)?,
            receiver: Usage::of(self.receiver.pid())?,
            bench: Usage::of(std::process::id())?,
            machine_ms: machine_ms()?,
        })
    }

    /// For whoever wants to look at the processes meanwhile.
    pub(crate) fn tell_pids(&self, pids: &[u32]) {
        eprintln!(
            "  measuring: daemon pid {pids:?}, broker pid {:?}, receiver pid {}",
            self.broker_pids,
            self.receiver.pid()
        );
    }
}

/// The name of an account of many.
pub(crate) fn account_id(account: u64) -> String {
    format!("account-{account}")
}

fn lay_over(document: &mut Value, overlay: Value) {
    match (document, overlay) {
        (Value::Object(document), Value::Object(overlay)) => {
            for (name, value) in overlay {
                lay_over(document.entry(name).or_insert(Value::Null), value);
            }
        }
        (document, overlay) => *document = overlay,
    }
}

/// What the processes of a stage used up to a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) daemons: Usage,
    pub(crate) broker: Usage,
    pub(crate) receiver: Usage,
    bench: Usage,
    machine_ms: u64,
}

impl Used {
    /// The part of the machine's busy time since `earlier` that was none of ours, in hundredths: how far to trust
    /// what was measured.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub(crate) fn others_percent(&self, earlier: &Self) -> f64 {
        let since = |pick: fn(&Self) -> u64| pick(self).saturating_sub(pick(earlier));
        let ours = since(|used| used.daemons.cpu_ms)
            + since(|used| used.broker.cpu_ms)
            + since(|used| used.receiver.cpu_ms)
            + since(|used| used.bench.cpu_ms);
        let all = since(|used| used.machine_ms).max(1);
        all.saturating_sub(ours) as f64 * 100.0 / all as f64
    }
}
