//! What has to be done so that a webhook becomes what the file says. Pure: compares two documents.

use postrider_types::WebhookId;
use serde_json::{Map, Value, json};
use url::Url;

use super::file::Wanted;
use super::is_cancelled;
use crate::api::Call;
use crate::cli::webhooks::told::MASK;

/// The fields that postrider sets; the file may hold them as they were read.
const KEPT: [&str; 7] = [
    "status",
    "disabled_reason",
    "created_at",
    "updated_at",
    "version",
    "origin",
    "first_connection",
];
/// The fields that are never shown and cannot be compared.
const SECRETS: [&str; 4] = ["auth.password", "header.value", "signing.secret", "tls.key"];
/// The fields whose values are shown.
const HARMLESS: [&str; 12] = [
    "account_id",
    "url",
    "description",
    "events",
    "filter",
    "enabled",
    "auth.username",
    "header.name",
    "retry",
    "timeout_ms",
    "max_in_flight",
    "rate_limit_per_second",
];
/// No secret, but long.
const CERTIFICATE: &str = "tls.certificate";
/// Asks for a signing secret where there is none.
const GENERATE: &str = "signing.generate";

type Fields = Map<String, Value>;

/// What one webhook needs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// There is none.
    Add { id: WebhookId, document: Value },
    /// It differs.
    Change {
        id: WebhookId,
        /// What it was compared with.
        version: Option<u64>,
        patch: Value,
        changes: Vec<Change>,
    },
    /// It is what the file says.
    Keep { id: WebhookId },
    /// The file does not have it.
    Cancel { id: WebhookId },
    /// The file has it, but it was cancelled, which cannot be taken back.
    Blocked { id: WebhookId },
}

/// One field that becomes another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// The field's dotted path.
    pub(super) path: String,
    /// What becomes of it.
    pub(super) kind: Kind,
}

/// What becomes of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// From one value to another; secrets within are masked.
    Becomes(Value, Value),
    /// A certificate that is another one than before, or new.
    NewCertificate,
    /// A secret where there was none.
    NewSecret,
    /// A secret that cannot be compared.
    SentAgain,
    /// A secret that postrider makes.
    Generated,
    /// A credential that the API drops, because the URL leads to another server.
    Dropped,
}

impl Step {
    /// Which webhook.
    pub(super) const fn id(&self) -> &WebhookId {
        match self {
            Self::Add { id, .. } | Self::Change { id, .. } => id,
            Self::Keep { id } | Self::Cancel { id } | Self::Blocked { id } => id,
        }
    }

    /// Whether the diff has a line of it.
    pub(super) const fn is_told(&self) -> bool {
        !matches!(self, Self::Keep { .. })
    }

    /// Whether a signing secret is made on the way.
    pub(super) fn generates(&self) -> bool {
        let sent = match self {
            Self::Add { document, .. } => document,
            Self::Change { patch, .. } => patch,
            _ => return false,
        };
        sent.pointer("/signing/generate") == Some(&Value::Bool(true))
    }

    /// What to send.
    pub(super) fn call(&self) -> Option<Call> {
        match self {
            Self::Add { document, .. } => Some(Call::post(&["webhooks"], Some(document.clone()))),
            Self::Change { id, version, patch, .. } => {
                let call = Call::patch(&["webhooks", id.as_str()], patch.clone());
                Some(call.meant_for(*version))
            }
            Self::Cancel { id } => Some(Call::delete(&["webhooks", id.as_str()])),
            Self::Keep { .. } | Self::Blocked { .. } => None,
        }
    }

    /// What to send to have it judged. That nothing can be said against cancelling is known.
    pub(super) fn rehearsal(&self) -> Option<Call> {
        let judged = matches!(self, Self::Add { .. } | Self::Change { .. });
        self.call()
            .filter(|_| judged)
            .map(|call| call.with("dry_run", Some(true)))
    }
}

/// What a webhook of the file needs, given what was found under its id.
pub(super) fn step(wanted: Wanted, found: Option<&Value>) -> Step {
    let Wanted { id, mut fields } = wanted;
    fields.retain(|name, _| !KEPT.contains(&&**name));
    let Some(found) = found else {
        fields.insert("id".to_owned(), json!(id));
        return Step::Add {
            id,
            document: Value::Object(fields),
        };
    };
    if is_cancelled(found) {
        return Step::Blocked { id };
    }
    let (patch, changes) = compared(&fields, found);
    if patch.is_empty() {
        return Step::Keep { id };
    }
    Step::Change {
        id,
        version: found["version"].as_u64(),
        patch: Value::Object(patch),
        changes,
    }
}

/// The managed webhooks that the file does not have.
pub(super) fn strays(ids: &[WebhookId], items: impl Iterator<Item = Value>) -> Vec<Step> {
    let managed = items.filter(|item| item["origin"] == "managed" && !is_cancelled(item));
    let found = managed.filter_map(|item| WebhookId::new(item["id"].as_str()?).ok());
    let strays = found.filter(|id| !ids.contains(id));
    strays.map(|id| Step::Cancel { id }).collect()
}

/// The patch that makes the fields what the file says, and what it changes.
fn compared(wanted: &Fields, found: &Value) -> (Fields, Vec<Change>) {
    let mut changes = Vec::new();
    let patch = differing("", wanted, found, &mut changes);
    if leads_elsewhere(&patch, found) {
        changes.extend(dropped(&patch, found));
    }
    (patch, changes)
}

fn differing(prefix: &str, wanted: &Fields, found: &Value, changes: &mut Vec<Change>) -> Fields {
    let mut patch = Fields::new();
    for (name, new) in wanted {
        let path = format!("{prefix}{name}");
        let old = &found[name];
        let sent = match new {
            Value::Object(new) if is_nested(&path) => {
                let inner = differing(&format!("{path}."), new, old, changes);
                (!inner.is_empty()).then_some(Value::Object(inner))
            }
            new => change(&path, old, new, found).map(|kind| {
                changes.push(Change { path, kind });
                new.clone()
            }),
        };
        patch.extend(sent.map(|sent| (name.clone(), sent)));
    }
    patch
}

/// The fields whose own fields are compared one by one. A filter is one value.
fn is_nested(path: &str) -> bool {
    matches!(path, "auth" | "header" | "retry" | "signing" | "tls")
}

/// What becomes of one field; `None` when it is what the file says. `around` is the object that holds it.
fn change(path: &str, old: &Value, new: &Value, around: &Value) -> Option<Kind> {
    if SECRETS.contains(&path) {
        return secret(old, new);
    }
    if path == GENERATE {
        let is_wanted = *new == Value::Bool(true) && around["secret"].is_null();
        return is_wanted.then_some(Kind::Generated);
    }
    if path == CERTIFICATE && new.is_string() {
        return (old != new).then_some(Kind::NewCertificate);
    }
    (!is_same(path, old, new)).then(|| Kind::Becomes(masked(path, old), masked(path, new)))
}

fn secret(old: &Value, new: &Value) -> Option<Kind> {
    match (old.is_null(), new.is_null()) {
        (true, true) => None,
        (true, false) => Some(Kind::NewSecret),
        // The mask stands for the secret that is there.
        (false, _) if new.as_str() == Some(MASK) => None,
        (false, _) => Some(Kind::SentAgain),
    }
}

/// Event types have no order.
fn is_same(path: &str, old: &Value, new: &Value) -> bool {
    let (Some(old_list), Some(new_list)) = (old.as_array(), new.as_array()) else {
        return old == new;
    };
    let has_no_order = path == "events" && old_list.len() == new_list.len();
    old == new || has_no_order && new_list.iter().all(|event| old_list.contains(event))
}

/// A value as it may be shown. What is not known to be harmless is masked: a secret may stand in the wrong place.
fn masked(path: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) if is_nested(path) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), masked(&format!("{path}.{name}"), value)))
                .collect()
        }
        Value::Null => Value::Null,
        // No field of a field holds others.
        Value::Object(_) | Value::Array(_) if path.contains('.') => json!(MASK),
        value if is_harmless(path) && !holds_password(path, value) => value.clone(),
        _ => json!(MASK),
    }
}

fn is_harmless(path: &str) -> bool {
    HARMLESS.contains(&path.strip_prefix("retry.").map_or(path, |_| "retry"))
}

/// Whether it is a URL with credentials of its own, which the API will refuse.
fn holds_password(path: &str, value: &Value) -> bool {
    let url = value.as_str().filter(|_| path == "url");
    url.is_some_and(|url| url.contains('@'))
}

/// Whether the URL's scheme, host or port becomes another.
fn leads_elsewhere(patch: &Fields, found: &Value) -> bool {
    let origin = |url: &Value| Url::parse(url.as_str()?).ok().map(|url| url.origin());
    patch.get("url").is_some_and(|url| origin(url) != origin(&found["url"]))
}

/// The credentials that go with the old server.
fn dropped(patch: &Fields, found: &Value) -> Vec<Change> {
    let there = [("auth", "password"), ("header", "value"), ("tls", "key")].into_iter();
    let there = there.filter(|(name, _)| !found[name].is_null());
    let going = there.filter(|(name, secret)| match patch.get(*name) {
        Some(Value::Null) => false,
        sent => sent.and_then(|sent| sent.get(secret)).is_none(),
    });
    let change = |(name, _): (&str, &str)| Change {
        path: name.to_owned(),
        kind: Kind::Dropped,
    };
    going.map(change).collect()
}

#[cfg(test)]
mod tests;
