//! Whether a change of a JSON Schema breaks somebody. Pure: two documents in, the breaks out.
//!
//! Who reads documents of a schema breaks when something that was there is missing or something new comes where
//! only known things came; who writes them breaks when something is asked or refused that was not. What this
//! cannot judge counts as a break: then the change belongs into a schema of the next version.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Who is on the other side of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// postrider writes, others read.
    Others,
    /// Others write, postrider reads.
    Postrider,
}

/// What only tells people something.
const ANNOTATIONS: [&str; 7] = [
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "$schema",
];
/// What must not become larger for a writer, nor smaller for a reader.
const LEAST: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];
/// The other way around.
const MOST: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];
/// Schemas by name.
const NAMED: [&str; 3] = ["properties", "patternProperties", "$defs"];
/// A single schema.
const NESTED: [&str; 3] = ["items", "additionalProperties", "propertyNames"];

/// Everything by which `new` breaks those who go by `old`, each with where.
#[must_use]
pub fn breaks(old: &Value, new: &Value, reader: Reader) -> Vec<String> {
    let mut judge = Judge {
        reader,
        breaks: Vec::new(),
    };
    judge.schema(old, new, "#");
    judge.breaks
}

struct Judge {
    reader: Reader,
    breaks: Vec<String>,
}

impl Judge {
    fn breaks(&mut self, at: &str, why: impl Into<String>) {
        self.breaks.push(format!("{at}: {}", why.into()));
    }

    fn schema(&mut self, old: &Value, new: &Value, at: &str) {
        let (Value::Object(old), Value::Object(new)) = (old, new) else {
            if old != new {
                self.breaks(at, format!("was {old}, is {new}"));
            }
            return;
        };
        self.types(old, new, at);
        self.words(old, new, at);
        self.required(old, new, at);
        self.properties(old, new, at);
        self.bounds(old, new, at);
        let judged = |keyword: &&String| !is_judged(keyword);
        let keywords: BTreeSet<&String> = old.keys().chain(new.keys()).filter(judged).collect();
        for keyword in keywords {
            self.rest(keyword, old.get(keyword), new.get(keyword), at);
        }
    }

    /// A set of what may come: readers must get nothing new, writers must not lose anything.
    fn types(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) {
        let (old, new) = (types(old), types(new));
        let (given, taken) = match self.reader {
            Reader::Others => (&new, &old),
            Reader::Postrider => (&old, &new),
        };
        if !given.iter().all(|one| takes(taken, one)) {
            self.breaks(at, format!("its type was {old:?}, is {new:?}"));
        }
    }

    /// Nobody may lose a word, and readers must not get a new one.
    fn words(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) {
        match (words(old), words(new)) {
            (None, None) => {}
            (Some(old), Some(new)) => {
                for word in old.iter().filter(|word| !new.contains(word)) {
                    self.breaks(at, format!("{word} is no more"));
                }
                for word in new.iter().filter(|word| !old.contains(word)) {
                    if self.reader == Reader::Others {
                        self.breaks(at, format!("{word} is new to those who read it"));
                    }
                }
            }
            (Some(_), None) if self.reader == Reader::Postrider => {}
            (None, Some(_)) if self.reader == Reader::Others => {}
            (Some(_), None) => self.breaks(at, "may be anything now"),
            (None, Some(_)) => self.breaks(at, "may be some words only now"),
        }
    }

    fn required(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) {
        let (old, new) = (required(old), required(new));
        match self.reader {
            Reader::Others => {
                for name in old.difference(&new) {
                    self.breaks(at, format!("{name} may be missing now"));
                }
            }
            Reader::Postrider => {
                for name in new.difference(&old) {
                    self.breaks(at, format!("{name} is required now"));
                }
            }
        }
    }

    fn properties(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) {
        let closed = old.get("additionalProperties") == Some(&Value::Bool(false));
        for keyword in NAMED {
            let (before, after) = (object(old, keyword), object(new, keyword));
            for (name, schema) in &before {
                let at = format!("{at}/{keyword}/{name}");
                match after.get(name) {
                    Some(now) => self.schema(schema, now, &at),
                    None => self.breaks(&at, "is no more"),
                }
            }
            let gained = after.keys().find(|name| !before.contains_key(*name));
            if let Some(name) = gained
                && keyword == "properties"
                && closed
                && self.reader == Reader::Others
            {
                self.breaks(at, format!("{name} is new to those who were told of no other fields"));
            }
        }
        for keyword in NESTED {
            self.nested(keyword, old.get(keyword), new.get(keyword), at);
        }
    }

    fn nested(&mut self, keyword: &str, old: Option<&Value>, new: Option<&Value>, at: &str) {
        let anything = Value::Bool(true);
        let (old, new) = (old.unwrap_or(&anything), new.unwrap_or(&anything));
        let looser = *new == anything && self.reader == Reader::Postrider;
        let stricter = *old == anything && self.reader == Reader::Others;
        if old != new && !looser && !stricter {
            self.schema(old, new, &format!("{at}/{keyword}"));
        }
    }

    fn bounds(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) {
        for (keyword, sign) in LEAST
            .map(|name| (name, 1.0))
            .into_iter()
            .chain(MOST.map(|name| (name, -1.0)))
        {
            let bound = |schema: &Map<String, Value>| {
                let number = schema.get(keyword).and_then(Value::as_f64);
                number.map_or(f64::NEG_INFINITY, |number| number * sign)
            };
            let (before, after) = (bound(old), bound(new));
            let breaks = match self.reader {
                Reader::Others => after < before,
                Reader::Postrider => after > before,
            };
            if breaks {
                self.breaks(
                    at,
                    format!("{keyword} was {:?}, is {:?}", old.get(keyword), new.get(keyword)),
                );
            }
        }
    }

    fn rest(&mut self, keyword: &str, old: Option<&Value>, new: Option<&Value>, at: &str) {
        let at = format!("{at}/{keyword}");
        match (old, new) {
            (Some(Value::Array(old)), Some(Value::Array(new)))
                if matches!(keyword, "anyOf" | "oneOf" | "allOf") && old.len() == new.len() =>
            {
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    self.schema(old, new, &format!("{at}/{index}"));
                }
            }
            (old, new) if plain(old) != plain(new) => self.breaks(&at, "changed, and who that breaks cannot be judged"),
            _ => {}
        }
    }
}

fn is_judged(keyword: &str) -> bool {
    let judged = ["type", "enum", "const", "required"];
    [&judged[..], &ANNOTATIONS, &LEAST, &MOST, &NAMED, &NESTED]
        .iter()
        .any(|keywords| keywords.contains(&keyword))
}

/// A schema without what only tells people something.
fn plain(schema: Option<&Value>) -> Option<Value> {
    Some(match schema? {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !ANNOTATIONS.contains(&&***name))
            .map(|(name, value)| (name.clone(), plain(Some(value)).unwrap_or_default()))
            .collect(),
        Value::Array(items) => items.iter().filter_map(|item| plain(Some(item))).collect(),
        other => other.clone(),
    })
}

fn types(schema: &Map<String, Value>) -> BTreeSet<String> {
    const ANY: [&str; 6] = ["array", "boolean", "null", "number", "object", "string"];
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match schema.get("type") {
        None => ANY.map(str::to_owned).into(),
        Some(Value::Array(types)) => types.iter().map(name).collect(),
        Some(one) => [name(one)].into(),
    }
}

fn takes(types: &BTreeSet<String>, one: &str) -> bool {
    types.contains(one) || (one == "integer" && types.contains("number"))
}

fn words(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    let one = schema.get("const").map(|word| vec![word]);
    one.or_else(|| Some(schema.get("enum")?.as_array()?.iter().collect()))
}

fn required(schema: &Map<String, Value>) -> BTreeSet<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn object(schema: &Map<String, Value>, keyword: &str) -> Map<String, Value> {
    schema
        .get(keyword)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "description": "A thing.",
            "type": "object",
            "required": ["id", "state"],
            "properties": {
                "id": { "type": "string", "maxLength": 10, "pattern": "^x" },
                "state": { "enum": ["a", "b"] },
                "count": { "type": ["integer", "null"], "minimum": 0 },
                "parts": { "type": "array", "items": { "$ref": "#/$defs/part" } },
            },
            "$defs": { "part": { "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } } },
        })
    }

    /// The schema with something else at a place; null removes it.
    fn with(pointer: &str, value: Value) -> Value {
        let mut schema = schema();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = schema.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => parent.remove(name),
            value => parent.insert(name.to_owned(), value),
        };
        schema
    }

    fn broken(pointer: &str, value: Value) -> (bool, bool) {
        let new = with(pointer, value);
        let by = |reader| !breaks(&schema(), &new, reader).is_empty();
        (by(Reader::Others), by(Reader::Postrider))
    }

    #[test]
    fn what_only_tells_people_something_breaks_nobody() {
        assert_eq!(broken("/description", json!("Another.")), (false, false));
        assert_eq!(broken("/properties/count/default", json!(3)), (false, false));
        assert_eq!(broken("/title", json!("Thing")), (false, false));
    }

    #[test]
    fn a_field_that_goes_or_changes_its_type_breaks_everybody() {
        assert_eq!(broken("/properties/count", Value::Null), (true, true));
        assert_eq!(broken("/properties/id/type", json!("integer")), (true, true));
        assert_eq!(broken("/$defs/part/properties/n", Value::Null), (true, true));
        assert_eq!(broken("/$defs/part/properties/n/type", json!("string")), (true, true));
    }

    #[test]
    fn a_new_field_breaks_writers_where_it_is_required_and_readers_where_they_were_told_of_no_others() {
        let new = json!({ "type": "string" });
        assert_eq!(broken("/properties/new", new.clone()), (false, false));
        assert_eq!(broken("/required", json!(["id", "state", "count"])), (false, true));
        let mut closed = schema();
        closed["additionalProperties"] = json!(false);
        let mut more = closed.clone();
        more["properties"]["new"] = new;
        assert_eq!(breaks(&closed, &more, Reader::Others).len(), 1);
        assert_eq!(breaks(&closed, &more, Reader::Postrider), [""; 0]);
    }

    #[test]
    fn a_field_that_may_be_missing_breaks_readers_only() {
        assert_eq!(broken("/required", json!(["id"])), (true, false));
    }

    #[test]
    fn a_word_that_goes_breaks_everybody_and_a_new_one_breaks_readers() {
        assert_eq!(broken("/properties/state/enum", json!(["a"])), (true, true));
        assert_eq!(broken("/properties/state/enum", json!(["a", "b", "c"])), (true, false));
        assert_eq!(broken("/properties/state/enum", json!(["b", "a"])), (false, false));
        assert_eq!(broken("/properties/state/enum", Value::Null), (true, false));
        assert_eq!(broken("/properties/count/enum", json!([1])), (false, true));
    }

    #[test]
    fn types_may_narrow_for_readers_and_widen_for_writers() {
        assert_eq!(broken("/properties/count/type", json!("integer")), (false, true));
        assert_eq!(
            broken("/properties/count/type", json!(["number", "null"])),
            (true, false)
        );
        assert_eq!(broken("/properties/id/type", Value::Null), (true, false));
    }

    #[test]
    fn bounds_may_close_in_for_readers_and_open_for_writers() {
        assert_eq!(broken("/properties/id/maxLength", json!(5)), (false, true));
        assert_eq!(broken("/properties/id/maxLength", json!(50)), (true, false));
        assert_eq!(broken("/properties/count/minimum", json!(1)), (false, true));
        assert_eq!(broken("/properties/count/minimum", Value::Null), (true, false));
        assert_eq!(broken("/additionalProperties", json!(false)), (false, true));
    }

    #[test]
    fn what_cannot_be_judged_counts_as_a_break() {
        assert_eq!(broken("/properties/id/pattern", json!("^y")), (true, true));
        assert_eq!(
            broken("/properties/parts/items", json!({ "$ref": "#/$defs/other" })),
            (true, true)
        );
        assert_eq!(broken("/if", json!({ "required": ["count"] })), (true, true));
    }

    #[test]
    fn a_break_is_told_with_its_place() {
        let new = with("/properties/state/enum", json!(["a"]));
        assert_eq!(
            breaks(&schema(), &new, Reader::Postrider),
            [r##"#/properties/state: "b" is no more"##]
        );
    }
}
