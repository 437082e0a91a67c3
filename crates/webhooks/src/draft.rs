//! From what a person sent to a webhook, or to the fields that cannot be taken.

use postrider_types::secret::MASK;
use postrider_types::{Fault, Secret, Webhook, WebhookId};
use serde_json::{Map, Value, json};
use url::Url;

use crate::document::{SECRETS, exposed};
use crate::sign;

/// The fields a person may set.
const FIELDS: [&str; 14] = [
    "account_id",
    "url",
    "description",
    "events",
    "filter",
    "enabled",
    "auth",
    "header",
    "retry",
    "signing",
    "tls",
    "timeout_ms",
    "max_in_flight",
    "rate_limit_per_second",
];
/// The fields that postrider sets: taken back as they were read, so that a document can be sent as it came.
const KEPT: [&str; 8] = [
    "id",
    "status",
    "disabled_reason",
    "created_at",
    "updated_at",
    "version",
    "origin",
    "first_connection",
];

/// What a webhook cannot be without, and what it could look like.
const NEEDED: [(&str, &str); 2] = [
    ("url", "https://merchant.example/hooks"),
    ("events", "[\"order_shipped\"]"),
];

/// A secret that was made and is shown once.
pub type Generated = Option<Secret>;

/// Tells what is wrong with a webhook whose fields can all be read.
pub type Judge<'a> = &'a dyn Fn(&Webhook) -> Vec<Fault>;

/// Reads a new webhook. Its id is `id` unless the document names one.
///
/// # Errors
/// The fields that cannot be taken.
pub fn new(id: &WebhookId, mut document: Value, judge: Judge<'_>) -> Result<(Webhook, Generated), Vec<Fault>> {
    let fields = object(&mut document)?;
    let mut faults = unknown(fields, false);
    fields.retain(|name, value| FIELDS.contains(&&**name) && !value.is_null() || name == "id");
    fields.entry("id").or_insert_with(|| json!(id));
    let generated = generate(fields, &mut faults);
    finish(&document, faults, judge).map(|webhook| (webhook, generated))
}

/// Lays a merge patch (RFC 7396) over a webhook. A masked secret keeps what there was; another scheme, host or port
/// drops credentials that are not sent again with it.
///
/// # Errors
/// The fields that cannot be taken.
pub fn patched(webhook: &Webhook, mut patch: Value, judge: Judge<'_>) -> Result<(Webhook, Generated), Vec<Fault>> {
    let fields = object(&mut patch)?;
    let mut faults = unknown(fields, true);
    let account = fields.get("account_id");
    if account.is_some_and(|account| *account != json!(webhook.account_id)) {
        faults.push(Fault::new(
            "account_id",
            "cannot be changed; add the webhook to the other account",
        ));
    }
    fields.retain(|name, _| FIELDS.contains(&&**name));
    let generated = generate(fields, &mut faults);
    let moved = fields
        .get("url")
        .and_then(Value::as_str)
        .is_some_and(|url| !same_origin(url, &webhook.url));
    let mut document = exposed(webhook);
    let dropped = if moved {
        drop_credentials(&mut document, fields)
    } else {
        Vec::new()
    };
    keep_masked(&mut patch, &document, &dropped);
    merge(&mut document, patch);
    finish(&document, faults, judge).map(|webhook| (webhook, generated))
}

fn object(document: &mut Value) -> Result<&mut Map<String, Value>, Vec<Fault>> {
    const SHAPE: &str = "must be a JSON object";
    document.as_object_mut().ok_or_else(|| vec![Fault::new("", SHAPE)])
}

fn unknown(fields: &Map<String, Value>, of_patch: bool) -> Vec<Fault> {
    let known = |name: &str| FIELDS.contains(&name) || KEPT.contains(&name) && (of_patch || name == "id");
    let strange = fields.keys().filter(|name| !known(name));
    strange
        .map(|name| {
            let shown: String = name.escape_debug().take(64).collect();
            let kept = if KEPT.contains(&&**name) {
                "is set by postrider"
            } else {
                "is no field of a webhook"
            };
            Fault::new(shown, kept)
        })
        .collect()
}

/// `{"signing": {"generate": true}}` makes a secret.
fn generate(fields: &mut Map<String, Value>, faults: &mut Vec<Fault>) -> Generated {
    let signing = fields.get_mut("signing")?.as_object_mut()?;
    match signing.remove("generate")? {
        Value::Bool(true) if signing.is_empty() => {}
        Value::Bool(true) => {
            faults.push(Fault::new(
                "signing",
                "asks for a new secret and gives one; do one of the two",
            ));
            return None;
        }
        Value::Bool(false) => return None,
        _ => {
            faults.push(Fault::new("signing.generate", "must be true or false"));
            return None;
        }
    }
    let secret = sign::new_secret();
    signing.insert("secret".to_owned(), json!(secret.expose()));
    Some(secret)
}

/// Whether two URLs name one scheme, host and port. What cannot be read is another.
pub(crate) fn same_origin(a: &str, b: &str) -> bool {
    let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin());
    origin(a).is_some() && origin(a) == origin(b)
}

/// Takes out the credentials that are not sent again; returns which there were.
fn drop_credentials(document: &mut Value, sent: &Map<String, Value>) -> Vec<&'static str> {
    let sent_again = |name: &str, secret: &str| {
        let given = sent.get(name).and_then(|field| field.get(secret)?.as_str());
        given.is_some_and(|given| given != MASK)
    };
    let all = [("auth", "password"), ("header", "value"), ("tls", "key")];
    let dropped = all
        .into_iter()
        .filter(|(name, secret)| !document[*name].is_null() && !sent_again(name, secret));
    let dropped: Vec<&str> = dropped.map(|(name, _)| name).collect();
    for name in &dropped {
        document[*name] = Value::Null;
    }
    dropped
}

/// Takes masks out of a patch that have a secret behind them, and whole the credentials that were just dropped. A mask
/// with nothing behind it stays, for whoever looks for those.
fn keep_masked(patch: &mut Value, document: &Value, dropped: &[&str]) {
    for pointer in SECRETS {
        if patch.pointer(pointer).and_then(Value::as_str) != Some(MASK) {
            continue;
        }
        let top = pointer[1..].split('/').next().unwrap_or_default();
        let (parent, name) = if dropped.contains(&top) {
            ("", top)
        } else if document.pointer(pointer).is_some_and(Value::is_string) {
            pointer.rsplit_once('/').expect("a pointer has a slash")
        } else {
            continue;
        };
        if let Some(object) = patch.pointer_mut(parent).and_then(Value::as_object_mut) {
            object.remove(name);
        }
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().expect("it was just made one");
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            // A filter is one value: conditions are replaced, never mixed.
            let inner = fields.entry(name.clone()).or_insert(Value::Null);
            if name == "filter" {
                *inner = value;
            } else {
                merge(inner, value);
            }
        }
    }
}

fn missing(document: &Value) -> Vec<Fault> {
    let missing = NEEDED.iter().filter(|(name, _)| document.get(name).is_none());
    missing
        .map(|(name, example)| Fault::new(*name, format!("is missing; give one like {example}")))
        .collect()
}

fn masks(document: &Value) -> Vec<Fault> {
    let masked = SECRETS
        .iter()
        .filter(|pointer| document.pointer(pointer).and_then(Value::as_str) == Some(MASK));
    masked
        .map(|pointer| {
            let reason = "is the mask, and there is no secret behind it to keep; send the secret itself";
            Fault::new(pointer[1..].replace('/', "."), reason)
        })
        .collect()
}

/// Reads the fields one by one, so that each that cannot be taken is named. What is wrong with the others is told with
/// them.
fn finish(document: &Value, mut faults: Vec<Fault>, judge: Judge<'_>) -> Result<Webhook, Vec<Fault>> {
    faults.extend(missing(document));
    faults.extend(masks(document));
    let sample = json!({ "id": "x", "url": NEEDED[0].1, "events": ["order_shipped"] });
    let mut sound = sample.clone();
    for (name, value) in document.as_object().into_iter().flatten() {
        let mut alone = sample.clone();
        alone[name] = value.clone();
        match read(alone) {
            Ok(_) => sound[name] = value.clone(),
            Err(fault) => faults.push(fault),
        }
    }
    let webhook = read(sound).map_err(|fault| vec![fault])?;
    // What stands in for a field that cannot be taken was not sent by anybody.
    let mut others = judge(&webhook);
    others.retain(|other| !faults.iter().any(|known| is_about_the_same(known, other)));
    faults.extend(others);
    if faults.is_empty() { Ok(webhook) } else { Err(faults) }
}

/// Whether one of two faults is of what the other is of, or of a part of it.
fn is_about_the_same(one: &Fault, other: &Fault) -> bool {
    let holds = |whole: &Fault, part: &Fault| {
        let rest = part.path.strip_prefix(&*whole.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    holds(one, other) || holds(other, one)
}

fn read(document: Value) -> Result<Webhook, Fault> {
    serde_path_to_error::deserialize(document).map_err(|error| unreadable(&error, plain(error.inner())))
}

/// The fault of what cannot be read, in these words. Of a field that is missing serde tells the name in its own words
/// only.
#[must_use]
pub fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>, reason: String) -> Fault {
    let path = error.path().to_string();
    let path = if path == "." { "" } else { &*path };
    let text = error.inner().to_string();
    let missing = text
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next());
    match missing {
        Some(name) => Fault::new(name, "is missing").under(path),
        None => Fault::new(path, reason),
    }
}

/// serde's words without the value, which may be a secret.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let expected = text.find("expected").map(|at| &text[at..]);
    match expected {
        _ if text.starts_with("unknown field")
            || text.starts_with("a webhook id")
            || text.starts_with("an account") =>
        {
            text
        }
        Some("expected u8" | "expected u32" | "expected u64") => {
            "cannot be taken; expected a whole number that is not below 0, nor far beyond any use".to_owned()
        }
        Some(expected) => format!("cannot be taken; {expected}"),
        None => "cannot be taken".to_owned(),
    }
}

#[cfg(test)]
mod tests;
