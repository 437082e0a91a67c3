//! What can be wrong with a webhook, as far as it can be judged without knowing URLs, filters or keys.

use super::{BasicAuth, CustomHeader, MAX_RETRIES, Webhook};
use crate::event::EventType;
use crate::fault::Fault;

impl Webhook {
    /// The faults of everything but the URL's policy, the filter, the signing key and the client
    /// certificate.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, path: &str, reason: &str| {
            if !holds {
                faults.push(Fault::new(path, reason));
            }
        };
        require(
            !self.events.is_empty(),
            "events",
            "is empty; name at least one of order_shipped, order_error, tracking_update",
        );
        require(!has_duplicates(&self.events), "events", "names an event type twice");
        require(
            self.description.chars().count() <= 1024,
            "description",
            "is longer than 1024 characters",
        );
        require(
            self.retry.max_retries.is_none_or(|n| n <= MAX_RETRIES),
            "retry.max_retries",
            "must be 0 to 10",
        );
        require(
            self.timeout_ms.is_none_or(|ms| (1..=300_000).contains(&ms)),
            "timeout_ms",
            "must be 1 to 300000",
        );
        require(
            self.max_in_flight.is_none_or(|n| (1..=1024).contains(&n)),
            "max_in_flight",
            "must be 1 to 1024",
        );
        require(
            self.rate_limit_per_second.is_none_or(|n| (1..=100_000).contains(&n)),
            "rate_limit_per_second",
            "must be 1 to 100000",
        );
        faults.extend(self.auth.iter().flat_map(BasicAuth::faults));
        faults.extend(self.header.iter().flat_map(|header| self.header_faults(header)));
        faults
    }

    fn header_faults(&self, header: &CustomHeader) -> Vec<Fault> {
        const REFUSED: &str = "is a header that postrider sets itself or that is not the merchant's to set";
        const VALUE: &str = "must be 1 to 1024 visible ASCII characters, with spaces only between them";
        let mut faults = Vec::new();
        if !is_token(&header.name) {
            faults.push(Fault::new(
                "header.name",
                "must be an RFC 9110 token of at most 64 characters",
            ));
        } else if self.is_refused_header(&header.name) {
            faults.push(Fault::new("header.name", REFUSED));
        }
        if !is_header_value(header.value.expose()) {
            faults.push(Fault::new("header.value", VALUE));
        }
        faults
    }

    fn is_refused_header(&self, name: &str) -> bool {
        const NAMES: [&str; 20] = [
            "host",
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "expect",
            "accept-encoding",
            "date",
            "cookie",
            "forwarded",
            "via",
            "user-agent",
            "traceparent",
            "tracestate",
            "content-length",
            "content-type",
            "proxy-connection",
            "http2-settings",
        ];
        const PREFIXES: [&str; 9] = [
            "webhook-",
            "proxy-",
            "content-",
            "x-forwarded-",
            "x-postrider-",
            "x-amz-",
            "x-goog-",
            "metadata",
            "sec-",
        ];
        let name = name.to_ascii_lowercase();
        NAMES.contains(&&*name)
            || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || (name == "authorization" && self.auth.is_some())
    }
}

impl BasicAuth {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.username.contains(':') {
            faults.push(Fault::new("auth.username", "must not hold a colon (RFC 7617)"));
        }
        for (path, text) in [
            ("auth.username", &*self.username),
            ("auth.password", self.password.expose()),
        ] {
            if has_controls(text) {
                faults.push(Fault::new(path, "must not hold control characters"));
            }
        }
        faults
    }
}

fn has_duplicates(events: &[EventType]) -> bool {
    events
        .iter()
        .enumerate()
        .any(|(at, event)| events[..at].contains(event))
}

fn has_controls(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn is_token(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

fn is_header_value(value: &str) -> bool {
    let visible = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    (1..=1024).contains(&value.len()) && visible && value.trim() == value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::webhook::tests::webhook;

    fn paths(webhook: &Webhook) -> Vec<String> {
        webhook.faults().into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn every_fault_is_named_by_its_field() {
        let mut bad = webhook();
        bad.events = vec![EventType::OrderError, EventType::OrderError];
        bad.retry.max_retries = Some(11);
        bad.auth = Some(BasicAuth {
            username: "a:b".into(),
            password: Secret::new("x\n"),
        });
        bad.header = Some(CustomHeader {
            name: "Webhook-Id".into(),
            value: Secret::new(" x"),
        });
        bad.max_in_flight = Some(0);
        assert_eq!(
            paths(&bad),
            [
                "events",
                "retry.max_retries",
                "max_in_flight",
                "auth.username",
                "auth.password",
                "header.name",
                "header.value"
            ]
        );
    }

    #[test]
    fn authorization_is_the_merchants_own_unless_basic_auth_is_set() {
        let mut hook = webhook();
        hook.header = Some(CustomHeader {
            name: "Authorization".into(),
            value: Secret::new("Bearer x"),
        });
        assert_eq!(paths(&hook), [""; 0]);
        hook.auth = Some(BasicAuth {
            username: "u".into(),
            password: Secret::new("p"),
        });
        assert_eq!(paths(&hook), ["header.name"]);
    }
}
