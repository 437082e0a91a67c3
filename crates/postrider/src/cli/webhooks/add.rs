//! `postrider webhooks add`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::fields::Fields;
use super::{document, told};
use crate::api::Call;
use crate::cli::End;
use crate::cli::remote::Remote;
use crate::cli::text::plain;

#[derive(Debug, Args)]
#[command(
    mut_arg("url", |arg| arg.required_unless_present("file")),
    mut_arg("events", |arg| arg.required_unless_present("file")),
    mut_arg("username", |arg| arg.requires("password_file")),
    mut_arg("password_file", |arg| arg.requires("username")),
    mut_arg("header", |arg| arg.requires("header_value_file")),
    mut_arg("header_value_file", |arg| arg.requires("header")),
    mut_arg("tls_certificate", |arg| arg.requires("tls_key")),
    mut_arg("tls_key", |arg| arg.requires("tls_certificate")),
    after_help = "\
Examples:
  postrider webhooks add --url https://merchant.example/hooks --events order_shipped,order_error --generate-signing
  postrider webhooks add --url … --events … --username me --password-file ~/.secret
  postrider webhooks add --url … --events … --tls-certificate client.pem --tls-key client.key
  postrider webhooks add --file webhook.yaml"
)]
pub(crate) struct Add {
    #[command(flatten)]
    fields: Fields,
    /// A file with the webhook's document, JSON or YAML, instead of the other flags; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

impl Add {
    pub(crate) fn run(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        let document = match &self.file {
            Some(file) => document::read(file)?,
            None => Value::Object(self.fields.document()?),
        };
        let generates = document.pointer("/signing/generate") == Some(&Value::Bool(true));
        let added = |answer: &Value| {
            let first = format!("added {}", plain(&answer["id"]));
            told::with_consequences(first, answer, generates)
        };
        let call = Call::post(&["webhooks"], Some(document));
        self.remote.run(variables, async |session| {
            session.tell(call, added).await?;
            Ok(End::Done)
        })
    }
}
