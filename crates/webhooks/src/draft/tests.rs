use postrider_types::EventType;
use postrider_types::webhook::{BasicAuth, ClientCertificate, CustomHeader, Signing};
use proptest::prelude::*;

use super::*;

fn new(id: &WebhookId, document: Value) -> Result<(Webhook, Generated), Vec<Fault>> {
    super::new(id, document, &|_| Vec::new())
}

fn patched(webhook: &Webhook, patch: Value) -> Result<(Webhook, Generated), Vec<Fault>> {
    super::patched(webhook, patch, &|_| Vec::new())
}

fn id() -> WebhookId {
    WebhookId::new("wh_1").unwrap()
}

fn webhook() -> Webhook {
    let mut webhook = Webhook::new(id(), "https://m.example/hooks", vec![EventType::OrderError]);
    webhook.auth = Some(BasicAuth {
        username: "u".into(),
        password: Secret::new("hunter2"),
    });
    webhook.header = Some(CustomHeader {
        name: "x-key".into(),
        value: Secret::new("k3y"),
    });
    webhook.signing = Some(Signing::with(Secret::new("whsec_x")));
    webhook.tls = Some(ClientCertificate {
        certificate: "chain".into(),
        key: Secret::new("pr1vate"),
    });
    webhook
}

fn paths(faults: Vec<Fault>) -> Vec<String> {
    faults.into_iter().map(|fault| fault.path).collect()
}

fn edited(patch: Value) -> Webhook {
    patched(&webhook(), patch).unwrap().0
}

#[test]
fn a_new_webhook_needs_a_url_and_events_and_takes_every_field_of_its_own() {
    let (plain, generated) = new(&id(), json!({ "url": "https://m.example/", "events": ["order_error"] })).unwrap();
    assert_eq!(
        (plain.id, plain.account_id.as_str(), plain.enabled),
        (id(), "default", true)
    );
    assert!(generated.is_none());
    let named = json!({ "id": "own", "account_id": "shop", "url": "u", "events": ["order_error"], "filter": null, "auth": null,
        "retry": { "max_retries": 2 }, "timeout_ms": 5 });
    let (named, _) = new(&id(), named).unwrap();
    assert_eq!(
        (named.id.as_str(), named.account_id.as_str(), named.timeout_ms),
        ("own", "shop", Some(5))
    );
    assert_eq!(paths(new(&id(), json!({})).unwrap_err()), ["url", "events"]);
    assert_eq!(paths(new(&id(), json!([])).unwrap_err()), [""]);
}

#[test]
fn every_field_that_cannot_be_taken_is_named_and_no_secret_shown() {
    let bad = json!({ "url": 7, "events": ["order_lost"], "enabled": "yes", "retry": { "max_retries": "many" },
        "auth": { "username": "u", "password": ["hunter2"] }, "header": { "name": "x", "valu": "hunter2" },
        "colour": 1, "version": 3 });
    let faults = new(&id(), bad).unwrap_err();
    assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
    let mut paths = paths(faults);
    paths.sort();
    let expected = [
        "auth.password",
        "colour",
        "enabled",
        "events[0]",
        "header.valu",
        "retry.max_retries",
        "url",
        "version",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_secret_is_made_when_asked_for_and_only_then() {
    let asked = json!({ "url": "u", "events": ["order_error"], "signing": { "generate": true } });
    let (webhook, generated) = new(&id(), asked).unwrap();
    let secret = generated.unwrap();
    assert!(secret.expose().starts_with("whsec_") && secret.expose().len() > 40);
    assert_eq!(webhook.signing.unwrap().secret, secret);
    for bad in [
        json!({ "generate": true, "secret": "whsec_x" }),
        json!({ "generate": 1 }),
    ] {
        let document = json!({ "url": "u", "events": ["order_error"], "signing": bad });
        assert!(new(&id(), document).is_err());
    }
}

#[test]
fn null_clears_a_mask_keeps_and_what_is_left_out_stays() {
    let same = edited(json!({}));
    assert_eq!(same, webhook());
    let kept = edited(
        json!({ "auth": { "username": "other", "password": MASK }, "header": { "name": "x-key", "value": MASK } }),
    );
    let auth = kept.auth.unwrap();
    assert_eq!((&*auth.username, auth.password.expose()), ("other", "hunter2"));
    assert_eq!(kept.header, webhook().header);
    let renewed = edited(json!({ "tls": { "certificate": "renewed", "key": MASK } }))
        .tls
        .unwrap();
    assert_eq!((&*renewed.certificate, renewed.key.expose()), ("renewed", "pr1vate"));
    assert_eq!(edited(json!({ "tls": null })).tls, None);
    let cleared = edited(json!({ "auth": null, "signing": null, "description": null }));
    assert!(cleared.auth.is_none() && cleared.signing.is_none() && cleared.header.is_some());
}

#[test]
fn a_mask_with_nothing_behind_it_is_named_also_where_the_endpoint_is_another() {
    let plain = edited(json!({ "auth": null, "header": null, "signing": null, "tls": null }));
    for (masked, path) in [
        (
            json!({ "auth": { "username": "u", "password": MASK } }),
            "auth.password",
        ),
        (json!({ "header": { "name": "x-key", "value": MASK } }), "header.value"),
        (json!({ "signing": { "secret": MASK } }), "signing.secret"),
        (json!({ "tls": { "certificate": "chain", "key": MASK } }), "tls.key"),
    ] {
        let mut moving = masked.clone();
        moving["url"] = json!("https://other.example/");
        for patch in [masked, moving] {
            let faults = patched(&plain, patch).unwrap_err();
            assert!(faults[0].reason.contains("no secret behind it"), "{faults:?}");
            assert_eq!(paths(faults), [path]);
        }
    }
    let rotated = json!({ "signing": { "secret": MASK, "previous": { "secret": MASK } } });
    assert!(paths(patched(&webhook(), rotated).unwrap_err()).contains(&"signing.previous.secret".to_owned()));
}

#[test]
fn a_field_that_is_missing_is_named_wherever_it_is() {
    for (patch, path) in [
        (json!({ "url": null }), "url"),
        (json!({ "events": null }), "events"),
        (json!({ "auth": { "password": null } }), "auth.password"),
        (json!({ "header": { "name": null } }), "header.name"),
    ] {
        assert_eq!(paths(patched(&webhook(), patch).unwrap_err()), [path]);
    }
    let document = json!({ "url": "u", "events": ["order_error"], "auth": { "username": "u" } });
    assert_eq!(
        new(&id(), document).unwrap_err(),
        [Fault::new("auth.password", "is missing")]
    );
}

#[test]
fn another_host_drops_credentials_that_are_not_sent_again() {
    for url in [
        "https://other.example/hooks",
        "http://m.example/hooks",
        "https://m.example:8443/hooks",
    ] {
        let moved = edited(json!({ "url": url }));
        assert!(
            moved.auth.is_none() && moved.header.is_none() && moved.tls.is_none(),
            "{url}"
        );
        let masked = edited(
            json!({ "url": url, "auth": { "username": "u", "password": MASK }, "header": { "name": "x-key", "value": MASK },
                    "tls": { "certificate": "chain", "key": MASK } }),
        );
        assert!(
            masked.auth.is_none() && masked.header.is_none() && masked.tls.is_none(),
            "{url}"
        );
        let again = edited(json!({ "url": url, "auth": { "username": "u", "password": "new" } }));
        assert_eq!(again.auth.unwrap().password.expose(), "new");
        assert!(again.header.is_none());
        let shown = edited(json!({ "url": url, "tls": { "certificate": "chain", "key": "new" } }));
        assert_eq!(shown.tls.unwrap().key.expose(), "new");
    }
    let same_host = edited(json!({ "url": "https://M.example:443/other" }));
    assert!(same_host.auth.is_some() && same_host.header.is_some() && same_host.tls.is_some());
}

#[test]
fn the_account_stays_and_what_postrider_sets_is_passed_over() {
    assert_eq!(
        paths(patched(&webhook(), json!({ "account_id": "other" })).unwrap_err()),
        ["account_id"]
    );
    let read =
        json!({ "id": "wh_1", "account_id": "default", "status": "cancelled", "version": 9, "origin": "managed" });
    assert_eq!(edited(read), webhook());
}

#[test]
fn a_filter_is_replaced_and_never_mixed() {
    let filtered = edited(json!({ "filter": { "code": [1], "late": ["0"] } }));
    let other = patched(&filtered, json!({ "filter": { "code": [2] } })).unwrap().0;
    assert_eq!(other.filter, Some(json!({ "code": [2] })));
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(text in "[\\[\\]{}\":,a-z0-9*]{0,60}") {
        if let Ok(document) = serde_json::from_str::<Value>(&text) {
            let _ = new(&id(), document.clone());
            let _ = patched(&webhook(), document);
        }
    }
}
