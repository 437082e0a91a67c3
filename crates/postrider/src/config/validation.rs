//! The document against the schema: every fault at once, in words, without the value of a secret.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::path::Path;
use super::shape::Shape;

/// The longest value that is shown.
const MAX_SHOWN: usize = 60;
/// The most edits between a typo and what was meant.
const MAX_EDITS: usize = 3;

/// A field that does not fit the schema.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) path: Path,
    pub(crate) reason: String,
}

/// All that does not fit, each place once.
pub(crate) fn misfits(shape: &Shape, document: &Value) -> Vec<Misfit> {
    let validator = jsonschema::validator_for(&shape.root).expect("the derived schema is a schema");
    let mut found: Vec<Misfit> = Vec::new();
    for error in validator.iter_errors(document) {
        for misfit in explain(&error, shape, document) {
            if !found.contains(&misfit) {
                found.push(misfit);
            }
        }
    }
    found
}

fn explain(error: &ValidationError<'_>, shape: &Shape, document: &Value) -> Vec<Misfit> {
    let path = Path::from_pointer(error.instance_path().as_str(), document);
    let at = |path: Path, reason: String| vec![Misfit { path, reason }];
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let meant = context
                .iter()
                .find(|errors| errors.iter().all(|inner| is_inside(inner, &path, document)));
            let inner = meant.map(|errors| {
                errors
                    .iter()
                    .flat_map(|inner| explain(inner, shape, document))
                    .collect()
            });
            inner.unwrap_or_else(|| at(path.clone(), wrong_value(&path, shape, document)))
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = shape.at(&path).keys();
            unexpected
                .iter()
                .map(|key| Misfit {
                    path: path.key(key),
                    reason: unknown_key(key, &known),
                })
                .collect()
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            at(path.key(key), "is missing".to_owned())
        }
        ValidationErrorKind::Minimum { limit } => at(path, format!("must be at least {limit}")),
        ValidationErrorKind::Maximum { limit } => at(path, format!("must be at most {limit}")),
        ValidationErrorKind::Type { .. }
        | ValidationErrorKind::Enum { .. }
        | ValidationErrorKind::Constant { .. }
        | ValidationErrorKind::Pattern { .. } => {
            let reason = wrong_value(&path, shape, document);
            at(path, reason)
        }
        _ => at(path, format!("does not fit: {}", error.masked())),
    }
}

/// Whether an alternative's error is about something within the value, so that this alternative was meant.
fn is_inside(error: &ValidationError<'_>, outer: &Path, document: &Value) -> bool {
    let deeper = Path::from_pointer(error.instance_path().as_str(), document) != *outer;
    let of_mapping = matches!(
        error.kind(),
        ValidationErrorKind::AdditionalProperties { .. } | ValidationErrorKind::Required { .. }
    );
    deeper || of_mapping
}

fn wrong_value(path: &Path, shape: &Shape, document: &Value) -> String {
    let place = shape.at(path);
    let value = path.find(document).unwrap_or(&Value::Null);
    let shown = place.is_showable().then(|| shown(value)).flatten();
    let found = match shown {
        Some(shown) => format!("found {} {shown}", kind_of(value)),
        None => format!("found {}", kind_of(value)),
    };
    let hint = match value {
        Value::Number(_) | Value::Bool(_) if place.takes_any_text() => "; write it in quotes",
        _ => "",
    };
    format!("{found}; expected {}{hint}", place.expected())
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "the switch",
        Value::Number(_) => "the number",
        Value::String(_) => "the text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let cut: String = text.chars().take(MAX_SHOWN).collect();
            Some(format!("`{}`", cut.escape_debug()))
        }
        Value::Bool(_) | Value::Number(_) => Some(format!("`{value}`")),
        _ => None,
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (edits(key, name), name)).min();
    match nearest {
        Some((edits, name)) if edits <= MAX_EDITS.min(name.len() / 2) => {
            format!("is not a setting; did you mean `{name}`?")
        }
        _ => format!("is not a setting; known here: {}", known.join(", ")),
    }
}

/// The number of single-character edits that turn one text into the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reasons(document: &Value) -> Vec<String> {
        let shape = Shape {
            root: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "count": {"type": "integer", "minimum": 1},
                    "wait": {"type": "string", "pattern": "^[0-9]+s$"},
                    "start": {"oneOf": [{"type": "string", "const": "earliest"}, {"type": "string", "const": "latest"}]},
                    "auth": {"anyOf": [{"$ref": "#/$defs/Auth"}, {"type": "null"}]},
                },
                "$defs": {
                    "Auth": {"type": "object", "additionalProperties": false, "required": ["username", "password"],
                             "properties": {"username": {"type": "string"}, "password": {"type": "string"}}},
                },
            }),
        };
        misfits(&shape, document)
            .into_iter()
            .map(|misfit| format!("{}: {}", misfit.path, misfit.reason))
            .collect()
    }

    #[test]
    fn every_misfit_is_named_at_once() {
        let mut found = reasons(
            &json!({"count": 0, "cuont": 1, "wait": 15, "start": "now", "auth": {"username": 1, "pasword": "hunter2"}}),
        );
        found.sort();
        assert_eq!(
            found,
            [
                "auth.password: is missing",
                "auth.pasword: is not a setting; did you mean `password`?",
                "auth.username: found the number; expected text; write it in quotes",
                "count: must be at least 1",
                "cuont: is not a setting; did you mean `count`?",
                "name: is missing",
                "start: found the text `now`; expected earliest or latest",
                "wait: found the number `15`; expected text of the form ^[0-9]+s$",
            ]
        );
    }

    #[test]
    fn values_that_may_be_secret_are_not_shown() {
        for document in [
            json!({"name": "n", "auth": "hunter2"}),
            json!({"name": "n", "auth": {"username": "u", "password": ["hunter2"]}}),
            json!({"name": ["hunter2"]}),
        ] {
            let found = reasons(&document).join("\n");
            assert!(!found.is_empty() && !found.contains("hunter2"), "{found}");
        }
        assert_eq!(reasons(&json!({"name": "n", "auth": null})), [""; 0]);
    }

    #[test]
    fn a_key_unlike_any_is_answered_with_what_is_known() {
        assert_eq!(
            reasons(&json!({"name": "n", "x": 1})),
            ["x: is not a setting; known here: auth, count, name, start, wait"]
        );
    }

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(edits(from, to), count, "{from} {to}");
            assert_eq!(edits(to, from), count, "{to} {from}");
        }
    }
}
