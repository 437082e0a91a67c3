//! A webhook: an endpoint URL, the event types it wants, a filter, credentials, a retry policy.
//!
//! What can be judged without knowing URLs, filters or keys is judged here; the crates that know
//! those add their own faults.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Timestamp;
use crate::event::{AccountId, EventType};
use crate::fault::Fault;
use crate::secret::Secret;

/// The most retries a webhook may ask for.
pub const MAX_RETRIES: u32 = 10;

/// A webhook's id: 1–64 of `A-Za-z0-9_-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(with = "String")]
pub struct WebhookId(Arc<str>);

/// The text cannot be a webhook's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a webhook id is 1 to 64 of A-Z a-z 0-9 _ -")]
pub struct BadWebhookId;

impl WebhookId {
    /// Checks the text.
    ///
    /// # Errors
    /// [`BadWebhookId`] when the text is empty, longer than 64, or holds another character.
    pub fn new(text: &str) -> Result<Self, BadWebhookId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.into())).ok_or(BadWebhookId)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for WebhookId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Whether a webhook gets events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookStatus {
    /// It gets what it asked for.
    #[default]
    Active,
    /// Switched off by its owner, or by postrider with a reason.
    Disabled,
    /// Deleted, and still counted.
    Cancelled,
}

impl WebhookStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Active, Self::Disabled, Self::Cancelled];

    /// The word used in documents and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Cancelled => "cancelled",
        }
    }
}

/// HTTP Basic credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// Holds no colon.
    pub username: String,
    /// Never shown.
    pub password: Secret,
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

/// One header of the merchant's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomHeader {
    /// A token as RFC 9110 5.6.2 has it.
    pub name: String,
    /// Never shown.
    pub value: Secret,
}

/// Whether and how often a failed delivery is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Off means one attempt.
    pub enabled: bool,
    /// 0–10; omitted means `delivery.retry.max_retries`.
    pub max_retries: Option<u32>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            enabled: true,
            max_retries: None,
        }
    }
}

/// How requests are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// `whsec_…` (HMAC) or `whsk_…` (ed25519).
    pub secret: Secret,
    /// The one before it, which goes on signing for a while after a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousSecret>,
}

impl Signing {
    /// Secrets that sign beside the newest at most: each is a signature more in every request.
    pub const MOST_ROTATED_OUT: usize = 3;

    /// Signing with one secret.
    #[must_use]
    pub const fn with(secret: Secret) -> Self {
        Self { secret, previous: None }
    }

    /// The secrets that were rotated out, the newest first.
    pub fn rotated_out(&self) -> impl Iterator<Item = &PreviousSecret> {
        std::iter::successors(self.previous.as_ref(), |old| old.previous.as_deref())
    }

    /// All secrets, the newest first.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.secret).chain(self.rotated_out().map(|old| &old.secret))
    }

    /// Signing with another secret from now on, and until `expires_at` with this one too. Those before it go on until
    /// their own time; of more than [`Self::MOST_ROTATED_OUT`] the oldest ends at once.
    #[must_use]
    pub fn rotated(self, secret: Secret, expires_at: Timestamp) -> Self {
        let last = PreviousSecret {
            secret: self.secret,
            expires_at,
            previous: self.previous.map(Box::new),
        };
        let signing = Self {
            secret,
            previous: Some(last),
        };
        signing.keep(|place, _| place < Self::MOST_ROTATED_OUT)
    }

    /// Without the secrets whose time is over at `now`.
    #[must_use]
    pub fn without_expired(self, now: Timestamp) -> Self {
        self.keep(|_, old| old.expires_at > now)
    }

    /// With those of the secrets that were rotated out which are to be kept, by their place.
    fn keep(self, keep: impl Fn(usize, &PreviousSecret) -> bool) -> Self {
        let old: Vec<&PreviousSecret> = self.rotated_out().collect();
        let kept = old.iter().enumerate().filter(|(place, old)| keep(*place, old));
        let previous = kept.rev().fold(None, |before, (_, old)| {
            Some(PreviousSecret {
                secret: old.secret.clone(),
                expires_at: old.expires_at,
                previous: before.map(Box::new),
            })
        });
        Self {
            secret: self.secret,
            previous,
        }
    }
}

/// A signing secret that was rotated out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: Secret,
    /// When it stops signing.
    pub expires_at: Timestamp,
    /// The one before it, where its time was not over either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Box<Self>>,
}

/// What an endpoint is shown that asks who calls it (mTLS).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// A PEM chain, its own certificate first.
    pub certificate: String,
    /// Its private key in PEM. Never shown.
    pub key: Secret,
}

/// A subscription of one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// The account whose events it gets.
    #[serde(default)]
    pub account_id: AccountId,
    /// Where to POST.
    pub url: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The event types it wants; at least one.
    pub events: Vec<EventType>,
    /// Conditions on the payload; null means every event.
    #[serde(default)]
    pub filter: Option<serde_json::Value>,
    /// The owner's switch.
    #[serde(default = "switched_on")]
    pub enabled: bool,
    /// What postrider and the owner made of it.
    #[serde(default)]
    pub status: WebhookStatus,
    /// Why postrider disabled it.
    #[serde(default)]
    pub disabled_reason: Option<String>,
    /// Basic credentials.
    #[serde(default)]
    pub auth: Option<BasicAuth>,
    /// A header of the merchant's own.
    #[serde(default)]
    pub header: Option<CustomHeader>,
    /// The retry policy.
    #[serde(default)]
    pub retry: Retry,
    /// Signing.
    #[serde(default)]
    pub signing: Option<Signing>,
    /// The client certificate of its TLS connections.
    #[serde(default)]
    pub tls: Option<ClientCertificate>,
    /// Overrides `delivery.timeout`; milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Overrides `delivery.max_in_flight_per_webhook`.
    #[serde(default)]
    pub max_in_flight: Option<u32>,
    /// Requests per second at most.
    #[serde(default)]
    pub rate_limit_per_second: Option<u32>,
    /// When it was added.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
    /// Counts changes.
    #[serde(default)]
    pub version: u64,
}

const fn switched_on() -> bool {
    true
}

impl Webhook {
    /// A webhook with nothing but what is needed.
    pub fn new(id: WebhookId, url: impl Into<String>, events: Vec<EventType>) -> Self {
        Self {
            id,
            account_id: AccountId::default(),
            url: url.into(),
            description: String::new(),
            events,
            filter: None,
            enabled: true,
            status: WebhookStatus::Active,
            disabled_reason: None,
            auth: None,
            header: None,
            retry: Retry::default(),
            signing: None,
            tls: None,
            timeout_ms: None,
            max_in_flight: None,
            rate_limit_per_second: None,
            created_at: None,
            updated_at: None,
            version: 0,
        }
    }

    /// Whether it gets events now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.effective_status() == WebhookStatus::Active
    }

    /// The status with the owner's switch taken into account.
    #[must_use]
    pub fn effective_status(&self) -> WebhookStatus {
        match self.status {
            WebhookStatus::Active if !self.enabled => WebhookStatus::Disabled,
            status => status,
        }
    }

    /// How often a failed delivery is tried again, given the configured default.
    #[must_use]
    pub fn max_retries(&self, default: u32) -> u32 {
        if self.retry.enabled {
            self.retry.max_retries.unwrap_or(default)
        } else {
            0
        }
    }

    /// The URL as outcomes show it: without userinfo, and with the query's values masked.
    #[must_use]
    pub fn endpoint(&self) -> Cow<'_, str> {
        shown(&self.url)
    }

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

fn shown(url: &str) -> Cow<'_, str> {
    if !url.contains(['?', '@']) {
        return Cow::Borrowed(url);
    }
    let (before_query, query) = url
        .split_once('?')
        .map_or((url, None), |(before, query)| (before, Some(query)));
    let mut text = without_userinfo(before_query);
    if let Some(query) = query {
        let masked: Vec<String> = query
            .split('&')
            .map(|pair| {
                pair.split_once('=')
                    .map_or("***".to_owned(), |(name, _)| format!("{name}=***"))
            })
            .collect();
        text.push('?');
        text.push_str(&masked.join("&"));
    }
    Cow::Owned(text)
}

fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    [scheme, "://", host, path].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook() -> Webhook {
        Webhook::new(
            WebhookId::new("wh_1").unwrap(),
            "https://merchant.example/hooks",
            vec![EventType::OrderShipped],
        )
    }

    fn paths(webhook: &Webhook) -> Vec<String> {
        webhook.faults().into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn needs_only_an_id_a_url_and_events() {
        let parsed: Webhook =
            serde_json::from_str(r#"{"id":"wh_1","url":"https://merchant.example/hooks","events":["order_shipped"]}"#)
                .unwrap();
        assert_eq!(parsed, webhook());
        assert_eq!(parsed.faults(), []);
        assert!(parsed.is_active());
        assert_eq!(parsed.max_retries(7), 7);
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
    fn a_rotated_secret_signs_until_its_time_and_so_do_those_before_it_up_to_a_number() {
        let of = |signing: &Signing| -> Vec<String> { signing.secrets().map(|one| one.expose().to_owned()).collect() };
        let until = |second: i64| Timestamp::from_millis(second * 1_000);
        let first = Signing::with(Secret::new("1"));
        let rotated = first
            .rotated(Secret::new("2"), until(20))
            .rotated(Secret::new("3"), until(5))
            .rotated(Secret::new("4"), until(30));
        assert_eq!(of(&rotated), ["4", "3", "2", "1"]);
        assert_eq!(
            of(&rotated.clone().without_expired(until(5))),
            ["4", "3", "1"],
            "each by its own time"
        );
        assert_eq!(of(&rotated.clone().without_expired(until(30))), ["4"]);
        assert_eq!(of(&rotated.rotated(Secret::new("5"), until(40))), ["5", "4", "3", "2"]);
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

    #[test]
    fn the_endpoint_shows_neither_userinfo_nor_query_values() {
        assert_eq!(
            shown("https://u:p@m.example:8443/a/b?token=s3cret&x"),
            "https://m.example:8443/a/b?token=***&***"
        );
        assert_eq!(shown("http://m.example/@me"), "http://m.example/@me");
    }

    #[test]
    fn secrets_are_masked_when_written() {
        let mut hook = webhook();
        hook.auth = Some(BasicAuth {
            username: "u".into(),
            password: Secret::new("hunter2"),
        });
        assert!(!serde_json::to_string(&hook).unwrap().contains("hunter2"));
        assert!(!format!("{hook:?}").contains("hunter2"));
    }
}
