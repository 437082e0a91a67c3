//! The sample events: those of `schemas/samples`, each time for another order.

use postrider_types::EventType;
use serde_json::Value;

/// One event to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) topic: &'static str,
    pub(crate) event_type: EventType,
    pub(crate) order: String,
    pub(crate) body: String,
}

const SAMPLES: [(&str, EventType, &str); 4] = [
    (
        "tracking",
        EventType::TrackingUpdate,
        include_str!("../../../../schemas/samples/tracking_update.json"),
    ),
    (
        "shipments",
        EventType::OrderShipped,
        include_str!("../../../../schemas/samples/order_shipped.json"),
    ),
    (
        "shipments",
        EventType::OrderError,
        include_str!("../../../../schemas/samples/order_error.json"),
    ),
    (
        "shipments",
        EventType::OrderShipped,
        include_str!("../../../../schemas/samples/return.json"),
    ),
];

/// Sample after sample, up to a count.
#[derive(Debug)]
pub(crate) struct Samples {
    next: u64,
    count: Option<u64>,
}

impl Samples {
    pub(crate) const fn new(count: Option<u64>) -> Self {
        Self { next: 0, count }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.count.is_some_and(|count| self.next >= count)
    }
}

impl Iterator for Samples {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        if self.is_over() {
            return None;
        }
        let number = self.next;
        self.next += 1;
        Some(sample(number))
    }
}

/// The first round is the samples as they stand; later rounds are about later orders.
fn sample(number: u64) -> Sample {
    let kinds = SAMPLES.len() as u64;
    let (topic, event_type, text) = SAMPLES[usize::try_from(number % kinds).expect("below the number of samples")];
    let round = number / kinds;
    let mut payload: Value = serde_json::from_str(text).expect("the samples are JSON");
    let first = payload["OrderID"].as_str().and_then(|order| order.parse::<u64>().ok());
    let order = first.expect("the samples have numeric orders") + round;
    let body = if round == 0 {
        text.trim_end().to_owned()
    } else {
        payload["OrderID"] = order.to_string().into();
        payload.to_string()
    };
    Sample {
        topic,
        event_type,
        order: order.to_string(),
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_is_the_samples_byte_for_byte() {
        let produced: Vec<String> = Samples::new(Some(4)).map(|sample| sample.body).collect();
        let samples = SAMPLES.map(|(_, _, text)| text.trim_end().to_owned());
        assert_eq!(produced, samples);
    }

    #[test]
    fn later_rounds_are_about_other_orders() {
        let orders: Vec<String> = Samples::new(Some(9)).map(|sample| sample.order).collect();
        assert_eq!(orders.len(), 9);
        assert_ne!(orders[0], orders[4]);
        assert!(Samples::new(None).take(100).count() == 100);
    }
}
