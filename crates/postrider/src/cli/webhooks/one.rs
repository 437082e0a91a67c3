//! The commands that need no more than a webhook's id.

use std::collections::BTreeMap;

use clap::Args;
use postrider_types::WebhookId;
use serde_json::Value;

use super::told::with_consequences;
use crate::api::Call;
use crate::cli::End;
use crate::cli::remote::Remote;
use crate::cli::text::{fields, text_at};

type Variables = BTreeMap<String, String>;

/// Which webhook, and where the API is.
#[derive(Debug, Args)]
struct One {
    /// The webhook's id
    #[arg(value_parser = WebhookId::new)]
    id: WebhookId,
    #[command(flatten)]
    remote: Remote,
}

impl One {
    /// Posts to one of the webhook's verbs.
    fn post(&self, verb: &str, variables: &Variables, told: impl FnOnce(&Value) -> String) -> anyhow::Result<End> {
        self.send(Call::post(&["webhooks", self.id.as_str(), verb], None), variables, told)
    }

    fn send(&self, call: Call, variables: &Variables, told: impl FnOnce(&Value) -> String) -> anyhow::Result<End> {
        self.remote.run(variables, async |session| {
            session.tell(call, told).await?;
            Ok(End::Done)
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example: postrider webhooks show wh_01J… --json")]
pub(crate) struct Show {
    #[command(flatten)]
    one: One,
}

impl Show {
    pub(crate) fn run(self, variables: &Variables) -> anyhow::Result<End> {
        let call = Call::get(&["webhooks", self.one.id.as_str()]);
        self.one.send(call, variables, fields)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
A cancelled webhook gets nothing more. It keeps its place among its account's webhooks until it is purged.

Example: postrider webhooks delete wh_01J… --purge")]
pub(crate) struct Delete {
    #[command(flatten)]
    one: One,
    /// Removes it for good and frees its place
    #[arg(long)]
    purge: bool,
}

impl Delete {
    pub(crate) fn run(self, variables: &Variables) -> anyhow::Result<End> {
        let Self { one, purge } = self;
        let call = Call::delete(&["webhooks", one.id.as_str()]).with("purge", purge.then_some("true"));
        one.send(call, variables, |_| match purge {
            true => format!("removed {} for good", one.id),
            false => format!("cancelled {}; --purge removes it for good and frees its place", one.id),
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example: postrider webhooks enable wh_01J…")]
pub(crate) struct Enable {
    #[command(flatten)]
    one: One,
}

impl Enable {
    pub(crate) fn run(self, variables: &Variables) -> anyhow::Result<End> {
        let told = |answer: &Value| switched("enabled", &self.one, answer);
        self.one.post("enable", variables, told)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example: postrider webhooks disable wh_01J…")]
pub(crate) struct Disable {
    #[command(flatten)]
    one: One,
}

impl Disable {
    pub(crate) fn run(self, variables: &Variables) -> anyhow::Result<End> {
        let told = |answer: &Value| switched("disabled", &self.one, answer);
        self.one.post("disable", variables, told)
    }
}

fn switched(what: &str, one: &One, answer: &Value) -> String {
    match text_at(answer, "/url") {
        "" => format!("{what} {}", one.id),
        url => format!("{what} {}: {}", one.id, crate::visible::visible(url)),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example: postrider webhooks rotate-secret wh_01J…")]
pub(crate) struct RotateSecret {
    #[command(flatten)]
    one: One,
}

impl RotateSecret {
    pub(crate) fn run(self, variables: &Variables) -> anyhow::Result<End> {
        let first = format!("rotated the signing secret of {}", self.one.id);
        let told = |answer: &Value| with_consequences(first, answer, true);
        self.one.post("rotate-secret", variables, told)
    }
}
