use std::collections::BTreeSet;

use postrider_types::webhook::{BasicAuth, CustomHeader, Signing};
use postrider_types::{EventId, Secret};
use prometheus::Registry;

use super::*;
use crate::metrics::Metrics;
use crate::samples::{self, Receiver, answer};

const SECRETS: [&str; 3] = [
    "hunter2-password",
    "hunter2-header",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
];

fn trials() -> Trials {
    let policy = samples::policy();
    let metrics = Metrics::register(&Registry::new(), 200).unwrap();
    let clients = samples::clients(&policy, &metrics);
    let issuer = Issuer {
        instance: "postrider-0".into(),
        max_retries: 10,
        traced: false,
    };
    Trials::new(policy, clients, issuer, Clock::system(), Duration::from_secs(5))
}

fn test_event() -> Event {
    Event {
        id: EventId::new("test-01J").unwrap(),
        ..samples::event(1)
    }
}

fn webhook(url: &str) -> Webhook {
    let mut webhook = samples::webhook("wh_1", url);
    webhook.auth = Some(BasicAuth {
        username: "u".into(),
        password: Secret::new(SECRETS[0]),
    });
    webhook.header = Some(CustomHeader {
        name: "x-api-key".into(),
        value: Secret::new(SECRETS[1]),
    });
    webhook.signing = Some(Signing::with(Secret::new(SECRETS[2])));
    webhook
}

#[tokio::test]
async fn everything_transmitted_is_told_and_published_without_a_secret() {
    let receiver = Receiver::start(|_, request| {
        let echoed = format!("{{\"echo\":\"{}\"}}", request.headers["x-api-key"].to_str().unwrap());
        async move { answer(200, echoed) }
    })
    .await;
    let event = test_event();
    let (told, outcome) = trials().make(&event, &webhook(&receiver.url), Trigger::Test).await;
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(
        receiver.requests()[0].headers["authorization"].to_str().unwrap()[..6],
        *"Basic "
    );
    assert_eq!(
        (&*told.request.method, &*told.request.headers["authorization"]),
        ("POST", MASK)
    );
    assert_eq!(told.request.headers["x-api-key"], MASK);
    let transmitted = receiver.requests().remove(0).headers;
    let names = |told: &BTreeMap<String, String>| told.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(&told.request.headers),
        transmitted.keys().map(ToString::to_string).collect()
    );
    for name in ["host", "content-length", "accept-encoding"] {
        assert_eq!(told.request.headers[name], transmitted[name].to_str().unwrap());
    }
    assert!(told.request.headers["webhook-signature"].starts_with("v1,"));
    assert_eq!(told.request.body.as_bytes(), event.body);
    assert_eq!(told.response.as_ref().unwrap().status, 200);
    let shown = format!("{told:?} {outcome:?}");
    assert!(SECRETS.iter().all(|secret| !shown.contains(secret)), "{shown}");
    assert_eq!(outcome.delivery_id.as_str(), "test-01J.wh_1");
    assert_eq!(
        (outcome.trigger, outcome.source, outcome.attempt),
        (Trigger::Test, None, 1)
    );
    assert_eq!(outcome.result, OutcomeResult::Success);
}

#[tokio::test]
async fn an_endpoint_that_may_not_be_dialled_fails_without_a_request() {
    let hook = samples::webhook("wh_1", "http://10.0.0.1/");
    let (told, outcome) = trials().make(&test_event(), &hook, Trigger::FirstConnection).await;
    assert!(!told.passed && told.response.is_none() && told.hint.is_some());
    assert_eq!(told.error.unwrap().kind.as_str(), "blocked_address");
    assert_eq!((outcome.result, outcome.status_code), (OutcomeResult::Failed, None));
}
