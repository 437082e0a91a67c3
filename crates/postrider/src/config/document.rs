//! The configuration file: YAML, read into JSON together with the line of every field.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use super::path::Path;

/// What a file says, and on which line it says it.
#[derive(Default)]
pub(crate) struct Document {
    /// The file's content; an empty file is an empty mapping.
    pub(crate) value: Value,
    /// The line of each field, from 1.
    pub(crate) lines: BTreeMap<Path, u64>,
}

/// Why a text is not YAML. Shows no part of the text: it may hold secrets.
#[derive(Debug)]
pub(crate) struct BadSyntax {
    /// From 1, where known.
    pub(crate) line: Option<u64>,
    /// From 1, where known.
    pub(crate) column: Option<u64>,
    pub(crate) reason: String,
}

/// Reads a YAML document.
pub(crate) fn parse(text: &str) -> Result<Document, BadSyntax> {
    let root: Option<Node> = serde_saphyr::from_str(text).map_err(|error| bad_syntax(&error))?;
    let mut lines = BTreeMap::new();
    let value = root.map_or(Value::Null, |root| root.into_value(&Path::default(), &mut lines));
    let value = if value.is_null() {
        Value::Object(Map::new())
    } else {
        value
    };
    Ok(Document { value, lines })
}

fn bad_syntax(error: &serde_saphyr::Error) -> BadSyntax {
    let place = error.location();
    // The plain message ends in its own account of the place.
    let message = error.without_snippet().to_string();
    let message = message.lines().next().unwrap_or_default();
    let reason = message.rfind(" at line ").map_or(message, |end| &message[..end]);
    BadSyntax {
        line: place.map(|place| place.line()),
        column: place.map(|place| place.column()),
        reason: format!("is not YAML: {reason}"),
    }
}

/// A YAML node whose children know their lines.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Mapping(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Node {
    fn into_value(self, path: &Path, lines: &mut BTreeMap<Path, u64>) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => {
                let items = items.into_iter().enumerate().map(|(at, item)| {
                    let path = path.index(at);
                    lines.insert(path.clone(), item.referenced.line());
                    item.value.into_value(&path, lines)
                });
                Value::Array(items.collect())
            }
            Self::Mapping(entries) => {
                let entries = entries.into_iter().map(|(key, value)| {
                    let path = path.key(&key.value);
                    lines.insert(path.clone(), key.referenced.line());
                    let value = value.value.into_value(&path, lines);
                    (key.value, value)
                });
                Value::Object(entries.collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar, a list or a mapping")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("infinity and NaN are no numbers here"))?;
        Ok(Node::Scalar(number.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = mapping.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_knows_its_line() {
        let text = "# a comment\nkafka:\n  brokers: \"b:9092\"\nrouting:\n  webhooks:\n    - id: a\n      url: http://x\n    - {id: b}\n";
        let document = parse(text).unwrap();
        assert_eq!(
            document.value,
            json!({"kafka": {"brokers": "b:9092"}, "routing": {"webhooks": [{"id": "a", "url": "http://x"}, {"id": "b"}]}})
        );
        let line = |path: &str| document.lines.get(&Path::from_text(path, &document.value)).copied();
        assert_eq!(line("kafka"), Some(2));
        assert_eq!(line("kafka.brokers"), Some(3));
        assert_eq!(line("routing.webhooks[0].url"), Some(7));
        assert_eq!(line("routing.webhooks[1]"), Some(8));
        assert_eq!(line("routing.webhooks[1].id"), Some(8));
    }

    #[test]
    fn scalars_keep_their_types() {
        let document =
            parse("{a: 1, b: -2, c: 1.5, d: true, e: null, f: ~, g: '1', h: 15s, i: 18446744073709551615}").unwrap();
        let expected = json!({"a": 1, "b": -2, "c": 1.5, "d": true, "e": null, "f": null, "g": "1", "h": "15s",
                              "i": 18_446_744_073_709_551_615_u64});
        assert_eq!(document.value, expected);
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", "\n", "# only a comment\n", "---\n"] {
            assert_eq!(parse(text).unwrap().value, json!({}), "{text:?}");
        }
    }

    #[test]
    fn bad_syntax_is_placed_and_shows_no_content() {
        for (text, line) in [
            ("a: 1\nb: [1, 2\npassword: hunter2\n", 3),
            ("a: 1\n  password: hunter2\n", 2),
            ("password: hunter2\npassword: hunter2\n", 2),
            ("a: 1\nb: .inf\n", 2),
        ] {
            let error = parse(text).err().unwrap();
            assert_eq!(error.line, Some(line), "{text:?}: {error:?}");
            assert!(!error.reason.contains("hunter2"), "{error:?}");
            assert!(
                !error.reason.contains('\n') && !error.reason.contains(" line "),
                "{error:?}"
            );
        }
    }
}
