//! SIGHUP: reads the configuration again and swaps the webhooks, whole or not at all.

use postrider_routing::{SharedTable, Table};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::config::{Config, ConfigError, under};

/// Reads the configuration again.
pub(crate) type Reload = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Reloads whenever asked, until aborted. What is wrong is logged, and everything stays as it was.
pub(crate) fn watch(reload: Reload, mut reloads: watch::Receiver<u64>, table: SharedTable) -> JoinHandle<()> {
    tokio::spawn(async move {
        while reloads.changed().await.is_ok() {
            match webhooks(&reload) {
                Ok(new) => {
                    info!(
                        webhooks = new.webhooks().len(),
                        "Webhooks reloaded; other settings take effect at a restart"
                    );
                    table.replace(new);
                }
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

fn webhooks(reload: &Reload) -> Result<Table, ConfigError> {
    let config = reload()?;
    Table::build(config.routing.webhooks).map_err(under("routing.webhooks"))
}
