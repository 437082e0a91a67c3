//! What one attempt met. An unhappy endpoint is a value, not an `Err`.

use std::time::Duration;

use postrider_types::ErrorKind;
use postrider_types::outcome::ResponseFacts;

/// What one request met.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A status came.
    Answered(Answer),
    /// No status came.
    Failed(Failure),
}

/// An answer with a status.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status: 200–599 as a rule; anything but 200–299 is a failure.
    pub status: u16,
    /// `Retry-After` as it came, if it was visible ASCII.
    pub retry_after: Option<String>,
    /// What is kept of the response.
    pub response: ResponseFacts,
}

/// Why no status came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The closed word.
    pub kind: ErrorKind,
    /// A sentence for people; names no resolved address and no secret.
    pub message: String,
}

/// A reply and how long it took, from the monotonic clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    /// What came.
    pub reply: Reply,
    /// From the call to the end of the response or the failure.
    pub spent: Duration,
}
