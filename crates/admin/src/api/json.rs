//! JSON as the API takes it: no name twice in one object, because two readers could take two different ones, and no
//! deeper than it has to be.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How deep arrays and objects may be nested.
pub(super) const MAX_DEPTH: usize = 32;
/// Characters of a name that an error shows.
const SHOWN_NAME: usize = 64;

/// Reads a whole text.
///
/// # Errors
/// Where and why it cannot be read.
pub(crate) fn read(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Level(0).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// A value with this many arrays and objects around it.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.0 < MAX_DEPTH {
            return Ok(Self(self.0 + 1));
        }
        Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut fields = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            if fields.contains_key(&name) {
                let shown: String = name.escape_debug().take(SHOWN_NAME).collect();
                return Err(A::Error::custom(format_args!("the name `{shown}` is given twice")));
            }
            fields.insert(name, object.next_value_seed(inner)?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn any_json_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,0.5,true,null,"é\n"],"b":{"a":{}}}"#;
        assert_eq!(
            read(text.as_bytes()).unwrap(),
            serde_json::from_str::<Value>(text).unwrap()
        );
        assert_eq!(read(b" 7 ").unwrap(), json!(7));
    }

    #[test]
    fn a_name_given_twice_is_named() {
        assert!(refusal(r#"{"a":1,"b":[{"c":1,"c":1}]}"#).starts_with("the name `c` is given twice"));
        assert!(refusal(r#"{"\u0061":1,"a":1}"#).starts_with("the name `a` is given twice"));
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(refusal(&nested(MAX_DEPTH + 1)).starts_with("nested deeper than 32 levels"));
        assert!(refusal(&"[{\"a\":".repeat(30_000)).starts_with("nested deeper than 32 levels"));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in ["", "{", "{}{}", "nul", "\u{feff}{}", "{'a':1}", "1e999"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
