//! One condition on one field, and the rule for when it holds.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

use super::number::Number;
use super::shown::quoted;

/// How many of a list's values an explanation shows.
const SHOWN_VALUES: usize = 5;

/// A value that a field can equal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
}

impl Scalar {
    /// A payload's value; lists and objects are none.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => Number::of_json(number).map(Self::Number),
            Value::String(text) => Some(Self::Text(text.as_str().into())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::Number(a), Value::Number(b)) => Number::of_json(b).is_some_and(|b| *a == b),
            (Self::Text(a), Value::String(b)) => **a == **b,
            _ => false,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(&quoted(text)),
        }
    }
}

/// How a field's number stands to the operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Greater,
    AtLeast,
    Less,
    AtMost,
}

impl Comparison {
    const fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Greater => "be greater than",
            Self::AtLeast => "be at least",
            Self::Less => "be less than",
            Self::AtMost => "be at most",
        }
    }
}

/// Where in a field's text the operand stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    End,
    Anywhere,
}

impl Place {
    fn admits(self, text: &str, part: &str) -> bool {
        match self {
            Self::Start => text.starts_with(part),
            Self::End => text.ends_with(part),
            Self::Anywhere => text.contains(part),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Start => "start with",
            Self::End => "end with",
            Self::Anywhere => "contain",
        }
    }
}

/// A condition; it is asked with what stands at the field's path.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    AnyOf(Vec<Scalar>),
    NoneOf(Vec<Scalar>),
    Compare(Comparison, Number),
    Text(Place, Box<str>),
    Exists(bool),
}

impl Condition {
    /// Whether it holds; `None` is a missing field.
    pub(super) fn holds(&self, value: Option<&Value>) -> bool {
        match self {
            Self::AnyOf(list) => value.is_some_and(|value| list.iter().any(|one| one.equals(value))),
            Self::NoneOf(list) => value.is_none_or(|value| !list.iter().any(|one| one.equals(value))),
            Self::Compare(comparison, operand) => value
                .and_then(Number::of)
                .is_some_and(|number| comparison.admits(number.order(*operand))),
            Self::Text(place, part) => value.and_then(text).is_some_and(|text| place.admits(&text, part)),
            Self::Exists(wanted) => value.is_some() == *wanted,
        }
    }
}

/// The text of a value: its own, or an integer's decimal digits.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) if !number.is_f64() => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

impl fmt::Display for Condition {
    /// What the field must do, as in "code must *be at least 5*".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyOf(list) => write!(f, "be {}", Listed(list)),
            Self::NoneOf(list) => write!(f, "not be {}", Listed(list)),
            Self::Compare(comparison, operand) => write!(f, "{} {operand}", comparison.words()),
            Self::Text(place, part) => write!(f, "{} {}", place.words(), quoted(part)),
            Self::Exists(true) => f.write_str("be present"),
            Self::Exists(false) => f.write_str("be absent"),
        }
    }
}

struct Listed<'a>(&'a [Scalar]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0 {
            return only.fmt(f);
        }
        f.write_str("one of ")?;
        for (i, scalar) in self.0.iter().take(SHOWN_VALUES).enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{scalar}")?;
        }
        match self.0.len().saturating_sub(SHOWN_VALUES) {
            0 => Ok(()),
            rest => write!(f, " and {rest} more"),
        }
    }
}
