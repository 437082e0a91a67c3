//! What a person is told of a webhook that was added or changed.

use serde_json::Value;

use crate::cli::text::{plain, text_at};
use crate::visible::visible;

/// What a secret is shown as where it is not told. It is the API's own mask.
pub(super) const MASK: &str = postrider_types::secret::MASK;

/// The lines about a signing secret that was made, if the answer has one.
pub(super) fn generated(answer: &Value) -> Option<String> {
    let secret = text_at(answer, "/signing/secret");
    let is_told = !secret.is_empty() && secret != MASK;
    is_told.then(|| {
        format!(
            "signing secret: {}\n  it is shown only this once: keep it now, where the endpoint can read it",
            visible(secret)
        )
    })
}

/// The lines about a first connection, if there was one.
pub(super) fn first_connection(answer: &Value) -> Option<String> {
    let first = answer.get("first_connection").filter(|first| first.is_object())?;
    let message = visible(text_at(first, "/message"));
    let passed = first["passed"] == true;
    let mut lines = vec![match (passed, &*message) {
        (true, "") => "first connection: passed".to_owned(),
        (true, message) => format!("first connection: passed: {message}"),
        (false, message) => format!("first connection: FAILED: {message}"),
    }];
    lines.extend(hint(first));
    if !passed {
        let id = plain(&answer["id"]);
        lines.push(format!(
            "  the webhook is kept all the same; try again with `postrider webhooks test {id}`"
        ));
    }
    Some(lines.join("\n"))
}

/// The hint of a test or a first connection.
pub(super) fn hint(answer: &Value) -> Option<String> {
    let hint = text_at(answer, "/hint");
    (!hint.is_empty()).then(|| format!("  hint: {}", visible(hint)))
}

/// A first line and what follows from the answer.
pub(super) fn with_consequences(first: String, answer: &Value, asked_for_secret: bool) -> String {
    let secret = asked_for_secret.then(|| generated(answer)).flatten();
    let lines = [Some(first), secret, first_connection(answer)];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}
