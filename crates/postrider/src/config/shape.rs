//! What the schema allows at a path: for reading text as the right type, and for saying what would be right.

use postrider_types::units::{ByteSize, duration};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::path::{Path, Step};

/// How deep references within one place may go.
const MAX_REFERENCES: usize = 16;

/// The schema of the whole configuration.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) root: Value,
}

/// Texts of a form that has a name, by the pattern that checks them.
struct NamedForms([(String, &'static str); 2]);

impl NamedForms {
    fn new() -> Self {
        let mut generator = SchemaGenerator::default();
        let pattern = |schema: &schemars::Schema, pointer: &str| {
            let found = schema.pointer(pointer).and_then(Value::as_str);
            found.expect("texts with a form have a pattern").to_owned()
        };
        let duration = pattern(&duration::schema(&mut generator), "/pattern");
        let size = pattern(&ByteSize::json_schema(&mut generator), "/anyOf/0/pattern");
        Self([
            (duration, "a duration such as 15s, 100ms or 5d"),
            (size, "a size such as 256KiB or 64MiB"),
        ])
    }

    fn phrase(&self, pattern: &str) -> String {
        let named = self.0.iter().find(|(known, _)| known == pattern);
        named.map_or_else(
            || format!("text of the form {pattern}"),
            |(_, phrase)| (*phrase).to_owned(),
        )
    }
}

/// All that may stand in one place: a schema for each alternative, references followed.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    shape: &'a Shape,
    alternatives: Vec<&'a Value>,
}

impl Shape {
    /// What may stand at a path; without alternatives when nothing may.
    pub(crate) fn at(&self, path: &Path) -> Place<'_> {
        let mut alternatives = self.expand(&self.root, MAX_REFERENCES);
        for step in &path.0 {
            let inner = alternatives.into_iter().filter_map(|node| enter(node, step));
            alternatives = inner.flat_map(|node| self.expand(node, MAX_REFERENCES)).collect();
        }
        Place {
            shape: self,
            alternatives,
        }
    }

    fn expand<'a>(&'a self, node: &'a Value, depth: usize) -> Vec<&'a Value> {
        let Some(depth) = depth.checked_sub(1) else {
            return Vec::new();
        };
        if let Some(target) = node.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return target.map_or_else(Vec::new, |target| self.expand(target, depth));
        }
        let branches: Vec<&Value> = ["anyOf", "oneOf"]
            .iter()
            .filter_map(|word| node.get(word)?.as_array())
            .flatten()
            .collect();
        if branches.is_empty() {
            return vec![node];
        }
        branches
            .into_iter()
            .flat_map(|branch| self.expand(branch, depth))
            .collect()
    }
}

fn enter<'a>(node: &'a Value, step: &Step) -> Option<&'a Value> {
    match step {
        Step::Key(key) => {
            let named = node.get("properties").and_then(|properties| properties.get(key));
            named.or_else(|| {
                node.get("additionalProperties")
                    .filter(|schema| **schema != Value::Bool(false))
            })
        }
        Step::Index(_) => node.get("items"),
    }
}

impl<'a> Place<'a> {
    /// Reads a text that came from a variable, a flag or a reference as what may stand here. Where text may
    /// stand it stays text: a port number in place of a name is a name. Lists and mappings are JSON.
    pub(crate) fn read(&self, text: &str) -> Value {
        let parsed = serde_json::from_str::<Value>(text).ok();
        if !self.allows("string") {
            return parsed.unwrap_or_else(|| text.into());
        }
        match parsed {
            Some(Value::Null) if self.allows("null") => Value::Null,
            Some(list @ Value::Array(_)) if self.allows("array") => list,
            Some(mapping @ Value::Object(_)) if self.allows("object") => mapping,
            _ => text.into(),
        }
    }

    /// The names a mapping here may hold; empty when it may hold any.
    pub(crate) fn keys(&self) -> Vec<&'a str> {
        let properties = self
            .alternatives
            .iter()
            .filter_map(|node| node.get("properties")?.as_object());
        properties.flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// Whether a wrong value may be shown: never where any text is right, or what holds such text, for it may be a
    /// secret.
    pub(crate) fn is_showable(&self) -> bool {
        !self.takes_any_text() && self.alternatives.iter().all(|node| self.holds_showable(node))
    }

    /// Whether nothing that stands within an alternative has to be hidden.
    fn holds_showable(&self, node: &Value) -> bool {
        let items = |items| Place {
            shape: self.shape,
            alternatives: self.shape.expand(items, MAX_REFERENCES),
        };
        let is_list = is_type(node, "array");
        let list = !is_list || node.get("items").is_some_and(|node| items(node).is_showable());
        list && !is_type(node, "object")
    }

    /// Whether any text is right here.
    pub(crate) fn takes_any_text(&self) -> bool {
        let free = |node: &&Value| is_type(node, "string") && node.get("pattern").is_none() && words(node).is_empty();
        self.alternatives.iter().any(free)
    }

    /// What would be right here, in words.
    pub(crate) fn expected(&self) -> String {
        let forms = NamedForms::new();
        let mut phrases: Vec<String> = Vec::new();
        for phrase in self.alternatives.iter().flat_map(|node| phrases_of(node, &forms)) {
            if !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
        match phrases.split_last() {
            None => "nothing".to_owned(),
            Some((only, [])) => only.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
        }
    }

    fn allows(&self, kind: &str) -> bool {
        self.alternatives.iter().any(|node| is_type(node, kind))
    }
}

fn is_type(node: &Value, kind: &str) -> bool {
    match node.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => node
            .get("const")
            .map_or_else(|| words(node).is_empty(), |_| kind == "string"),
    }
}

/// The fixed words a schema allows.
fn words(node: &Value) -> Vec<&Value> {
    let several = node.get("enum").and_then(Value::as_array).into_iter().flatten();
    several.chain(node.get("const")).collect()
}

fn phrases_of(node: &Value, forms: &NamedForms) -> Vec<String> {
    let words = words(node);
    if !words.is_empty() {
        return words
            .iter()
            .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned))
            .collect();
    }
    if let Some(pattern) = node.get("pattern").and_then(Value::as_str) {
        return vec![forms.phrase(pattern)];
    }
    let kinds = ["string", "integer", "number", "boolean", "array", "object", "null"];
    kinds
        .iter()
        .filter(|kind| is_type(node, kind))
        .map(|kind| phrase(kind).to_owned())
        .collect()
}

fn phrase(kind: &str) -> &'static str {
    match kind {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        _ => "null",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shape() -> Shape {
        Shape {
            root: json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "path": {"type": ["string", "null"]},
                    "count": {"type": "integer"},
                    "start": {"$ref": "#/$defs/Start"},
                    "wait": {"type": "string", "pattern": "s$"},
                    "dns": {"anyOf": [{"type": "string", "const": "system"}, {"type": "array", "items": {"type": "string"}}]},
                    "hooks": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/Hook"}, {"type": "null"}]}},
                    "loose": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
                },
                "$defs": {
                    "Start": {"oneOf": [{"type": "string", "const": "earliest"}, {"type": "string", "const": "latest"}]},
                    "Hook": {"type": "object", "properties": {"url": {"type": "string"}, "id": {"type": "string"}}},
                },
            }),
        }
    }

    fn read(path: &str, text: &str) -> Value {
        shape().at(&Path::from_text(path, &Value::Null)).read(text)
    }

    #[test]
    fn text_stays_text_where_text_is_wanted() {
        assert_eq!(read("name", "9092"), json!("9092"));
        assert_eq!(read("name", "null"), json!("null"));
        assert_eq!(read("path", "null"), Value::Null);
        assert_eq!(read("start", "true"), json!("true"));
        assert_eq!(read("loose.x", "1.10"), json!("1.10"));
        assert_eq!(read("dns", "system"), json!("system"));
    }

    #[test]
    fn text_becomes_what_is_wanted_elsewhere() {
        assert_eq!(read("count", "17"), json!(17));
        assert_eq!(read("count", "many"), json!("many"));
        assert_eq!(read("dns", r#"["1.1.1.1:53"]"#), json!(["1.1.1.1:53"]));
        assert_eq!(read("hooks", r#"[{"url":"x"}]"#), json!([{"url": "x"}]));
    }

    #[test]
    fn says_what_would_be_right() {
        let shape = shape();
        let expected = |path: &str| shape.at(&Path::from_text(path, &Value::Null)).expected();
        assert_eq!(expected("start"), "earliest or latest");
        assert_eq!(expected("wait"), "text of the form s$");
        assert_eq!(expected("hooks[0]"), "a mapping or null");
        assert_eq!(expected("loose.x"), "text, a number or true or false");
        assert_eq!(expected("nowhere"), "nothing");
    }

    #[test]
    fn knows_the_keys_of_a_mapping_behind_alternatives() {
        let shape = shape();
        let mut keys = shape.at(&Path::from_text("hooks[7]", &Value::Null)).keys();
        keys.sort_unstable();
        assert_eq!(keys, ["id", "url"]);
    }

    #[test]
    fn free_text_is_never_shown() {
        let shape = shape();
        let showable = |path: &str| shape.at(&Path::from_text(path, &Value::Null)).is_showable();
        assert!(showable("count") && showable("wait") && showable("start"));
        assert!(!showable("name") && !showable("path") && !showable("hooks[0]") && !showable("loose.x"));
        assert!(!showable("hooks") && !showable("loose") && !showable("dns"));
    }
}
