//! Notices: what an operator or a merchant should hear of; records of the notices topic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::event::AccountId;
use crate::webhook::{WebhookId, WebhookStatus};

/// The name of the schema that every notice carries.
pub const SCHEMA: &str = "postrider.notice.v1";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NoticeKind {
    /// A webhook was disabled.
    #[serde(rename = "webhook.disabled")]
    WebhookDisabled,
    /// A webhook was enabled again.
    #[serde(rename = "webhook.enabled")]
    WebhookEnabled,
    /// A webhook failed so often in a row that it is left alone for a while.
    #[serde(rename = "webhook.circuit_opened")]
    CircuitOpened,
    /// Its probe succeeded; it gets its deliveries again.
    #[serde(rename = "webhook.circuit_closed")]
    CircuitClosed,
    /// A delivery has used up its attempts.
    #[serde(rename = "delivery.exhausted")]
    DeliveryExhausted,
}

/// One operational event of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// Always [`SCHEMA`].
    pub schema: std::borrow::Cow<'static, str>,
    /// What happened.
    pub notice: NoticeKind,
    /// Whose webhook.
    pub account_id: AccountId,
    /// Which webhook.
    pub webhook_id: WebhookId,
    /// Which delivery, where it is about one.
    pub delivery_id: Option<DeliveryId>,
    /// Why, in a sentence without secrets.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// The instance that noticed.
    pub instance: String,
}

/// What postrider itself changes of a webhook: a record of the webhooks topic under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusChange {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// What it is from now on.
    pub status: WebhookStatus,
    /// Why, in a closed word: `gone` (410) or `failing` (`delivery.disable_after`).
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
    /// The version of the webhook's document that was judged; 0 for a webhook of the file, which has none.
    #[serde(default)]
    pub version: u64,
}

impl StatusChange {
    /// The key of its record. A managed webhook's own id is its document's key, which must not be overwritten.
    #[must_use]
    pub fn key(&self) -> String {
        if self.version == 0 {
            self.webhook_id.to_string()
        } else {
            format!("{}{STATUS_SUFFIX}", self.webhook_id)
        }
    }
}

/// What the key of a managed webhook's status record adds to the webhook's id.
pub const STATUS_SUFFIX: &str = "/status";
