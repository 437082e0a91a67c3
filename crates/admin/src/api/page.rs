//! The OpenAPI document as a page for people: HTML made here, without scripts and without anything from elsewhere.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
code,pre{font:14px/1.5 ui-monospace,monospace}pre{overflow:auto;background:#f4f5f7;padding:1rem}\
h2{margin-top:2.5rem;border-bottom:1px solid #d0d7de}h3 b{text-transform:uppercase;margin-right:.5rem}\
table{border-collapse:collapse}th,td{border:1px solid #d0d7de;padding:.25rem .5rem;text-align:left;vertical-align:top}\
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}pre{background:#1f2428}a{color:#79b8ff}}";

/// The policy under which a browser shows the page: its one style, and nothing else.
pub(crate) fn policy() -> String {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The page.
pub(crate) fn html(document: &Value) -> String {
    let mut body = String::new();
    for (path, methods) in fields(&document["paths"]) {
        for (method, operation) in fields(methods) {
            body.push_str(&route(document, path, method, operation));
        }
    }
    let schemas = fields(&document["components"]["schemas"]).map(|(name, schema)| {
        let text = serde_json::to_string_pretty(schema).unwrap_or_default();
        format!("<h3 id=\"{0}\">{0}</h3><pre>{1}</pre>", escaped(name), escaped(&text))
    });
    let schemas: String = schemas.collect();
    let (title, told) = (text(&document["info"]["title"]), text(&document["info"]["description"]));
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title} API</title><style>{STYLE}</style></head><body><main>\
         <h1>{title} API {}</h1><p>{told}</p><p>For programs: <a href=\"/openapi.json\">openapi.json</a></p>\
         <h2>Routes</h2>{body}<h2>Schemas</h2>{schemas}</main></body></html>",
        text(&document["info"]["version"])
    )
}

fn route(document: &Value, path: &str, method: &str, operation: &Value) -> String {
    let mut html = format!(
        "<h3><b>{}</b><code>{}</code></h3><p>{}</p>",
        escaped(method),
        escaped(path),
        text(&operation["summary"])
    );
    if !operation["description"].is_null() {
        let _ = write!(html, "<p>{}</p>", text(&operation["description"]));
    }
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(parameter);
    html.push_str(&table(["Parameter", "In", "Meaning"], parameters));
    let bodies = fields(&operation["requestBody"]["content"]).map(|(kind, body)| body_row("", kind, body));
    html.push_str(&table(["", "Body", "Schema"], bodies));
    let answers = fields(&operation["responses"]).map(|(status, answer)| answer_row(document, status, answer));
    html.push_str(&table(["Answer", "Meaning", "Schema"], answers));
    html
}

fn parameter(parameter: &Value) -> [String; 3] {
    let name = format!("<code>{}</code>", text(&parameter["name"]));
    [name, text(&parameter["in"]), text(&parameter["description"])]
}

fn body_row(first: &str, kind: &str, body: &Value) -> [String; 3] {
    [escaped(first), escaped(kind), link(&body["schema"])]
}

fn answer_row(document: &Value, status: &str, answer: &Value) -> [String; 3] {
    let pointer = answer["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix('#'));
    let answer = pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(answer);
    let schema = fields(&answer["content"]).map(|(_, body)| link(&body["schema"])).next();
    [
        escaped(status),
        text(&answer["description"]),
        schema.unwrap_or_default(),
    ]
}

/// A link to a schema on this page.
fn link(schema: &Value) -> String {
    let name = schema["$ref"]
        .as_str()
        .and_then(|reference| reference.rsplit('/').next());
    name.map(|name| format!("<a href=\"#{0}\">{0}</a>", escaped(name)))
        .unwrap_or_default()
}

fn table(heads: [&str; 3], rows: impl Iterator<Item = [String; 3]>) -> String {
    let rows: String = rows
        .map(|row| format!("<tr><td>{}</td></tr>", row.join("</td><td>")))
        .collect();
    if rows.is_empty() {
        return rows;
    }
    format!("<table><tr><th>{}</th></tr>{rows}</table>", heads.join("</th><th>"))
}

fn fields(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_is_in_the_document_stays_text() {
        let evil = "<script>\"'&";
        let html = html(&json!({
            "info": { "title": evil, "description": evil },
            "paths": { evil: { "get": { "summary": evil, "responses": { "200": { "description": evil } } } } },
            "components": { "schemas": { evil: { "description": evil } } }
        }));
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;&quot;&#39;&amp;"), "{html}");
    }
}
