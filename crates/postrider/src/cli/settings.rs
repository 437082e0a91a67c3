//! The flags that every command with a configuration takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use postrider_types::visible::visible;

use super::hidden::Hidden;
use crate::config::{Config, ConfigError, Sources, discover};

/// Read when nothing else is named.
const STANDARD_FILE: &str = "/etc/postrider/postrider.yaml";

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// The configuration file [default: $POSTRIDER_CONFIG, else /etc/postrider/postrider.yaml where it exists]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one field, stronger than file and environment; lists as JSON [example: delivery.timeout=10s]
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = Hidden(assignment))]
    set: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (field, value) = text
        .split_once('=')
        .ok_or("has no `=`; write it like delivery.timeout=10s")?;
    let named = !field.is_empty() && field.split('.').all(|key| !key.is_empty());
    named.then(|| (field.to_owned(), value.to_owned())).ok_or_else(|| {
        format!(
            "`{}` names no field; write it like delivery.timeout=10s",
            visible(field)
        )
    })
}

impl Settings {
    /// Reads all layers.
    pub(crate) fn load(&self, variables: BTreeMap<String, String>) -> Result<Config, ConfigError> {
        Config::load(&self.sources(variables))
    }

    /// The layers to read, now or at a reload.
    pub(crate) fn sources(&self, variables: BTreeMap<String, String>) -> Sources {
        let named = variables.get("POSTRIDER_CONFIG").map(String::as_str);
        Sources {
            host: hostname::get().map_or_else(|_| String::new(), |host| host.to_string_lossy().into_owned()),
            file: discover(self.config.clone(), named, Path::new(STANDARD_FILE)),
            variables,
            flags: self.set.clone(),
        }
    }
}
