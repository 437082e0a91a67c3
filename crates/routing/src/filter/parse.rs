//! Reading a filter. Every fault is collected under its path; work ends where a bound is met.

use postrider_types::Fault;
use serde_json::{Map, Value};

use super::condition::{Comparison, Condition, Place, Scalar};
use super::number::Number;
use super::path::Path;
use super::{Filter, MAX_CONDITIONS, MAX_DEPTH, MAX_FAULTS, MAX_VALUES, Term, shown};

/// Reads the whole filter.
pub(super) fn filter(value: &Value) -> Result<Filter, Vec<Fault>> {
    let mut parser = Parser::default();
    let filter = parser.filter(value, "", 1);
    if parser.faults.is_empty() {
        Ok(filter.unwrap_or_default())
    } else {
        Err(parser.faults)
    }
}

/// What has been met so far. `None` from its methods always comes with a fault.
#[derive(Default)]
struct Parser {
    faults: Vec<Fault>,
    conditions: usize,
    values: usize,
}

impl Parser {
    /// Notes a fault; returns what a faulty part reads as.
    fn fault<T>(&mut self, at: &str, reason: impl Into<String>) -> Option<T> {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault::new(at, reason));
        }
        None
    }

    fn filter(&mut self, value: &Value, at: &str, depth: usize) -> Option<Filter> {
        let Value::Object(fields) = value else {
            return self.fault(at, "must be an object of conditions");
        };
        if depth > MAX_DEPTH {
            return self.fault(at, format!("nests deeper than {MAX_DEPTH} levels"));
        }
        let terms = fields
            .iter()
            .filter_map(|(key, value)| self.term(key, value, at, depth))
            .collect();
        Some(Filter { terms })
    }

    fn term(&mut self, key: &str, value: &Value, at: &str, depth: usize) -> Option<Term> {
        let at = joined(at, key);
        match key {
            "any" => self.filters(value, &at, depth).map(Term::Any),
            "all" => self.filters(value, &at, depth).map(Term::All),
            _ => self.field(key, value, &at),
        }
    }

    fn filters(&mut self, value: &Value, at: &str, depth: usize) -> Option<Vec<Filter>> {
        let list = match value {
            Value::Array(list) if !list.is_empty() => list,
            Value::Array(_) => return self.fault(at, "is an empty list; name at least one filter"),
            _ => return self.fault(at, "must be a list of filters"),
        };
        let members = list.iter().enumerate();
        Some(
            members
                .filter_map(|(i, value)| self.member(value, &format!("{at}[{i}]"), depth + 1))
                .collect(),
        )
    }

    /// A filter of an `any` or `all`. An empty one would make its list pointless, and escape the count of conditions.
    fn member(&mut self, value: &Value, at: &str, depth: usize) -> Option<Filter> {
        if value.as_object().is_some_and(Map::is_empty) {
            return self.fault(at, "is an empty filter; name at least one condition");
        }
        self.filter(value, at, depth)
    }

    fn field(&mut self, key: &str, value: &Value, at: &str) -> Option<Term> {
        let path = match Path::new(key) {
            Ok(path) => path,
            Err(reason) => return self.fault(at, reason),
        };
        let conditions = match value {
            Value::Object(operators) => self.operators(operators, at)?,
            any_of => vec![self.counted()?.any_of(any_of, at)?],
        };
        Some(Term::Field(path, conditions))
    }

    fn operators(&mut self, operators: &Map<String, Value>, at: &str) -> Option<Vec<Condition>> {
        if operators.is_empty() {
            return self.fault(at, format!("is an empty object; name one of {}", Operator::NAMES));
        }
        let conditions = operators
            .iter()
            .filter_map(|(name, operand)| self.counted()?.operator(name, operand, &joined(at, name)))
            .collect();
        Some(conditions)
    }

    /// Counts one more condition; past the bound nothing more is read.
    fn counted(&mut self) -> Option<&mut Self> {
        self.conditions += 1;
        if self.conditions == MAX_CONDITIONS + 1 {
            self.fault::<()>("", format!("has more than {MAX_CONDITIONS} conditions"));
        }
        (self.conditions <= MAX_CONDITIONS).then_some(self)
    }

    fn operator(&mut self, name: &str, operand: &Value, at: &str) -> Option<Condition> {
        match Operator::named(name) {
            Some(Operator::Compare(comparison)) => match Number::of(operand) {
                Some(number) => Some(Condition::Compare(comparison, number)),
                None => self.fault(at, "must be a number, or the text of one"),
            },
            Some(Operator::Text(place)) => match operand {
                Value::String(part) => Some(Condition::Text(place, part.as_str().into())),
                _ => self.fault(at, "must be a text"),
            },
            Some(Operator::Exists) => match operand {
                Value::Bool(wanted) => Some(Condition::Exists(*wanted)),
                _ => self.fault(at, "must be true or false"),
            },
            Some(Operator::Not) => self.values(operand, at).map(Condition::NoneOf),
            None => self.fault(at, format!("is no operator; one of {}", Operator::NAMES)),
        }
    }

    fn any_of(&mut self, value: &Value, at: &str) -> Option<Condition> {
        self.values(value, at).map(Condition::AnyOf)
    }

    /// The values of a list, or the one value that stands in its place.
    fn values(&mut self, value: &Value, at: &str) -> Option<Vec<Scalar>> {
        let Value::Array(list) = value else {
            return self.scalar(value, at).map(|one| vec![one]);
        };
        if list.is_empty() {
            return self.fault(at, "is an empty list; name at least one value");
        }
        self.values = self.values.saturating_add(list.len());
        if self.values > MAX_VALUES {
            return self.fault(at, format!("brings the filter to more than {MAX_VALUES} values"));
        }
        let values = list.iter().enumerate();
        Some(
            values
                .filter_map(|(i, value)| self.scalar(value, &format!("{at}[{i}]")))
                .collect(),
        )
    }

    fn scalar(&mut self, value: &Value, at: &str) -> Option<Scalar> {
        match Scalar::of(value) {
            Some(scalar) => Some(scalar),
            None => self.fault(at, "must be a text, a number, true, false or null"),
        }
    }
}

enum Operator {
    Compare(Comparison),
    Text(Place),
    Exists,
    Not,
}

impl Operator {
    const NAMES: &str = "gt, gte, lt, lte, not, prefix, suffix, contains, exists";

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gt" => Self::Compare(Comparison::Greater),
            "gte" => Self::Compare(Comparison::AtLeast),
            "lt" => Self::Compare(Comparison::Less),
            "lte" => Self::Compare(Comparison::AtMost),
            "prefix" => Self::Text(Place::Start),
            "suffix" => Self::Text(Place::End),
            "contains" => Self::Text(Place::Anywhere),
            "exists" => Self::Exists,
            "not" => Self::Not,
            _ => return None,
        })
    }
}

fn joined(at: &str, key: &str) -> String {
    let key = shown::name(key);
    if at.is_empty() { key } else { format!("{at}.{key}") }
}
