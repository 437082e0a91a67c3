//! A webhook: an endpoint URL, the event types it wants, a filter, credentials, a retry policy.
//!
//! What can be judged without knowing URLs, filters or keys is judged here; the crates that know
//! those add their own faults.

mod credentials;
mod faults;
mod id;
mod shown;
mod signing;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::credentials::{BasicAuth, ClientCertificate, CustomHeader};
pub use self::id::{BadWebhookId, WebhookId};
use self::shown::shown;
pub use self::signing::{PreviousSecret, Signing};
use crate::clock::Timestamp;
use crate::event::{AccountId, EventType};

/// The most retries a webhook may ask for.
pub const MAX_RETRIES: u32 = 10;

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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    pub(super) fn webhook() -> Webhook {
        Webhook::new(
            WebhookId::new("wh_1").unwrap(),
            "https://merchant.example/hooks",
            vec![EventType::OrderShipped],
        )
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
