//! `postrider run`: the daemon.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use parking_lot::Mutex;
use postrider_types::Webhook;
use tracing::warn;

use super::End;
use super::settings::Settings;
use crate::config::{Config, Sources};
use crate::pipeline::{self, Surroundings};
use crate::process;
use crate::secrets::KeySource;
use crate::shutdown::Signals;
use crate::telemetry;

#[derive(Debug, Args)]
#[command(after_help = "\
SIGTERM and SIGINT: stop reading, let requests in flight finish (delivery.drain), commit, leave with 0.
A second one leaves at once with 128 and the signal's number. SIGHUP: read the file's webhooks again.")]
pub(crate) struct Run {
    #[command(flatten)]
    settings: Settings,
}

impl Run {
    pub(crate) fn run(self, variables: BTreeMap<String, String>) -> anyhow::Result<End> {
        let sources = self.settings.sources(variables);
        let config = Config::load_to_run(&sources)?;
        telemetry::start(&config.telemetry)?;
        process::prepare();
        let runtime = process::runtime()?;
        runtime.block_on(async {
            let signals = Signals::listen()?;
            deliver(config, sources, signals).await
        })?;
        Ok(End::Done)
    }
}

/// Runs the daemon, and again when Kafka has taken it for two.
async fn deliver(mut config: Config, sources: Sources, signals: Signals) -> anyhow::Result<()> {
    let keys = KeySource::new(config.secrets.key_file.clone(), &sources.variables);
    let again: Arc<Mutex<Option<Vec<Webhook>>>> = Arc::default();
    let read = Arc::clone(&again);
    let reload: pipeline::Reload = Arc::new(move || {
        let config = Config::load_again(&sources)?;
        *read.lock() = Some(config.routing.webhooks.clone());
        Ok(config)
    });
    loop {
        let surroundings = Surroundings {
            signals: signals.of_one_run(),
            reload: Arc::clone(&reload),
            keys: keys.clone(),
            survey: None,
            started: None,
        };
        let ended = pipeline::run(config.clone(), surroundings).await;
        let Err(error) = ended else {
            return Ok(());
        };
        if !pipeline::is_displaced(&error) || signals.stop.is_cancelled() {
            return Err(error);
        }
        warn!(%error, "Starting over");
        // What was read again counts, as it did.
        if let Some(webhooks) = again.lock().take() {
            config.routing.webhooks = webhooks;
        }
    }
}
