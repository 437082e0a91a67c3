//! The problems that routes share.

use serde_json::{Map, Value, json};

/// Status, and when it comes.
const SHARED: [(&str, &str); 10] = [
    (
        "400",
        "The request cannot be read: its parameters, its If-Match, or its JSON (malformed, a name given twice, deeper than 32 levels).",
    ),
    (
        "401",
        "A token is needed: there is none, or it is not one of admin.tokens.",
    ),
    (
        "403",
        "The token is not for this: it may only read, or it is for other accounts; or a page of another site asks.",
    ),
    (
        "404",
        "There is nothing of this id, or nothing that the token may know of.",
    ),
    ("405", "The route does not take the method; Allow names those it takes."),
    ("413", "The body is larger than 64 KiB."),
    ("415", "The body does not say that it is JSON."),
    (
        "421",
        "The Host is neither the listener's address nor in admin.allowed_hosts.",
    ),
    ("429", "Too many wrong tokens came from this address."),
    (
        "503",
        "Not now: postrider is starting, Kafka cannot be reached, there is no index of the logs, or there was no answer within 30 s. Where a change may have been made all the same, the detail says so.",
    ),
];

/// `components.responses`
pub(super) fn all() -> Value {
    let responses = SHARED
        .into_iter()
        .map(|(status, description)| (status.to_owned(), response(status, description)));
    Value::Object(responses.collect())
}

fn response(status: &str, description: &str) -> Value {
    let mut response = json!({ "description": description, "content": content() });
    let header = match status {
        "401" => Some(("WWW-Authenticate", "string", "Bearer")),
        "405" => Some(("Allow", "string", "The methods that the route takes.")),
        "429" => Some(("Retry-After", "integer", "Seconds to wait.")),
        _ => None,
    };
    if let Some((name, of_type, description)) = header {
        response["headers"] = json!({ name: { "description": description, "schema": { "type": of_type } } });
    }
    response
}

fn content() -> Value {
    json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } })
}

/// Gives the problems that a route has of its own the body that all problems have.
pub(super) fn describe(answers: &mut Map<String, Value>) {
    for (status, answer) in answers.iter_mut() {
        if status.starts_with('4') && answer.get("content").is_none() {
            answer["content"] = content();
        }
    }
}
