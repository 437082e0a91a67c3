//! What a Test transmitted: everything that was sent and everything that came back, with secrets masked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::outcome::OutcomeError;

/// Bytes of a response's body that a Test shows.
pub const MAX_SHOWN_BODY: usize = 16 * 1024;

/// One request of a Test or a first connection, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Transmission {
    /// Whether the endpoint answered as it has to: a 2xx with JSON, or 204.
    pub passed: bool,
    /// What a person is told.
    pub message: String,
    /// What may help, where something may.
    pub hint: Option<String>,
    /// The request's wall time in milliseconds.
    pub time_spent_ms: f64,
    /// What was sent.
    pub request: SentRequest,
    /// What came back; null when nothing did.
    pub response: Option<SeenResponse>,
    /// Why no status came.
    pub error: Option<OutcomeError>,
}

/// A request as it was sent; secrets are masked.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SentRequest {
    /// Always `POST`.
    pub method: String,
    /// The URL, with the values of its query masked.
    pub url: String,
    /// Every header that postrider set.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// A response as it came; the webhook's own secrets in it are masked.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SeenResponse {
    /// The status code.
    pub status: u16,
    /// What the status list says it means.
    pub text: String,
    /// Its headers; those of one name are joined by commas.
    pub headers: BTreeMap<String, String>,
    /// The first 16 KiB of its body.
    pub body: String,
    /// Whether there was more, or the body broke off.
    pub truncated: bool,
}

/// What the answer to adding a webhook tells of its first connection.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FirstConnection {
    /// As in a [`Transmission`].
    pub passed: bool,
    /// As in a [`Transmission`].
    pub message: String,
    /// As in a [`Transmission`].
    pub hint: Option<String>,
}

impl From<Transmission> for FirstConnection {
    fn from(whole: Transmission) -> Self {
        let Transmission {
            passed, message, hint, ..
        } = whole;
        Self { passed, message, hint }
    }
}
