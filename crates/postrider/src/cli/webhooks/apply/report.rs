//! How `apply` tells what it would do and what it did.

use serde_json::{Value, json};

use super::plan::{Change, Kind, Step};
use crate::cli::webhooks::told;
use crate::visible::{visible, visible_json};

/// A step, and what came of it.
#[derive(Debug)]
pub(super) struct Done {
    step: Step,
    answer: Option<Value>,
    refusal: Option<String>,
}

impl Done {
    /// Nothing was sent.
    pub(super) const fn not(step: Step) -> Self {
        Self {
            step,
            answer: None,
            refusal: None,
        }
    }

    /// It was done.
    pub(super) fn with(step: Step, answer: Value) -> Self {
        Self {
            answer: Some(answer),
            ..Self::not(step)
        }
    }

    /// The API did not do it.
    pub(super) fn refused(step: Step, reason: String) -> Self {
        Self {
            refusal: Some(reason),
            ..Self::not(step)
        }
    }

    /// Whether the webhook is, or can become, what the file says.
    pub(super) const fn is_well(&self) -> bool {
        self.refusal.is_none() && !matches!(self.step, Step::Blocked { .. })
    }

    /// What a person has to hear of the answer: a secret that was made, a first connection.
    pub(super) fn consequences(&self) -> Option<String> {
        let answer = self.answer.as_ref()?;
        let secret = self.step.generates().then(|| told::generated(answer)).flatten();
        let lines: Vec<String> = [secret, told::first_connection(answer)].into_iter().flatten().collect();
        (!lines.is_empty()).then(|| format!("{}: {}", self.step.id(), lines.join("\n")))
    }

    fn json(&self) -> Value {
        let changes = match &self.step {
            Step::Change { changes, .. } => changes.as_slice(),
            _ => &[],
        };
        let changes: Vec<Value> = changes.iter().map(change_json).collect();
        json!({
            "id": self.step.id(), "action": action(&self.step), "changes": changes,
            "answer": self.answer, "error": self.refusal,
        })
    }
}

const fn action(step: &Step) -> &'static str {
    match step {
        Step::Add { .. } => "add",
        Step::Change { .. } => "change",
        Step::Keep { .. } => "keep",
        Step::Cancel { .. } => "cancel",
        Step::Blocked { .. } => "blocked",
    }
}

fn change_json(change: &Change) -> Value {
    match &change.kind {
        Kind::Becomes(old, new) => json!({ "path": change.path, "old": old, "new": new }),
        other => json!({ "path": change.path, "note": note(other) }),
    }
}

/// What is told of a field whose values are not.
const fn note(kind: &Kind) -> &'static str {
    match kind {
        Kind::Becomes(..) => "",
        Kind::NewCertificate => "(certificate)",
        Kind::NewSecret => "(secret)",
        Kind::SentAgain => "(secret, sent again)",
        Kind::Generated => "(secret, will be made)",
        Kind::Dropped => "(dropped, as the URL leads to another server and its secret is not given)",
    }
}

/// The steps as lines, without those that need nothing.
pub(super) fn diff(steps: &[Step]) -> String {
    let lines: Vec<String> = steps.iter().flat_map(lines).collect();
    lines.join("\n")
}

fn lines(step: &Step) -> Vec<String> {
    match step {
        Step::Add { id, .. } => vec![format!("+ {id}")],
        Step::Change { id, changes, .. } => changes.iter().map(|one| format!("~ {id}: {}", line(one))).collect(),
        Step::Keep { .. } => Vec::new(),
        Step::Cancel { id } => vec![format!("- {id}")],
        Step::Blocked { id } => vec![format!(
            "! {id}: was cancelled; remove it with `postrider webhooks delete {id} --purge`, then apply adds it anew"
        )],
    }
}

fn line(change: &Change) -> String {
    let path = visible(&change.path);
    match &change.kind {
        Kind::Becomes(old, new) => {
            let [old, new] = [old, new].map(|value| value.to_string());
            format!("{path}: {} → {}", visible(&old), visible(&new))
        }
        other => format!("{path}: {}", note(other)),
    }
}

/// How many of each.
pub(super) fn summary(done: &[Done], is_dry: bool) -> String {
    let count = |name: &str| {
        let of_kind = done.iter().filter(|one| action(&one.step) == name);
        of_kind.filter(|one| one.refusal.is_none()).count()
    };
    let [added, changed, cancelled, kept] = ["add", "change", "cancel", "keep"].map(count);
    let failed = done.iter().filter(|one| !one.is_well()).count();
    let verb = if is_dry { "would be" } else { "were" };
    let failed = if failed == 0 {
        String::new()
    } else {
        format!(", {failed} cannot be as the file says")
    };
    format!("{added} {verb} added, {changed} changed, {cancelled} cancelled, {kept} left alone{failed}")
}

/// All of it as JSON.
pub(super) fn json(done: &[Done], is_dry: bool) -> String {
    let webhooks: Vec<Value> = done.iter().map(Done::json).collect();
    visible_json(&json!({ "dry_run": is_dry, "webhooks": webhooks }).to_string())
}
