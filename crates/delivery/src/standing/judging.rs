//! What a finding does to a webhook's standing, and what follows from it.

use std::time::Duration;

use postrider_types::webhook::WebhookStatus;
use postrider_types::{StatusChange, Timestamp};
use tokio::time::Instant;

use super::{Clears, Disabled, Effects, Standing};
use crate::circuit::{Circuit, Ticket};
use crate::config::CircuitConfig;
use crate::notices::About;
use crate::verdict::Finding;

/// The rules for one finding.
pub(super) struct Judging<'a> {
    pub(super) circuit: &'a CircuitConfig,
    pub(super) disable_after: Duration,
    /// The webhook's last success that any instance told of.
    pub(super) succeeded: Option<Timestamp>,
    pub(super) about: About<'a>,
    pub(super) now: Instant,
}

impl Judging<'_> {
    pub(super) fn effects(&self, standing: &mut Standing, finding: Finding, ticket: Option<Ticket>) -> Effects {
        match finding {
            Finding::Well => self.well(standing),
            Finding::Gone => self.disable(standing, Disabled::Gone),
            Finding::Failing => {
                let opened = standing.circuit.fail(ticket, self.now, self.circuit);
                self.failing(standing).unwrap_or_else(|| self.opened(opened))
            }
            Finding::Unusable => {
                standing.circuit.forget(ticket);
                self.failing(standing).unwrap_or_default()
            }
            Finding::Unknown => {
                standing.circuit.forget(ticket);
                Effects::default()
            }
        }
    }

    fn well(&self, standing: &mut Standing) -> Effects {
        standing.failing_since = None;
        let closed = standing.circuit.succeed().then(|| self.about.circuit_closed());
        Effects {
            notices: closed.into_iter().collect(),
            ..Effects::default()
        }
    }

    fn opened(&self, opened: bool) -> Effects {
        if !opened {
            return Effects::default();
        }
        let notice = self.about.circuit_opened(self.circuit.failures, self.circuit.open);
        tracing::debug!(webhook.id = %self.about.webhook.id, "Circuit opened");
        Effects {
            notices: vec![notice],
            clears: Some(Clears::Parked),
            ..Effects::default()
        }
    }

    fn failing(&self, standing: &mut Standing) -> Option<Effects> {
        let since = standing.failing_since.get_or_insert(self.about.at);
        // What fails here may succeed with another instance; and who enabled or changed the webhook since then begins anew.
        let renewed = self.about.webhook.updated_at;
        let since = [self.succeeded, renewed]
            .into_iter()
            .flatten()
            .fold(*since, Timestamp::max);
        let over = self.about.at.since(since) >= self.disable_after;
        over.then(|| self.disable(standing, Disabled::Failing(self.disable_after)))
    }

    fn disable(&self, standing: &mut Standing, why: Disabled) -> Effects {
        let webhook = self.about.webhook;
        tracing::info!(webhook.id = %webhook.id, reason = why.as_str(), "Webhook disabled");
        standing.disabled = Some((why, self.now));
        standing.circuit = Circuit::default();
        let change = StatusChange {
            webhook_id: webhook.id.clone(),
            status: WebhookStatus::Disabled,
            reason: Some(why.as_str().to_owned()),
            at: self.about.at,
            version: webhook.version,
        };
        Effects {
            notices: vec![self.about.disabled(&why.in_words())],
            status_change: Some(change),
            clears: Some(Clears::Skipped(why)),
        }
    }
}
