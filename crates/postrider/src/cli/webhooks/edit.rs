//! `postrider webhooks edit`: what is not named stays as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use postrider_types::WebhookId;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::{document, told};
use crate::api::Call;
use crate::cli::remote::Remote;
use crate::cli::text::plain;
use crate::cli::{End, Misused};

#[derive(Debug, Args)]
#[command(after_help = "\
Another scheme, host or port of the URL takes away credentials that are not given again with it.

Examples:
  postrider webhooks edit wh_01J… --events tracking_update --max-retries 5
  postrider webhooks edit wh_01J… --clear auth --clear filter
  postrider webhooks edit wh_01J… --if-match 3 --file patch.yaml     null takes a field away")]
pub(crate) struct Edit {
    /// The webhook's id
    #[arg(value_parser = WebhookId::new)]
    id: WebhookId,
    #[command(flatten)]
    fields: Fields,
    /// Takes a field away
    #[arg(
        long,
        value_enum,
        value_name = "FIELD",
        value_delimiter = ',',
        conflicts_with = "file"
    )]
    clear: Vec<Field>,
    /// A file with a JSON merge patch, as JSON or YAML, instead of the other flags; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Changes it only if it is still at this version
    #[arg(long, value_name = "VERSION")]
    if_match: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Field {
    Auth,
    Header,
    Filter,
    Signing,
    Tls,
}

impl Field {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Header => "header",
            Self::Filter => "filter",
            Self::Signing => "signing",
            Self::Tls => "tls",
        }
    }
}

impl Edit {
    pub(crate) fn run(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        let patch = match &self.file {
            Some(file) => document::read(file)?,
            None => Value::Object(cleared(self.fields.document()?, &self.clear)?),
        };
        let generates = patch.pointer("/signing/generate") == Some(&Value::Bool(true));
        let id = self.id;
        let call = Call::patch(&["webhooks", id.as_str()], patch).meant_for(self.if_match);
        let changed = |answer: &Value| {
            let version = &answer["version"];
            let at = if version.is_null() {
                String::new()
            } else {
                format!(", now at version {}", plain(version))
            };
            told::with_consequences(format!("changed {id}{at}"), answer, generates)
        };
        self.remote.run(variables, async |session| {
            session.tell(call, changed).await?;
            Ok(End::Done)
        })
    }
}

/// Adds a null for each field to take away.
fn cleared(mut patch: Map<String, Value>, clear: &[Field]) -> Result<Map<String, Value>, Misused> {
    for name in clear.iter().map(|field| field.as_str()) {
        if patch.get(name).is_some_and(|value| !value.is_null()) {
            return Err(Misused(format!("--clear {name} contradicts the flags that set it")));
        }
        patch.insert(name.to_owned(), Value::Null);
    }
    if patch.is_empty() {
        return Err(Misused("nothing to change was named; see --help".to_owned()));
    }
    Ok(patch)
}
