//! The headers of a request, all of them. The set is closed: nothing an event or a Kafka header says
//! becomes a header, except the trace's parent, which was validated when it was read.

use std::fmt;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use postrider_types::delivery::TraceParent;
use postrider_types::{Event, Timestamp, Webhook, WebhookId};

use crate::scrub::basic_token;
use crate::signature::{Keys, webhook_message_id};

/// `user-agent`
pub const PRODUCT: &str = concat!("postrider/", env!("CARGO_PKG_VERSION"));

/// `webhook-id`
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
/// `webhook-timestamp`, in seconds.
pub const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// `webhook-signature`
pub const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// The event's type.
pub const EVENT: HeaderName = HeaderName::from_static("x-postrider-event");
/// The attempt's number, from 1.
pub const ATTEMPT: HeaderName = HeaderName::from_static("x-postrider-attempt");
/// When the event happened, RFC 3339.
pub const EVENT_TIME: HeaderName = HeaderName::from_static("x-postrider-event-time");
/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The webhook's own header cannot be sent as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no valid HTTP header")]
pub struct BadHeader;

/// What the headers of one request say.
#[derive(Debug, Clone, Copy)]
pub struct Sending<'a> {
    /// The event that is sent.
    pub event: &'a Event,
    /// The webhook it goes to.
    pub webhook: &'a WebhookId,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The trace it belongs to.
    pub trace: &'a TraceParent,
    /// When it is sent: signed, so it is new for every attempt.
    pub at: Timestamp,
}

/// The headers that are the same for every request to a webhook.
///
/// # Errors
/// [`BadHeader`] when the webhook's own header has no valid name or value.
pub fn fixed(webhook: &Webhook) -> Result<HeaderMap, BadHeader> {
    let mut headers = HeaderMap::new();
    // First, so that it could not replace one of ours.
    if let Some(header) = &webhook.header {
        let name: HeaderName = header.name.parse().map_err(|_| BadHeader)?;
        headers.insert(name, sensitive(header.value.expose())?);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
    if let Some(auth) = &webhook.auth {
        headers.insert(AUTHORIZATION, sensitive(&format!("Basic {}", basic_token(auth)))?);
    }
    Ok(headers)
}

/// How many headers each request has of its own, and one that the client adds.
const OF_REQUEST: usize = 8;

/// The headers of one request.
#[must_use]
pub fn of_request(fixed: &HeaderMap, keys: &Keys, sending: &Sending<'_>) -> HeaderMap {
    let Sending { event, .. } = sending;
    let id = webhook_message_id(&event.id, sending.webhook);
    let timestamp = sending.at.as_secs();
    let mut headers = HeaderMap::with_capacity(fixed.len() + OF_REQUEST);
    headers.extend(fixed.iter().map(|(name, value)| (name.clone(), value.clone())));
    if let Some(signature) = keys.sign(&id, sending.at, &event.body) {
        headers.insert(WEBHOOK_SIGNATURE, signature);
    }
    headers.insert(WEBHOOK_ID, ours(id));
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(timestamp));
    headers.insert(EVENT, HeaderValue::from_static(event.event_type.as_str()));
    headers.insert(ATTEMPT, HeaderValue::from(sending.attempt));
    headers.insert(EVENT_TIME, ours(&event.time().text()[..]));
    headers.insert(TRACEPARENT, ours(sending.trace.as_str()));
    headers
}

fn ours(text: impl TryInto<HeaderValue, Error: fmt::Debug>) -> HeaderValue {
    text.try_into().expect("ids, times and trace parents are visible ASCII")
}

fn sensitive(text: &str) -> Result<HeaderValue, BadHeader> {
    let mut value = HeaderValue::from_str(text).map_err(|_| BadHeader)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use postrider_types::Secret;
    use postrider_types::webhook::{BasicAuth, CustomHeader, Signing};

    use super::*;
    use crate::samples;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn webhook() -> Webhook {
        let mut webhook = samples::webhook("wh_1", "https://merchant.example/");
        webhook.auth = Some(BasicAuth {
            username: "ünï".into(),
            password: Secret::new("pässword"),
        });
        webhook.header = Some(CustomHeader {
            name: "X-Api-Key".into(),
            value: Secret::new("k3y"),
        });
        webhook
    }

    fn request(webhook: &Webhook) -> HeaderMap {
        let event = samples::event(1);
        let sending = Sending {
            event: &event,
            webhook: &webhook.id,
            attempt: 3,
            trace: &TRACE.parse().unwrap(),
            at: Timestamp::from_millis(1_763_805_600_999),
        };
        let keys = webhook.signing.as_ref().map(|signing| Keys::parse(signing).unwrap());
        of_request(&fixed(webhook).unwrap(), &keys.unwrap_or_default(), &sending)
    }

    fn written(headers: &HeaderMap) -> Vec<String> {
        let mut fields: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        fields.sort_unstable();
        fields.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn the_documented_headers_are_sent_and_no_others() {
        assert_eq!(
            written(&request(&webhook())),
            [
                "authorization: Basic w7xuw686cMOkc3N3b3Jk",
                "content-type: application/json",
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                &format!("user-agent: {PRODUCT}"),
                &format!(
                    "webhook-id: {}",
                    webhook_message_id(&samples::event(1).id, &webhook().id)
                ),
                "webhook-timestamp: 1763805600",
                "x-api-key: k3y",
                "x-postrider-attempt: 3",
                "x-postrider-event: tracking_update",
                "x-postrider-event-time: 2025-11-22T10:00:00.000Z",
            ]
        );
    }

    #[test]
    fn the_signature_covers_what_the_headers_say() {
        let secret = Secret::new(NEW);
        assert!(is_signed(&signed(Signing::with(secret.clone())), &secret));
    }

    #[test]
    fn during_a_rotation_all_secrets_sign_whose_time_is_not_over_and_after_it_the_new_one_alone() {
        let (new, old, oldest) = (Secret::new(NEW), Secret::new(OLD), Secret::new(OLDEST));
        let rotated = |oldest_until, old_until| {
            let signing = Signing::with(oldest.clone()).rotated(old.clone(), Timestamp::from_millis(oldest_until));
            signed(signing.rotated(new.clone(), Timestamp::from_millis(old_until)))
        };
        let (over, soon) = (1_763_805_600_999, 1_763_805_601_000);
        for (until, signing) in [
            ((soon, soon), [true, true, true]),
            ((over, soon), [false, true, true]),
            ((soon, over), [true, false, true]),
            ((over, over), [false, false, true]),
        ] {
            let headers = rotated(until.0, until.1);
            let verified = [&oldest, &old, &new].map(|secret| is_signed(&headers, secret));
            let count = headers[WEBHOOK_SIGNATURE].to_str().unwrap().split(' ').count();
            let signatures = signing.iter().filter(|signs| **signs).count();
            assert_eq!((verified, count), (signing, signatures), "{until:?}");
        }
    }

    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const OLDEST: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

    fn signed(signing: Signing) -> HeaderMap {
        let mut webhook = samples::webhook("wh_1", "https://merchant.example/");
        webhook.signing = Some(signing);
        request(&webhook)
    }

    fn is_signed(headers: &HeaderMap, secret: &Secret) -> bool {
        let text = |name| headers[&name].to_str().unwrap();
        crate::signature::verify(
            secret,
            text(WEBHOOK_ID),
            text(WEBHOOK_TIMESTAMP).parse().unwrap(),
            &samples::event(1).body,
            text(WEBHOOK_SIGNATURE),
        )
    }

    #[test]
    fn credentials_are_marked_sensitive_and_not_shown() {
        let headers = request(&webhook());
        for name in ["authorization", "x-api-key"] {
            assert!(headers[name].is_sensitive(), "{name}");
        }
        let shown = format!("{headers:?}");
        assert!(!shown.contains("k3y") && !shown.contains("w7xu"), "{shown}");
    }

    #[test]
    fn a_webhooks_header_cannot_replace_one_of_ours_or_break_the_request() {
        let mut webhook = webhook();
        for (name, value, is_sent) in [
            ("User-Agent", "x", true),
            ("Authorization", "Bearer x", true),
            ("Webhook-Id", "x", true),
            ("X Key", "x", false),
            ("X-Key", "x\r\ny: z", false),
        ] {
            webhook.header = Some(CustomHeader {
                name: name.into(),
                value: Secret::new(value),
            });
            assert_eq!(fixed(&webhook).is_ok(), is_sent, "{name}");
            if is_sent {
                assert_ne!(request(&webhook)[name], value, "{name}");
            }
        }
    }
}
