//! Durations and sizes as people write them: `15s`, `100ms`, `5d`, `256KiB`.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Reads and writes a [`std::time::Duration`] as text; for `#[serde(with = "…")]`.
pub mod duration {
    use super::{Deserialize, Deserializer, Schema, SchemaGenerator, Serializer, de, json_schema};
    use std::time::Duration;

    /// Writes the shortest text: `15s`, `1m 30s`.
    ///
    /// # Errors
    /// Only the serializer's own.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    /// Reads a text such as `15s`, `100ms`, `5d`.
    ///
    /// # Errors
    /// When the text is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|_| de::Error::custom(format!("`{text}` is not a duration; write it like 15s, 100ms or 5d")))
    }

    /// The schema of a duration's text.
    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration such as 15s, 100ms or 5d",
            "pattern": r"^\s*(\d+\s*(ns|us|ms|s|sec|secs|m|min|mins|h|hr|hrs|d|day|days|w)\s*)+$|^0$",
        })
    }
}

/// [`duration`] for an optional value.
pub mod optional_duration {
    use super::{Deserializer, Schema, SchemaGenerator, Serialize, Serializer, json_schema};
    use serde::Deserialize;
    use std::time::Duration;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Text(#[serde(with = "super::duration")] Duration);

    /// Writes the text, or null.
    ///
    /// # Errors
    /// Only the serializer's own.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Text).serialize(serializer)
    }

    /// Reads a text or null.
    ///
    /// # Errors
    /// When the text is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
    }

    /// The schema of a duration's text, or null.
    pub fn schema(generator: &mut SchemaGenerator) -> Schema {
        let text = super::duration::schema(generator);
        json_schema!({ "anyOf": [text, { "type": "null" }] })
    }
}

/// A number of bytes, written `256KiB`, `64 MiB`, `1GB` or a bare number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// The text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size; write it like 256KiB, 64MiB or 1024")]
pub struct BadSize(String);

const UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// The number of bytes, for comparing with lengths.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads a size.
    ///
    /// # Errors
    /// [`BadSize`] when the text is no whole number with a unit of [`ByteSize`]'s list.
    pub fn parse(text: &str) -> Result<Self, BadSize> {
        let trimmed = text.trim();
        let unit = UNITS
            .iter()
            .find_map(|(name, factor)| Some((trimmed.strip_suffix(name)?, *factor)));
        let (number, factor) = unit.unwrap_or((trimmed, 1));
        let bytes = number.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| BadSize(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS[..3]
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match binary {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl de::Visitor<'_> for Size {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 256KiB")
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                ByteSize::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Size)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A size such as 256KiB, 64MiB or 1024",
            "anyOf": [
                { "type": "string", "pattern": r"^\s*\d+\s*(GiB|MiB|KiB|GB|MB|kB|KB|B)?\s*$" },
                { "type": "integer", "minimum": 0 },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("256KiB", 262_144),
            ("1 MiB", 1 << 20),
            ("2MB", 2_000_000),
            ("17", 17),
            ("3B", 3),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
        for bad in ["", "KiB", "-1", "1.5MiB", "99999999999GiB", "1 TiB"] {
            assert!(ByteSize::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_print_what_they_read() {
        for text in ["256KiB", "64MiB", "17B", "0B", "3GiB"] {
            assert_eq!(ByteSize::parse(text).unwrap().to_string(), text);
        }
    }
}
