//! The filter language: conditions on payload fields that must all hold. Read once into a tree, then
//! asked once per event; neither reading nor asking can fail in any way but by a named fault.
//!
//! ```json
//! {"TrackingCarrier": ["FedEx", "UPS"], "code": {"gte": 5, "lt": 9}, "any": [{"late": "1"}, {"city": {"exists": false}}]}
//! ```
//!
//! - A list is any-of, a bare scalar an any-of of one. Numbers equal numbers (6 equals 6.0), texts equal
//!   texts; a number never equals a text. Booleans and null equal themselves. Nothing equals a list or an object.
//! - `gt` `gte` `lt` `lte` compare numbers and texts that are JSON numbers, exactly for integers.
//! - `not` is none-of. It holds for a missing field.
//! - `prefix` `suffix` `contains` look at texts. An integer counts as its decimal text, because
//!   identifiers come either way; no other number does.
//! - `exists` asks whether the field is there; a field that is null is there.
//! - All operators of one object must hold. But for `not` and `exists: false` nothing holds for a missing field.
//! - `any` and `all` hold lists of filters, so payload fields of these names cannot be asked about.
//! - A path's dots descend into objects, never into lists. Where a key holds dots itself, the longest
//!   key that is present wins, and there is no going back from it.
//!
//! Reading order: `parse`, `path`, `condition`, `number`.

mod condition;
mod number;
mod parse;
mod path;
mod shown;
#[cfg(test)]
mod tests;

use postrider_types::Fault;
use serde_json::Value;

use condition::Condition;
use path::Path;
use shown::{cut, found};

/// How deep `any` and `all` may nest, the whole filter being the first level.
pub const MAX_DEPTH: usize = 16;
/// How many conditions a filter may hold on all levels together.
pub const MAX_CONDITIONS: usize = 256;
/// How many values its lists may hold together.
pub const MAX_VALUES: usize = 4096;
/// How long a field's path may be, in bytes.
pub const MAX_PATH_BYTES: usize = 256;
/// How many levels a field's path may descend.
pub const MAX_PATH_LEVELS: usize = 16;
/// How many faults are named; what is found after them is not.
pub const MAX_FAULTS: usize = 100;

/// How many of an `any`'s alternatives a miss tells about.
const SHOWN_ALTERNATIVES: usize = 3;
/// The longest text of a miss, in characters.
const SHOWN_MISS: usize = 500;

/// Conditions on an event's payload that must all hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
enum Term {
    Field(Path, Vec<Condition>),
    Any(Vec<Filter>),
    All(Vec<Filter>),
}

impl Filter {
    /// Reads a filter. `{}` matches every event.
    ///
    /// # Errors
    /// Every fault, named by its path in the filter such as `any[1].code.gte`, up to [`MAX_FAULTS`].
    pub fn parse(value: &Value) -> Result<Self, Vec<Fault>> {
        parse::filter(value)
    }

    /// Whether it asks nothing, and so matches every event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether all conditions hold.
    #[must_use]
    pub fn matches(&self, payload: &Value) -> bool {
        self.terms.iter().all(|term| term.holds(payload))
    }

    /// The first condition that does not hold, and what was found in its place; `None` on a match.
    #[must_use]
    pub fn first_miss(&self, payload: &Value) -> Option<String> {
        self.miss("", payload).map(|miss| cut(&miss, SHOWN_MISS))
    }

    fn miss(&self, at: &str, payload: &Value) -> Option<String> {
        self.terms.iter().find_map(|term| term.miss(at, payload))
    }
}

impl Term {
    fn holds(&self, payload: &Value) -> bool {
        match self {
            Self::Field(path, conditions) => {
                let value = path.find(payload);
                conditions.iter().all(|condition| condition.holds(value))
            }
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(payload)),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(payload)),
        }
    }

    fn miss(&self, at: &str, payload: &Value) -> Option<String> {
        match self {
            Self::Field(path, conditions) => {
                let value = path.find(payload);
                let missed = conditions.iter().find(|condition| !condition.holds(value))?;
                Some(format!("{at}{path} must {missed}, but is {}", found(value)))
            }
            Self::Any(filters) => missed_any(filters, at, payload),
            Self::All(filters) => {
                let mut misses = filters.iter().enumerate();
                misses.find_map(|(i, filter)| filter.miss(&format!("{at}all[{i}]."), payload))
            }
        }
    }
}

fn missed_any(filters: &[Filter], at: &str, payload: &Value) -> Option<String> {
    if filters.iter().any(|filter| filter.matches(payload)) {
        return None;
    }
    let misses: Vec<String> = filters
        .iter()
        .take(SHOWN_ALTERNATIVES)
        .enumerate()
        .filter_map(|(i, filter)| filter.miss(&format!("{at}any[{i}]."), payload))
        .collect();
    let rest = filters.len().saturating_sub(SHOWN_ALTERNATIVES);
    let more = if rest > 0 {
        format!("; and {rest} more")
    } else {
        String::new()
    };
    Some(format!("{at}any matches in no way: {}{more}", misses.join("; ")))
}
