//! What has to be done about an arrival, decided without doing it.

use std::sync::Arc;

use postrider_types::delivery::{Progress, TraceParent, Waiting};
use postrider_types::outcome::OutcomeError;
use postrider_types::{Arrival, Carrier, ErrorKind, Event, Timestamp, Webhook};

use crate::judgement::Refusal;
use crate::table::Table;

/// The decision on one arrival.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Deliveries to be attempted.
    pub owed: Vec<Owed>,
    /// Deliveries that end here.
    pub skipped: Vec<Skip>,
    /// Whether a filter asked for the body and it could not be read.
    pub unreadable: bool,
}

/// A delivery to be attempted.
#[derive(Debug, PartialEq)]
pub struct Owed {
    /// The webhook as it is today.
    pub webhook: Arc<Webhook>,
    /// What happened so far.
    pub progress: Progress,
    /// When it was due, for a retry.
    pub due: Option<Timestamp>,
}

/// A delivery that ends without an attempt.
#[derive(Debug, PartialEq)]
pub struct Skip {
    /// The webhook, or what stands in for one that is gone.
    pub webhook: Arc<Webhook>,
    /// What happened so far.
    pub progress: Progress,
    /// Why.
    pub why: OutcomeError,
}

/// Decides on an arrival.
#[must_use]
pub fn plan(table: &Table, arrival: &Arrival) -> Plan {
    match &arrival.carrier {
        Carrier::Source => fresh(table, &arrival.event),
        Carrier::Retry(waiting) => due(table, &arrival.event, waiting),
    }
}

fn fresh(table: &Table, event: &Event) -> Plan {
    let matches = table.matches(event);
    let progress = Progress::start(TraceParent::of_record(event));
    let owed = |webhook| Owed {
        webhook,
        progress: progress.clone(),
        due: None,
    };
    let skip = |webhook| Skip {
        webhook,
        progress: progress.clone(),
        why: refused(Refusal::Disabled),
    };
    Plan {
        owed: matches.deliverable.into_iter().map(owed).collect(),
        skipped: matches.disabled.into_iter().map(skip).collect(),
        unreadable: matches.unreadable,
    }
}

/// The webhook is looked up again, so that today's state decides.
fn due(table: &Table, event: &Event, waiting: &Waiting) -> Plan {
    let (webhook, why) = match table.judge(&waiting.webhook_id, event) {
        None => (Arc::new(stand_in(event, waiting)), gone("The webhook is no more")),
        Some((webhook, Some(refusal))) => (Arc::clone(webhook), refused(refusal)),
        Some((webhook, None)) => return goes_on(webhook, waiting),
    };
    Plan {
        skipped: vec![Skip {
            webhook,
            progress: waiting.progress.clone(),
            why,
        }],
        ..Plan::default()
    }
}

fn goes_on(webhook: &Arc<Webhook>, waiting: &Waiting) -> Plan {
    let owed = Owed {
        webhook: Arc::clone(webhook),
        progress: waiting.progress.clone(),
        due: Some(waiting.due),
    };
    Plan {
        owed: vec![owed],
        ..Plan::default()
    }
}

fn stand_in(event: &Event, waiting: &Waiting) -> Webhook {
    let mut webhook = Webhook::new(waiting.webhook_id.clone(), "", Vec::new());
    webhook.account_id = event.account.clone();
    webhook
}

fn gone(message: &str) -> OutcomeError {
    OutcomeError {
        kind: ErrorKind::WebhookGone,
        message: message.to_owned(),
    }
}

fn refused(refusal: Refusal) -> OutcomeError {
    match refusal {
        Refusal::Cancelled => gone(&refusal.to_string()),
        _ => OutcomeError {
            kind: ErrorKind::WebhookDisabled,
            message: refusal.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Origins, account, event, waiting};

    #[test]
    fn what_stands_in_for_a_gone_webhook_has_its_id_and_the_events_account() {
        let mut event = event("{}");
        event.account = account("other");
        let carrier = Carrier::Retry(Box::new(waiting("wh_gone")));
        let plan = plan(&Table::default(), &Origins::default().arrival(event, carrier));
        let stand_in = &plan.skipped[0].webhook;
        assert_eq!(
            (stand_in.id.as_str(), stand_in.account_id.as_str()),
            ("wh_gone", "other")
        );
        assert_eq!(plan.skipped[0].progress, waiting("wh_gone").progress);
    }
}
