//! What a reply means for its delivery: the rules of the contract's section 8 in one `match`. Pure.

use std::time::Duration;

use postrider_types::{DeadLetterReason, ErrorKind, Timestamp};

use crate::reply::Reply;
use crate::retry_after;

/// What becomes of the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint took it.
    Delivered,
    /// Another attempt is due; `after` is what the endpoint asked for.
    Retry {
        /// `Retry-After`, when it was said and understood.
        after: Option<Duration>,
    },
    /// It will not be tried again.
    GiveUp {
        /// Why not.
        reason: DeadLetterReason,
    },
}

/// What a reply tells of the endpoint, whatever becomes of the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It takes deliveries.
    Well,
    /// It does not.
    Failing,
    /// It asks never to be called again.
    Gone,
    /// It was not asked: its address, its URL or its credentials cannot be used. It fails, but leaving it
    /// alone for a while would spare nobody.
    Unusable,
    /// Nothing: the trouble was on our side of it.
    Unknown,
}

/// What a reply tells of the endpoint.
#[must_use]
pub const fn find(reply: &Reply) -> Finding {
    match reply {
        Reply::Answered(answer) => match answer.status {
            200..=299 => Finding::Well,
            410 => Finding::Gone,
            _ => Finding::Failing,
        },
        Reply::Failed(failure) => match failure.kind {
            ErrorKind::BlockedAddress | ErrorKind::BadUrl | ErrorKind::Cancelled => Finding::Unusable,
            ErrorKind::ProxyFailed => Finding::Unknown,
            _ => Finding::Failing,
        },
    }
}

/// What the verdict depends on besides the reply.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// How many retries the webhook allows.
    pub max_retries: u32,
    /// `delivery.retry.permanent_statuses`
    pub permanent_statuses: &'a [u16],
}

/// Judges the reply to attempt `attempt` (1, 2, …), which ended at `now`.
#[must_use]
pub fn judge(reply: &Reply, attempt: u32, rules: &Rules<'_>, now: Timestamp) -> Verdict {
    use DeadLetterReason as Reason;
    let retry = |after| {
        if attempt > rules.max_retries {
            Verdict::GiveUp {
                reason: Reason::Exhausted,
            }
        } else {
            Verdict::Retry { after }
        }
    };
    let give_up = |reason| Verdict::GiveUp { reason };
    match reply {
        Reply::Answered(answer) => match answer.status {
            200..=299 => Verdict::Delivered,
            410 => give_up(Reason::Gone),
            status if rules.permanent_statuses.contains(&status) => give_up(Reason::PermanentStatus),
            _ => retry(
                answer
                    .retry_after
                    .as_deref()
                    .and_then(|text| retry_after::parse(text, now)),
            ),
        },
        Reply::Failed(failure) => match failure.kind {
            ErrorKind::BlockedAddress => give_up(Reason::BlockedAddress),
            ErrorKind::BadUrl => give_up(Reason::BadUrl),
            _ => retry(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use postrider_types::outcome::ResponseFacts;
    use proptest::prelude::*;

    use super::*;
    use crate::reply::{Answer, Failure};

    const NOW: Timestamp = Timestamp::from_millis(1_763_805_600_000);

    fn answer(status: u16, retry_after: Option<&str>) -> Reply {
        Reply::Answered(Answer {
            status,
            retry_after: retry_after.map(str::to_owned),
            response: ResponseFacts {
                content_type: None,
                body: String::new(),
                truncated: false,
            },
        })
    }

    fn failure(kind: ErrorKind) -> Reply {
        let message = String::new();
        Reply::Failed(Failure { kind, message })
    }

    fn first(reply: &Reply) -> Verdict {
        let rules = Rules {
            max_retries: 10,
            permanent_statuses: &[404, 410],
        };
        judge(reply, 1, &rules, NOW)
    }

    const fn give_up(reason: DeadLetterReason) -> Verdict {
        Verdict::GiveUp { reason }
    }

    #[test]
    fn statuses_are_judged_as_the_contract_says() {
        let retry = Verdict::Retry { after: None };
        for (status, verdict) in [
            (101, retry),
            (199, retry),
            (200, Verdict::Delivered),
            (204, Verdict::Delivered),
            (299, Verdict::Delivered),
            (301, retry),
            (400, retry),
            (404, give_up(DeadLetterReason::PermanentStatus)),
            (410, give_up(DeadLetterReason::Gone)),
            (429, retry),
            (500, retry),
            (599, retry),
            (999, retry),
        ] {
            assert_eq!(first(&answer(status, None)), verdict, "{status}");
        }
    }

    #[test]
    fn only_policy_failures_are_final() {
        for kind in ErrorKind::ALL {
            let verdict = match kind {
                ErrorKind::BlockedAddress => give_up(DeadLetterReason::BlockedAddress),
                ErrorKind::BadUrl => give_up(DeadLetterReason::BadUrl),
                _ => Verdict::Retry { after: None },
            };
            assert_eq!(first(&failure(kind)), verdict, "{kind:?}");
        }
    }

    #[test]
    fn only_what_the_endpoint_did_itself_is_held_against_it() {
        for (reply, finding) in [
            (answer(204, None), Finding::Well),
            (answer(302, None), Finding::Failing),
            (answer(410, None), Finding::Gone),
            (answer(500, None), Finding::Failing),
            (failure(ErrorKind::Timeout), Finding::Failing),
            (failure(ErrorKind::Dns), Finding::Failing),
            (failure(ErrorKind::BlockedAddress), Finding::Unusable),
            (failure(ErrorKind::BadUrl), Finding::Unusable),
            (failure(ErrorKind::Cancelled), Finding::Unusable),
            (failure(ErrorKind::ProxyFailed), Finding::Unknown),
        ] {
            assert_eq!(find(&reply), finding, "{reply:?}");
        }
    }

    #[test]
    fn retry_after_counts_on_every_failing_status() {
        let asked = Verdict::Retry {
            after: Some(Duration::from_secs(120)),
        };
        for status in [302, 403, 429, 500, 503] {
            assert_eq!(first(&answer(status, Some("120"))), asked, "{status}");
        }
        assert_eq!(first(&answer(200, Some("120"))), Verdict::Delivered);
        assert_eq!(first(&answer(503, Some("later"))), Verdict::Retry { after: None });
    }

    proptest! {
        #[test]
        fn a_failure_is_exhausted_exactly_when_no_retry_is_left(attempt in 1..20_u32, max_retries in 0..=10_u32) {
            let rules = Rules { max_retries, permanent_statuses: &[] };
            let verdict = judge(&answer(503, None), attempt, &rules, NOW);
            let exhausted = give_up(DeadLetterReason::Exhausted);
            prop_assert_eq!(verdict == exhausted, attempt > max_retries);
        }

        #[test]
        fn a_success_is_a_success_at_any_attempt(status in 200..=299_u16, attempt in any::<u32>()) {
            let rules = Rules { max_retries: 0, permanent_statuses: &[status] };
            prop_assert_eq!(judge(&answer(status, None), attempt, &rules, NOW), Verdict::Delivered);
        }
    }
}
