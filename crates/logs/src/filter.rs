//! Which outcomes are asked for.

use std::str::FromStr;

use postrider_types::{AccountId, EventType, Outcome, OutcomeResult, Timestamp, WebhookId};

use crate::key::Key;
use crate::terms::{Kind, Term};

/// Which attempts by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// All but first attempts.
    Any,
    /// The retry of this number; 0 is the first attempt.
    Number(u32),
}

impl Retry {
    pub(crate) const fn matches(self, retry: u32) -> bool {
        match self {
            Self::Any => retry > 0,
            Self::Number(number) => retry == number,
        }
    }
}

/// The text is neither a number nor `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("retry is a number, or true for all retries")]
pub struct BadRetry;

impl FromStr for Retry {
    type Err = BadRetry;

    fn from_str(text: &str) -> Result<Self, BadRetry> {
        match text {
            "true" => Ok(Self::Any),
            _ => text.parse().map(Self::Number).map_err(|_| BadRetry),
        }
    }
}

/// Which outcomes are asked for: those for which all that is said here holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one of these accounts; `None` is of any.
    pub accounts: Option<Vec<AccountId>>,
    /// Of this webhook.
    pub webhook: Option<WebhookId>,
    /// Sent to this endpoint, written as outcomes have it.
    pub endpoint: Option<String>,
    /// Of this event type.
    pub event: Option<EventType>,
    /// With this result.
    pub result: Option<OutcomeResult>,
    /// Of attempts by their number.
    pub retry: Option<Retry>,
    /// With this status code.
    pub status_code: Option<u16>,
    /// With this `OrderID`.
    pub order_id: Option<String>,
    /// With this `TransactionID`.
    pub transaction_id: Option<String>,
    /// With this `tracking`.
    pub tracking: Option<String>,
    /// Not before this date.
    pub from: Option<Timestamp>,
    /// Before this date.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Whether an outcome of this date is asked for.
    #[must_use]
    pub fn matches(&self, outcome: &Outcome, date: Timestamp) -> bool {
        let same = |asked: &Option<String>, found: Option<&str>| asked.is_none() || asked.as_deref() == found;
        let of = &self.accounts;
        of.as_ref().is_none_or(|of| of.contains(&outcome.account_id))
            && self.webhook.as_ref().is_none_or(|asked| *asked == outcome.webhook_id)
            && self.endpoint.as_ref().is_none_or(|asked| *asked == outcome.endpoint)
            && self.event.is_none_or(|asked| asked == outcome.event)
            && self.result.is_none_or(|asked| asked == outcome.result)
            && self.retry.is_none_or(|asked| asked.matches(outcome.retry))
            && self.status_code.is_none_or(|asked| Some(asked) == outcome.status_code)
            && same(&self.order_id, outcome.order_id.as_deref())
            && same(&self.transaction_id, outcome.transaction_id.as_deref())
            && same(&self.tracking, outcome.tracking.as_deref())
            && self.from.is_none_or(|from| date >= from)
            && self.to.is_none_or(|to| date < to)
    }

    /// The identifiers that are asked for.
    pub(crate) fn terms(&self) -> Vec<Term> {
        let all = [
            (Kind::Order, &self.order_id),
            (Kind::Transaction, &self.transaction_id),
            (Kind::Tracking, &self.tracking),
        ];
        all.into_iter()
            .filter_map(|(kind, text)| Some(Term::new(kind, text.as_ref()?)))
            .collect()
    }

    /// Whether anything is asked that a facet tells.
    pub(crate) const fn has_facets(&self) -> bool {
        self.accounts.is_some()
            || self.webhook.is_some()
            || self.endpoint.is_some()
            || self.event.is_some()
            || self.result.is_some()
            || self.retry.is_some()
            || self.status_code.is_some()
    }

    /// From the first key to the one that is too late.
    pub(crate) fn keys(&self) -> std::ops::Range<Key> {
        let from = self.from.map_or(Key(0), Key::at);
        let to = self.to.map_or(Key::END, Key::at);
        from..to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_a_number_or_true() {
        assert_eq!("true".parse(), Ok(Retry::Any));
        assert_eq!("3".parse(), Ok(Retry::Number(3)));
        for bad in ["", "false", "-1", "1.5", "TRUE"] {
            assert_eq!(bad.parse::<Retry>(), Err(BadRetry), "{bad}");
        }
        assert!(Retry::Any.matches(1) && !Retry::Any.matches(0) && Retry::Number(0).matches(0));
    }
}
