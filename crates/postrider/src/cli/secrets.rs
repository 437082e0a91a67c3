//! `postrider secrets`: the key that seals what the webhooks topic holds.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};

use super::End;
use super::remote::Remote;
use super::text::plain;
use crate::api::Call;

#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Seals every stored secret anew, with the first key of secrets.key_file
    #[command(after_help = "\
Put the new key before the old one in secrets.key_file of every instance, run this, then take the old one out.

Example: postrider secrets rotate")]
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    remote: Remote,
}

impl Secrets {
    pub(crate) fn run(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        let Self::Rotate(Rotate { remote }) = self;
        remote.run(variables, async |session| {
            let rotate = Call::post(&["secrets", "rotate"], None);
            let told = |answer: &serde_json::Value| match answer["resealed"].as_u64() {
                Some(1) => "the secrets of 1 webhook were sealed anew".to_owned(),
                _ => format!(
                    "the secrets of {} webhooks were sealed anew",
                    plain(&answer["resealed"])
                ),
            };
            session.tell(rotate, told).await?;
            Ok(End::Done)
        })
    }
}
