//! `postrider run`: the daemon.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;

use super::End;
use super::settings::Settings;
use crate::config::Config;
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
        let keys = KeySource::new(config.secrets.key_file.clone(), &sources.variables);
        telemetry::start(&config.telemetry)?;
        process::prepare();
        let runtime = process::runtime()?;
        runtime.block_on(async {
            let signals = Signals::listen()?;
            let reload = Arc::new(move || Config::load_again(&sources));
            pipeline::run(
                config,
                Surroundings {
                    signals,
                    reload,
                    keys,
                    survey: None,
                    started: None,
                },
            )
            .await
        })?;
        Ok(End::Done)
    }
}
