//! `postrider check-config`: every fault at once, or what the layers come to.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::End;
use super::output::say;
use super::settings::Settings;
use crate::config::Config;

#[derive(Debug, Args)]
#[command(after_help = "\
Example: postrider check-config --config postrider.yaml --format json | jq .delivery
Every fault is one line: FILE:LINE: field: what is wrong and what would be right. Exit code 78 when there is any.")]
pub(crate) struct CheckConfig {
    #[command(flatten)]
    settings: Settings,
    /// How to print the configuration
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

impl CheckConfig {
    pub(crate) fn run(self, variables: BTreeMap<String, String>) -> anyhow::Result<End> {
        let shown = Config::load_to_run(&self.settings.sources(variables))?.shown();
        let text = match self.format {
            Format::Yaml => serde_saphyr::to_string(&shown).context("the configuration cannot be written as YAML")?,
            Format::Json => serde_json::to_string_pretty(&shown)?,
        };
        say(&text)?;
        Ok(End::Done)
    }
}
