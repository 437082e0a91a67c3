//! `postrider webhooks apply`: reads what is there, says what differs, and sends that and no more.

mod file;
mod plan;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use postrider_types::WebhookId;
use serde_json::Value;

use self::file::Wanted;
use self::plan::Step;
use self::report::Done;
use crate::api::{Api, ApiError, Call};
use crate::cli::End;
use crate::cli::output::{complain, say};
use crate::cli::remote::{Remote, Session};
use crate::cli::text::text_at;
use crate::cli::webhooks::document;

#[derive(Debug, Args)]
#[command(after_help = "\
The file is JSON or YAML: a list of webhooks, or `webhooks:` with one. Each has an `id`.
What a webhook leaves out stays as it is; null takes a field away.
Fields that postrider sets (status, version, …) are not looked at.
A secret cannot be compared, so one that the file gives is sent each time: leave it out to keep
the one that is there. `signing: {generate: true}` makes one where there is none.
A dry run has each change judged by itself, and needs a token that may write.

Example: postrider webhooks apply -f webhooks.yaml --dry-run")]
pub(crate) struct Apply {
    /// The file; `-` is standard input
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Says what would change and what would be refused, and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Cancels managed webhooks that are not in the file, of every account that the token may see
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Apply {
    pub(crate) fn run(self, variables: &BTreeMap<String, String>) -> anyhow::Result<End> {
        let wanted = file::read(&self.file)?;
        if self.prune && wanted.is_empty() {
            let file = document::name(&self.file);
            bail!("{file} holds no webhooks, and --prune would cancel all there are");
        }
        self.remote
            .run(variables, async |session| self.apply(&session, wanted).await)
    }

    async fn apply(&self, session: &Session, wanted: Vec<Wanted>) -> anyhow::Result<End> {
        let steps = self.plan(session, wanted).await?;
        if !session.json && steps.iter().any(Step::is_told) {
            say(&report::diff(&steps))?;
        }
        let mut done = Vec::new();
        for step in steps {
            done.push(if self.dry_run {
                rehearse(session, step).await?
            } else {
                carry_out(session, step).await?
            });
        }
        if session.json {
            say(&report::json(&done, self.dry_run))?;
        } else {
            say(&report::summary(&done, self.dry_run))?;
        }
        let is_well = done.iter().all(Done::is_well);
        Ok(if is_well { End::Done } else { End::Differs })
    }

    async fn plan(&self, session: &Session, wanted: Vec<Wanted>) -> anyhow::Result<Vec<Step>> {
        let ids: Vec<WebhookId> = wanted.iter().map(|one| one.id.clone()).collect();
        let mut steps = Vec::new();
        for one in wanted {
            let found = find(&session.api, &one.id).await?;
            steps.push(plan::step(one, found.as_ref()));
        }
        if self.prune {
            let items = session.list(&Call::get(&["webhooks"])).await?;
            let items = items
                .iter()
                .map(|item| serde_json::from_str(item.get()).unwrap_or_default());
            steps.extend(plan::strays(&ids, items));
        }
        Ok(steps)
    }
}

/// The webhook as it is, if there is one.
async fn find(api: &Api, id: &WebhookId) -> Result<Option<Value>, ApiError> {
    match api.call(Call::get(&["webhooks", id.as_str()])).await {
        Ok(answer) => Ok(Some(answer.value())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends what a step needs. What the API refuses is told, and the others go on.
async fn carry_out(session: &Session, step: Step) -> anyhow::Result<Done> {
    let Some(call) = step.call() else {
        return Ok(Done::not(step));
    };
    match session.api.call(call).await {
        Ok(answer) => {
            let done = Done::with(step, answer.value());
            if let Some(told) = done.consequences().filter(|_| !session.json) {
                say(&told)?;
            }
            Ok(done)
        }
        Err(error) => refused(step, error),
    }
}

/// Has a step judged by those who would carry it out.
async fn rehearse(session: &Session, step: Step) -> anyhow::Result<Done> {
    let Some(call) = step.rehearsal() else {
        return Ok(Done::not(step));
    };
    match session.api.call(call).await {
        Ok(_) => Ok(Done::not(step)),
        Err(error) => refused(step, error),
    }
}

fn refused(step: Step, error: ApiError) -> anyhow::Result<Done> {
    if !matches!(error, ApiError::Refused(_)) {
        return Err(anyhow::Error::new(error).context(format!("stopped at {}", step.id())));
    }
    let reason = error.to_string();
    complain(&anyhow::Error::new(error).context(step.id().to_string()));
    Ok(Done::refused(step, reason))
}

/// Whether a webhook was cancelled.
fn is_cancelled(webhook: &Value) -> bool {
    text_at(webhook, "/status") == "cancelled"
}
