//! The three merchants of the demo: their webhooks, and how their servers answer.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use postrider_types::webhook::{BasicAuth, CustomHeader};
use postrider_types::{EventType, Secret, Webhook, WebhookId};
use serde_json::json;

use crate::receiver::{Answer, Received};

const USERNAME: &str = "merchant";
const PASSWORD: &str = "demo-password";
/// `merchant:demo-password`
const AUTHORIZATION: &str = "Basic bWVyY2hhbnQ6ZGVtby1wYXNzd29yZA==";
const KEY_HEADER: &str = "X-Api-Key";
const KEY: &str = "demo-key";
/// Attempts that the flaky server fails before it takes a delivery.
const FAILS: u32 = 2;

/// One with a filter, one whose server fails twice, one that wants credentials.
pub(crate) fn webhooks(receiver: SocketAddr) -> Vec<Webhook> {
    let webhook = |id: &str, events: &[EventType]| {
        let url = format!("http://{receiver}/{id}");
        Webhook::new(WebhookId::new(id).expect("an id"), url, events.to_vec())
    };
    let filtered = Webhook {
        description: "only what FedEx and UPS carry".to_owned(),
        filter: Some(json!({ "TrackingCarrier": ["FedEx", "UPS"] })),
        ..webhook("fedex-ups", &[EventType::TrackingUpdate])
    };
    let flaky = Webhook {
        description: format!("its server fails {FAILS} times, then recovers"),
        ..webhook("flaky", &[EventType::OrderShipped, EventType::OrderError])
    };
    let guarded = Webhook {
        description: format!("wants Basic auth and the header {KEY_HEADER}"),
        auth: Some(BasicAuth {
            username: USERNAME.to_owned(),
            password: Secret::new(PASSWORD),
        }),
        header: Some(CustomHeader {
            name: KEY_HEADER.to_owned(),
            value: Secret::new(KEY),
        }),
        ..webhook("guarded", &EventType::ALL)
    };
    vec![filtered, flaky, guarded]
}

/// How the merchants' servers answer.
pub(crate) fn answer(received: &Received) -> Answer {
    let status = match received.path.as_str() {
        "/flaky" if attempt(&received.headers) <= FAILS => StatusCode::SERVICE_UNAVAILABLE,
        "/guarded" if !has_credentials(&received.headers) => StatusCode::UNAUTHORIZED,
        _ => StatusCode::OK,
    };
    Answer {
        status,
        delay: Duration::from_millis(5),
    }
}

fn attempt(headers: &HeaderMap) -> u32 {
    let value = headers.get("x-postrider-attempt").and_then(|value| value.to_str().ok());
    value.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn has_credentials(headers: &HeaderMap) -> bool {
    let is = |name: &str, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
    is(header::AUTHORIZATION.as_str(), AUTHORIZATION) && is(KEY_HEADER, KEY)
}
