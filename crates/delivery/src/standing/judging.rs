//! What a finding does to a webhook's standing, and what follows from it.

use std::time::Duration;

use postrider_types::webhook::WebhookStatus;
use postrider_types::{StatusChange, Timestamp};
use tokio::time::Instant;

use super::{Clears, Disabled, Effects, Failing, Standing};
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
        standing.failing = None;
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
        let failing = standing.failing.get_or_insert(Failing {
            since: self.about.at,
            met: Some(self.now),
        });
        // What fails here may succeed with another instance; and who enabled or changed the webhook since then begins anew.
        let renewed = self.succeeded.max(self.about.webhook.updated_at);
        let over = failing.lasts(renewed, self.about.at, self.now) >= self.disable_after;
        over.then(|| self.disable(standing, Disabled::Failing(self.disable_after)))
    }

    /// Now, or right after the webhook's last change where another clock was ahead of this one: what is said of a webhook
    /// counts only if it is younger.
    fn later_than(&self, change: Option<Timestamp>) -> Timestamp {
        let after = change.map(|at| at.after(Duration::from_millis(1)));
        after.map_or(self.about.at, |after| self.about.at.max(after))
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
            at: self.later_than(webhook.updated_at),
            version: webhook.version,
        };
        Effects {
            notices: vec![self.about.disabled(&why.in_words())],
            status_change: Some(change),
            clears: Some(Clears::Skipped(why)),
        }
    }
}
