//! Why an attempt has no HTTP status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why there is no HTTP status. Closed, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The name could not be resolved.
    Dns,
    /// The address answered with a refusal.
    ConnectRefused,
    /// No connection within its time.
    ConnectTimeout,
    /// No connection for another reason.
    ConnectFailed,
    /// The configured proxy did not connect us.
    ProxyFailed,
    /// The TLS handshake failed.
    Tls,
    /// The connection ended before a status came.
    ClosedBeforeResponse,
    /// The connection was reset.
    Reset,
    /// What came was not HTTP.
    BadResponse,
    /// The deadline passed after the connection was made.
    Timeout,
    /// Heads or informational answers over the limits.
    ResponseTooLarge,
    /// The attempt was given up on our side.
    Cancelled,
    /// The address is forbidden.
    BlockedAddress,
    /// The webhook is no more.
    WebhookGone,
    /// The webhook is disabled, or does not want the event any more.
    WebhookDisabled,
    /// The URL cannot be used.
    BadUrl,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Dns,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::ProxyFailed,
        Self::Tls,
        Self::ClosedBeforeResponse,
        Self::Reset,
        Self::BadResponse,
        Self::Timeout,
        Self::ResponseTooLarge,
        Self::Cancelled,
        Self::BlockedAddress,
        Self::WebhookGone,
        Self::WebhookDisabled,
        Self::BadUrl,
    ];

    /// The word used in outcomes and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::ProxyFailed => "proxy_failed",
            Self::Tls => "tls",
            Self::ClosedBeforeResponse => "closed_before_response",
            Self::Reset => "reset",
            Self::BadResponse => "bad_response",
            Self::Timeout => "timeout",
            Self::ResponseTooLarge => "response_too_large",
            Self::Cancelled => "cancelled",
            Self::BlockedAddress => "blocked_address",
            Self::WebhookGone => "webhook_gone",
            Self::WebhookDisabled => "webhook_disabled",
            Self::BadUrl => "bad_url",
        }
    }

    /// The code of the product's status list that stands for this error; `None` where nothing was dialled.
    #[must_use]
    pub const fn status_code(self) -> Option<u16> {
        match self {
            Self::Dns
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::ProxyFailed
            | Self::Tls => Some(599),
            Self::ClosedBeforeResponse | Self::Reset | Self::BadResponse => Some(444),
            Self::Timeout | Self::ResponseTooLarge | Self::Cancelled => Some(499),
            Self::BlockedAddress | Self::WebhookGone | Self::WebhookDisabled | Self::BadUrl => None,
        }
    }
}

/// Why an attempt has no HTTP status, in a closed word and in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeError {
    /// The closed word.
    pub kind: ErrorKind,
    /// For people; names no address and no secret.
    pub message: String,
}
