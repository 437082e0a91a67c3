//! SIGHUP: reads the configuration again and swaps the webhooks, whole or not at all.

use std::sync::Arc;

use postrider_webhooks::Directory;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::config::{Config, ConfigError, under};

/// Reads the configuration again.
pub(crate) type Reload = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Reloads whenever asked, until aborted. What is wrong is logged, and everything stays as it was.
pub(crate) fn watch(reload: Reload, mut reloads: watch::Receiver<u64>, directory: Arc<Directory>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while reloads.changed().await.is_ok() {
            match replace(&reload, &directory) {
                Ok(webhooks) => info!(webhooks, "Webhooks reloaded; other settings take effect at a restart"),
                Err(refused) => {
                    for fault in &refused.faults {
                        error!(%fault, "The configuration cannot be taken");
                    }
                    error!("Configuration not reloaded; going on with the old webhooks");
                }
            }
        }
    })
}

fn replace(reload: &Reload, directory: &Directory) -> Result<usize, ConfigError> {
    let config = reload()?;
    directory
        .replace_file(config.routing.webhooks)
        .map_err(under("routing.webhooks"))
}
