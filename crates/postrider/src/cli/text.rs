//! What the API answered, laid out for a terminal. Every text is made visible on its way.

use serde_json::{Map, Value};

use crate::visible::visible;

/// The order in which a webhook's fields are shown; others follow.
const ORDER: [&str; 13] = [
    "id",
    "account_id",
    "status",
    "disabled_reason",
    "url",
    "description",
    "events",
    "filter",
    "auth",
    "header",
    "retry",
    "signing",
    "tls",
];

/// Columns under their names; the last one is not padded.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let shown = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| visible(cell).into_owned()));
    let lines: Vec<[String; N]> = [head.map(str::to_owned)].into_iter().chain(shown).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or_default()).collect();
    let line = |cells: &[String; N]| {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// An object's fields, each as `name  value`; those of objects within it have dotted names. Null is not shown.
pub(crate) fn fields(object: &Value) -> String {
    let empty = Map::new();
    let object = object.as_object().unwrap_or(&empty);
    let known = ORDER.iter().filter_map(|&name| Some((name, object.get(name)?)));
    let others = object.iter().map(|(name, value)| (name.as_str(), value));
    let others = others.filter(|(name, _)| !ORDER.contains(name));
    let mut rows = Vec::new();
    for (name, value) in known.chain(others) {
        flatten(name, value, &mut rows);
    }
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or_default();
    let lines = rows.iter().map(|(name, value)| format!("{name:width$}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn flatten(path: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        // A filter is one value, whose own keys may hold dots.
        Value::Object(inner) if path != "filter" => {
            for (name, value) in inner {
                flatten(&format!("{path}.{name}"), value, rows);
            }
        }
        Value::Null => {}
        Value::String(pem) if path == "tls.certificate" => rows.push((path.to_owned(), sections(pem))),
        value => rows.push((visible(path).into_owned(), plain(value))),
    }
}

/// How much of a chain there is; who wants to read it asks for JSON.
fn sections(pem: &str) -> String {
    match pem.matches("-----BEGIN CERTIFICATE-----").count() {
        1 => "1 certificate".to_owned(),
        count => format!("{count} certificates"),
    }
}

/// A value without JSON's quotes where it is a text, and without brackets where it is a list of texts.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => visible(text).into_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        other => visible(&other.to_string()).into_owned(),
    }
}

/// A text of several lines, each indented and made visible.
pub(crate) fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("  {}", visible(line)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The text at a path of an answer; empty where there is none.
pub(crate) fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tables_columns_stand_under_their_names() {
        let rows = [["a", "x\ny"], ["bbb", "z"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["ID", "URL"], &rows), "ID   URL\na    x\\ny\nbbb  z");
        assert_eq!(table(["ID", "URL"], &[]), "ID  URL");
    }

    #[test]
    fn fields_have_dotted_names_and_null_is_not_shown() {
        let webhook = json!({"version": 3, "url": "https://h", "id": "wh_1", "events": ["a", "b"], "timeout_ms": null,
                             "auth": {"username": "u\u{1b}"}, "filter": {"a.b": [1]},
                             "tls": {"key": "********", "certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n"}});
        let lines = [
            "id               wh_1",
            "url              https://h",
            "events           a, b",
            "filter           {\"a.b\":[1]}",
            "auth.username    u\\u{1b}",
            "tls.certificate  1 certificate",
            "tls.key          ********",
            "version          3",
        ];
        assert_eq!(fields(&webhook), lines.join("\n"));
    }
}
