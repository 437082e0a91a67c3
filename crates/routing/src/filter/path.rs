//! A path to a payload's field. Dots descend into objects; the longest key that is present wins.

use std::fmt;

use serde_json::Value;

use super::{MAX_PATH_BYTES, MAX_PATH_LEVELS, shown};

/// A path, within the bounds that keep finding cheap.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path(Box<str>);

impl Path {
    /// Checks a path; the error says what is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("names no field".to_owned());
        }
        if text.len() > MAX_PATH_BYTES {
            return Err(format!("is a path of more than {MAX_PATH_BYTES} bytes"));
        }
        if text.split('.').count() > MAX_PATH_LEVELS {
            return Err(format!("is a path of more than {MAX_PATH_LEVELS} levels"));
        }
        Ok(Self(text.into()))
    }

    /// The value at this path. A null is a value.
    pub(super) fn find<'a>(&self, payload: &'a Value) -> Option<&'a Value> {
        let mut level = payload;
        let mut rest = &*self.0;
        loop {
            let fields = level.as_object()?;
            if let Some(value) = fields.get(rest) {
                return Some(value);
            }
            (level, rest) = rest
                .rmatch_indices('.')
                .find_map(|(dot, _)| Some((fields.get(&rest[..dot])?, &rest[dot + 1..])))?;
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown::name(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn find(path: &str, payload: &Value) -> Option<Value> {
        Path::new(path).unwrap().find(payload).cloned()
    }

    #[test]
    fn dots_descend_into_objects_only() {
        let payload = json!({"a": {"b": {"c": 1}}, "list": [{"x": 1}], "n": null, "s": "text"});
        assert_eq!(find("a.b.c", &payload), Some(json!(1)));
        assert_eq!(find("a.b", &payload), Some(json!({"c": 1})));
        assert_eq!(find("n", &payload), Some(Value::Null));
        for absent in [
            "a.c", "a.b.c.d", "list.0", "list.0.x", "list.x", "n.x", "s.x", "a.", ".a", "a..b",
        ] {
            assert_eq!(find(absent, &payload), None, "{absent}");
        }
        for odd in [json!(null), json!([1]), json!("a"), json!(1)] {
            assert_eq!(find("a", &odd), None, "{odd}");
        }
    }

    #[test]
    fn the_longest_key_that_is_present_wins() {
        let payload = json!({"a.b": {"c": 1}, "a": {"b": {"c": 2}, "x": 3, "b.d": 4}, "": 5, "e.": 6});
        assert_eq!(find("a.b.c", &payload), Some(json!(1)));
        assert_eq!(find("a.x", &payload), Some(json!(3)));
        assert_eq!(find("a.b.d", &payload), None, "`a.b` is there, so `a` is not asked");
        assert_eq!(find("e.", &payload), Some(json!(6)));
        assert_eq!(find("a.b.c", &json!({"a.b.c": 0, "a": {"b.c": 1}})), Some(json!(0)));
        assert_eq!(find("a.b.c", &json!({"a": {"b.c": 1}})), Some(json!(1)));
    }

    #[test]
    fn keys_are_cut_at_dots_and_never_inside_a_character() {
        let payload = json!({"größe": {"höhe": 1}});
        assert_eq!(find("größe.höhe", &payload), Some(json!(1)));
    }

    #[test]
    fn is_bounded() {
        assert!(Path::new("").is_err());
        assert!(Path::new(&"x".repeat(MAX_PATH_BYTES)).is_ok());
        assert!(Path::new(&"x".repeat(MAX_PATH_BYTES + 1)).is_err());
        assert!(Path::new(&["x"; MAX_PATH_LEVELS].join(".")).is_ok());
        assert!(Path::new(&["x"; MAX_PATH_LEVELS + 1].join(".")).is_err());
    }
}
