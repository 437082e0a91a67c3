//! What is promised of outcomes whatever happened in between, checked over all of them at once.

use std::collections::BTreeMap;

use postrider_types::{Outcome, OutcomeResult};

/// Outcomes by delivery, in the order of their attempts.
pub type Deliveries<'a> = BTreeMap<&'a str, Vec<&'a Outcome>>;

/// Sorts outcomes by delivery and demands of each: no attempt twice, attempts 1 to n without gaps, all but the
/// last `retrying`.
///
/// # Panics
/// When a delivery breaks one of them.
#[must_use]
pub fn deliveries(outcomes: &[Outcome]) -> Deliveries<'_> {
    let mut deliveries = Deliveries::new();
    for outcome in outcomes {
        let attempts = deliveries.entry(outcome.delivery_id.as_str()).or_default();
        attempts.push(outcome);
    }
    for (delivery, attempts) in &mut deliveries {
        attempts.sort_by_key(|outcome| outcome.attempt);
        let numbers = attempts.iter().map(|outcome| outcome.attempt);
        assert!(
            numbers.clone().eq(1..=attempts.len() as u32),
            "attempts of {delivery}: {:?}",
            numbers.collect::<Vec<_>>()
        );
        let before_last = &attempts[..attempts.len() - 1];
        assert!(
            before_last
                .iter()
                .all(|outcome| outcome.result == OutcomeResult::Retrying),
            "{delivery} went on after its end"
        );
    }
    deliveries
}

/// How many deliveries have come to their end.
#[must_use]
pub fn ended(deliveries: &Deliveries<'_>) -> usize {
    let last = deliveries.values().filter_map(|attempts| attempts.last());
    last.filter(|outcome| outcome.result != OutcomeResult::Retrying).count()
}

/// How many deliveries ended in `result`.
#[must_use]
pub fn ended_in(deliveries: &Deliveries<'_>, result: OutcomeResult) -> usize {
    let last = deliveries.values().filter_map(|attempts| attempts.last());
    last.filter(|outcome| outcome.result == result).count()
}
