//! One validating pass over a payload. It goes through every field, so that what is passed on is
//! well-formed JSON in all its parts, and keeps only the few that routing and outcomes need.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use postrider_types::Facts;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The deepest nesting of objects and lists that is taken.
pub const MAX_DEPTH: usize = 64;

/// Identifiers and messages are kept up to so many characters.
const KEPT: usize = 1_024;

/// Why a value is no event's payload.
#[derive(Debug, thiserror::Error)]
pub enum NotAnEvent {
    /// It is no UTF-8.
    #[error("the value is not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// The first wrong byte.
        at: usize,
    },
    /// It is no single, well-formed JSON document.
    #[error("the value is not one well-formed JSON document")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON, but no object.
    #[error("the value is JSON, but not an object")]
    NotObject,
}

/// A field that may name the event's type or account; borrowed from the payload where that can be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Field<'a> {
    /// Not there, or null.
    #[default]
    Absent,
    /// A string, or an integer's digits.
    Text(Cow<'a, str>),
    /// Something else.
    Other,
}

impl<'a> Field<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Other => None,
        }
    }
}

/// What one pass over a payload found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan<'a> {
    /// `event`
    pub event: Field<'a>,
    /// `account_id`
    pub account: Field<'a>,
    /// What outcomes tell.
    pub facts: Facts,
}

/// Checks a value and keeps what is needed of it.
///
/// # Errors
/// [`NotAnEvent`] when it is no UTF-8, no well-formed JSON, or no object.
pub fn scan(value: &[u8]) -> Result<Scan<'_>, NotAnEvent> {
    let text = std::str::from_utf8(value).map_err(|error| NotAnEvent::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = reader.deserialize_any(Top).map_err(NotAnEvent::NotJson)?;
    reader.end().map_err(NotAnEvent::NotJson)?;
    found.ok_or(NotAnEvent::NotObject)
}

/// The fields that are kept; each may stand in a payload once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Event,
    AccountId,
    OrderId,
    TransactionId,
    Tracking,
    TrackingCarrier,
    IsReturn,
    Code,
    Message,
}

impl Known {
    // The last of them tells how many there are.
    const COUNT: usize = Self::Message as usize + 1;

    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "event" => Self::Event,
            "account_id" => Self::AccountId,
            "OrderID" => Self::OrderId,
            "TransactionID" => Self::TransactionId,
            "tracking" => Self::Tracking,
            "TrackingCarrier" => Self::TrackingCarrier,
            "is_return" => Self::IsReturn,
            "code" => Self::Code,
            "message" => Self::Message,
            _ => return None,
        })
    }

    /// Whether a second one makes the payload ambiguous: who it belongs to, or what it is about.
    const fn is_unique(self) -> bool {
        !matches!(self, Self::Code | Self::Message)
    }
}

/// The document: its object's fields, or `None` for anything but an object.
struct Top;

impl<'de> Visitor<'de> for Top {
    type Value = Option<Scan<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut scan = Scan::default();
        let mut seen = [false; Known::COUNT];
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let Some(known) = Known::of(key.0.as_ref()) else {
                map.next_value_seed(Checked { depth: 1 })?;
                continue;
            };
            if std::mem::replace(&mut seen[known as usize], true) && known.is_unique() {
                return Err(de::Error::custom(format_args!("the field `{}` stands twice", key.0)));
            }
            let raw: &'de RawValue = map.next_value()?;
            scan.keep(known, read(raw).map_err(de::Error::custom)?, raw.get());
        }
        Ok(Some(scan))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Checked { depth: 0 }.visit_seq(seq).map(|()| None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A key, borrowed where it holds no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(key.into()))
            }
            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(key.to_owned().into()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Reads a known field's value, whose text was only skimmed so far.
fn read(raw: &RawValue) -> serde_json::Result<Field<'_>> {
    let text = raw.get();
    if let Some(string) = text.strip_prefix('"') {
        // Skimming looks at all of a string but what its escapes come to.
        let as_it_stands = string.strip_suffix('"').filter(|string| !string.contains('\\'));
        return Ok(Field::Text(match as_it_stands {
            Some(string) => string.into(),
            None => serde_json::from_str::<Key<'_>>(text)?.0,
        }));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    Checked { depth: 1 }.deserialize(&mut reader)?;
    Ok(match text.as_bytes().first() {
        Some(b'n') => Field::Absent,
        Some(b'-' | b'0'..=b'9') if !text.contains(['.', 'e', 'E']) => Field::Text(text.into()),
        _ => Field::Other,
    })
}

impl<'a> Scan<'a> {
    fn keep(&mut self, known: Known, field: Field<'a>, raw: &str) {
        let facts = &mut self.facts;
        match known {
            Known::Event => {
                self.event = if raw.starts_with('"') || field == Field::Absent {
                    field
                } else {
                    Field::Other
                }
            }
            Known::AccountId => self.account = field,
            Known::OrderId => facts.order_id = short(field),
            Known::TransactionId => facts.transaction_id = short(field),
            Known::Tracking => facts.tracking = short(field),
            Known::TrackingCarrier => facts.carrier = short(field),
            Known::IsReturn => facts.is_return = raw == "true",
            Known::Code => facts.code = field.text().and_then(|text| text.parse().ok()),
            Known::Message => facts.message = short(field),
        }
    }
}

/// A text cut to what outcomes carry, never inside a character.
fn short(field: Field<'_>) -> Option<Arc<str>> {
    let text = field.text()?;
    let longer = (text.len() > KEPT).then(|| text.char_indices().nth(KEPT)).flatten();
    Some(text[..longer.map_or(text.len(), |(end, _)| end)].into())
}

/// Goes through a value without keeping it. Unlike serde's own way of ignoring, it decodes every
/// string and number, so that lone surrogates and numbers that are none are found.
#[derive(Clone, Copy)]
struct Checked {
    depth: usize,
}

impl Checked {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("it is nested deeper than {MAX_DEPTH}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while map.next_key::<Key<'de>>()?.is_some() {
            map.next_value_seed(inner)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
