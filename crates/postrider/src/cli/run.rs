//! `postrider run`: the daemon.

use std::collections::BTreeMap;

use clap::Args;

use postrider_types::Secret;

use super::End;
use super::settings::Settings;
use crate::config::Config;
use crate::pipeline::{self, Surroundings};
use crate::process;
use crate::secrets::{KeySource, VARIABLE};
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
        let config = Config::load(&sources)?;
        let keys = KeySource {
            file: config.secrets.key_file.clone(),
            variable: sources.variables.get(VARIABLE).cloned().map(Secret::new),
        };
        telemetry::start(&config.telemetry)?;
        process::prepare();
        let runtime = process::runtime()?;
        runtime.block_on(async {
            let signals = Signals::listen()?;
            let reload = Box::new(move || Config::load(&sources));
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
