//! SIGHUP: reads the configuration again and swaps the webhooks, whole or not at all.

use std::sync::Arc;

use postrider_webhooks::Directory;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

use super::thread;
use crate::config::{Config, ConfigError, under};

/// Reads the configuration again.
pub(crate) type Reload = Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Reloads whenever asked, until aborted. What is wrong is logged, and everything stays as it was.
pub(crate) fn watch(reload: Reload, mut reloads: watch::Receiver<u64>, directory: Arc<Directory>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while reloads.changed().await.is_ok() {
            let replaced = loop {
                tokio::select! {
                    replaced = replace(&reload, &directory) => break replaced,
                    // Who asks once more may have mended a file that hangs: it is read anew.
                    asked = reloads.changed() => if asked.is_err() { return },
                }
            };
            match replaced {
                Ok(webhooks) => info!(webhooks, "Webhooks reloaded; other settings take effect at a restart"),
                Err(refused) => {
                    tell(&refused);
                    error!("Configuration not reloaded; going on with the old webhooks");
                }
            }
        }
    })
}

fn tell(refused: &anyhow::Error) {
    match refused.downcast_ref::<ConfigError>() {
        Some(config) => {
            for fault in &config.faults {
                error!(%fault, "The configuration cannot be taken");
            }
        }
        None => error!(error = %format!("{refused:#}"), "The configuration cannot be read"),
    }
}

async fn replace(reload: &Reload, directory: &Directory) -> anyhow::Result<usize> {
    let reload = Arc::clone(reload);
    // A file may hang, such as one of a network or a pipe that nobody writes to.
    let config = thread::run("reload", move || reload())?.await??;
    let replaced = directory.replace_file(config.routing.webhooks);
    Ok(replaced.map_err(under("routing.webhooks"))?)
}
