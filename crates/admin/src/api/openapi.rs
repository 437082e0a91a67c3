//! The OpenAPI document: the routes as they are written on their functions, completed with what all of them share.

mod problems;
pub(super) mod schemas;

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::{catalog, change, explain, logs, read, replays, reseal, transmit, what_if};
use crate::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "postrider",
        description = "Adds, changes and tests webhooks, and tells what became of deliveries. Errors are RFC 9457 problems. Secrets are answered as \
                       `********`, and a mask that is sent back keeps the secret. What is not a parameter, a field or \
                       a route is refused."
    ),
    tags(
        (name = "webhooks", description = "Endpoints and what they get."),
        (name = "logs", description = "What deliveries came to, from the index of the results topic."),
        (name = "replays", description = "Deliveries that are made again."),
        (name = "routing", description = "What would become of an event, and what became of one."),
        (name = "catalog", description = "What there is to choose from."),
        (name = "secrets", description = "The keys that seal secrets."),
        (name = "process", description = "How postrider is. These need no token."),
    ),
    paths(
        read::list,
        change::add,
        read::one,
        change::edit,
        change::remove,
        transmit::test,
        change::enable,
        change::disable,
        change::rotate_secret,
        what_if::route,
        explain::explain,
        logs::list,
        logs::delivery,
        logs::stats,
        catalog::event_types,
        catalog::statuses,
        reseal::rotate,
        replays::list,
        replays::add,
        replays::one,
        routes::health,
        routes::live,
        routes::ready,
        routes::metrics,
        routes::openapi,
        routes::docs,
    )
)]
struct Written;

/// The whole document.
pub(crate) fn document() -> Value {
    let mut document = serde_json::to_value(Written::openapi()).expect("the document is JSON");
    for (path, method, operation) in operations(&mut document) {
        complete(&path, &method, operation);
    }
    document["components"] = json!({
        "schemas": schemas::all(),
        "responses": problems::all(),
        "securitySchemes": {
            "token": { "type": "http", "scheme": "bearer", "description": "One of admin.tokens; none where there are none." }
        }
    });
    document
}

/// Every operation with its path and its method.
fn operations(document: &mut Value) -> impl Iterator<Item = (String, String, &mut Map<String, Value>)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object_mut().into_iter().flatten();
        methods.filter_map(move |(method, operation)| Some((path.clone(), method.clone(), operation.as_object_mut()?)))
    })
}

fn complete(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let is_api = path.starts_with("/api/");
    if is_api {
        operation.insert("security".to_owned(), json!([{}, { "token": [] }]));
    }
    if path.starts_with("/api/v1/replays/{id}") {
        name(operation, "The replay's id.", schemas::REPLAY_ID);
    } else if path.starts_with("/api/v1/webhooks/{id}") {
        name(operation, "The webhook's id.", schemas::WEBHOOK_ID);
    }
    operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .for_each(be_given);
    if let Some(body) = operation.get_mut("requestBody") {
        body["required"] = json!(!path.ends_with("/test"));
    }
    let writes = is_api && method != "get";
    let has_body = operation.contains_key("requestBody");
    let Some(answers) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    problems::describe(answers);
    for (status, can_be) in [
        ("400", is_api),
        ("401", is_api),
        ("403", writes),
        ("404", path.contains("{id}")),
        ("405", true),
        ("413", true),
        ("415", has_body),
        ("421", true),
        ("429", is_api),
        ("503", true),
    ] {
        if can_be && !answers.contains_key(status) {
            answers.insert(
                status.to_owned(),
                json!({ "$ref": format!("#/components/responses/{status}") }),
            );
        }
    }
}

/// What a version looks like in If-Match.
const VERSION: &str = "^(\\*|[0-9]{1,19}|\"[0-9]{1,19}\")$";

/// A parameter that is not given is left out: it is never null.
fn be_given(parameter: &mut Value) {
    if parameter["name"] == "If-Match" {
        parameter["schema"]["pattern"] = json!(VERSION);
    }
    let kind = &mut parameter["schema"]["type"];
    if let Some(first) = kind.get(0).cloned() {
        *kind = first;
    }
}

fn name(operation: &mut Map<String, Value>, description: &str, pattern: &str) {
    let id = json!({
        "name": "id",
        "in": "path",
        "required": true,
        "description": description,
        "schema": { "type": "string", "pattern": pattern }
    });
    let others = operation.remove("parameters");
    let others = others.and_then(|others| others.as_array().cloned()).unwrap_or_default();
    let parameters = [id].into_iter().chain(others).collect();
    operation.insert("parameters".to_owned(), Value::Array(parameters));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::{reading, writing};

    #[test]
    fn every_route_is_in_the_document_and_nothing_else_of_the_api() {
        let mut document = document();
        let documented: BTreeSet<String> = operations(&mut document).map(|(path, ..)| path).collect();
        let documented = documented
            .iter()
            .filter(|path| path.starts_with("/api/"))
            .map(String::as_str);
        let routed = reading().into_iter().chain(writing()).map(|(path, _)| path);
        assert_eq!(documented.collect::<BTreeSet<_>>(), routed.collect::<BTreeSet<_>>());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        let references = text
            .split("\"$ref\":\"#")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap());
        let dangling = references.filter(|pointer| document.pointer(pointer).is_none());
        assert_eq!(dangling.collect::<BTreeSet<_>>(), BTreeSet::new());
    }
}
