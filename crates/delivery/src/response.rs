//! Reading an answer. The status has decided already; the body is evidence, so as much of it is read as
//! the limits and the deadline allow, and whatever goes wrong is only noted.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use postrider_types::outcome::ResponseFacts;

use crate::reply::Answer;

/// Bytes of a body that are read.
pub const MAX_BODY: usize = 64 * 1024;
/// Bytes of a body's text that are kept in outcomes.
pub const MAX_TEXT: usize = 1024;
/// Bytes of a content type that are kept.
const MAX_CONTENT_TYPE: usize = 256;
/// Bytes of a `Retry-After` that are looked at; a date needs 29.
const MAX_RETRY_AFTER: usize = 128;

/// An answer as it came, within the limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The status.
    pub status: StatusCode,
    /// The head's fields; at most 100 of them in 32 KiB.
    pub headers: HeaderMap,
    /// The body's first 64 KiB.
    pub body: Bytes,
    /// Whether this is the whole body.
    pub complete: bool,
}

impl Received {
    /// What outcomes keep of it.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let body = text(&self.body);
        let truncated = !self.complete || body.is_cut;
        Answer {
            status: self.status.as_u16(),
            retry_after: self.retry_after(),
            response: ResponseFacts {
                content_type: self.content_type(),
                body: body.kept,
                truncated,
            },
        }
    }

    fn retry_after(&self) -> Option<String> {
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        (value.len() <= MAX_RETRY_AFTER).then(|| value.to_owned())
    }

    fn content_type(&self) -> Option<String> {
        let value = String::from_utf8_lossy(self.headers.get(CONTENT_TYPE)?.as_bytes());
        Some(value[..value.floor_char_boundary(MAX_CONTENT_TYPE)].to_owned())
    }
}

/// Whether the body ended within the limit.
pub(crate) async fn read_into(body: &mut BytesMut, incoming: &mut Incoming) -> bool {
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else { return false };
        let Ok(bytes) = frame.into_data() else { continue };
        let room = MAX_BODY - body.len();
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            return false;
        }
    }
    true
}

struct Text {
    kept: String,
    is_cut: bool,
}

/// The first [`MAX_TEXT`] bytes as text. A little more is decoded, so that a character at the border is
/// seen whole; replacing bad bytes never makes a text shorter, so the border stays behind the cut.
fn text(body: &[u8]) -> Text {
    const LONGEST_CHARACTER: usize = 4;
    let decoded = &body[..body.len().min(MAX_TEXT + LONGEST_CHARACTER)];
    let text = String::from_utf8_lossy(decoded);
    let kept = &text[..text.floor_char_boundary(MAX_TEXT)];
    Text {
        is_cut: kept.len() < text.len() || decoded.len() < body.len(),
        kept: kept.to_owned(),
    }
}

#[cfg(test)]
mod tests;
