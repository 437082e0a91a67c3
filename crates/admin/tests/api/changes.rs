//! What each route does when all is well.

use serde_json::{Value, json};

use crate::house::{House, OF_THE_FILE, path_of, webhook};
use crate::wire::Ask;

const MASK: &str = "********";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

#[tokio::test]
async fn an_added_webhook_is_answered_with_its_place_and_version_and_can_be_read() {
    let house = House::open().await;
    let added = house.post("/api/v1/webhooks", &webhook("shop")).await.expect(201);
    let document = added.json();
    let path = path_of(document["id"].as_str().unwrap());
    assert_eq!(added.header("location"), path);
    assert_eq!(added.header("etag"), "\"1\"");
    assert_eq!(
        (&document["origin"], &document["status"]),
        (&json!("managed"), &json!("active"))
    );
    let read = house.get(&path).await.expect(200);
    assert_eq!(read.header("etag"), "\"1\"");
    let mut expected = document;
    expected.as_object_mut().unwrap().remove("first_connection");
    assert_eq!(read.json(), expected);
}

#[tokio::test]
async fn a_dry_run_judges_a_change_and_makes_none() {
    let house = House::open().await;
    let path = house.added("shop").await;
    let before = house.get("/api/v1/webhooks").await.json();
    let tests = house.tester.sent.lock().unwrap().len();

    let mut document = webhook("shop");
    document["signing"] = json!({ "generate": true });
    let added = house.post("/api/v1/webhooks?dry_run=true", &document).await.expect(200);
    assert_eq!(added.json()["signing"]["secret"], MASK, "it is made when it is added");
    assert_eq!(added.json()["first_connection"], Value::Null);
    document["id"] = json!(path.rsplit('/').next());
    house.post("/api/v1/webhooks?dry_run=true", &document).await.expect(409);
    let bad = json!({ "url": "ftp://m.example/", "events": [] });
    house.post("/api/v1/webhooks?dry_run=true", &bad).await.expect(422);

    let rehearsed = format!("{path}?dry_run=true");
    let edited = house
        .patch(&rehearsed, &json!({ "url": "https://other.example/" }))
        .await
        .expect(200);
    assert_eq!(edited.header("etag"), "\"2\"");
    house.patch(&rehearsed, &json!({ "retry": 7 })).await.expect(422);
    house
        .patch(&format!("{path}?dry_run=maybe"), &json!({}))
        .await
        .expect(400);

    assert_eq!(house.get("/api/v1/webhooks").await.json(), before);
    assert_eq!(house.tester.sent.lock().unwrap().len(), tests, "nothing was sent");
}

#[tokio::test]
async fn a_webhook_of_the_file_says_so() {
    let house = House::open().await;
    let read = house.get(&path_of(OF_THE_FILE)).await.expect(200);
    assert_eq!(read.json()["origin"], "file");
    assert_eq!(read.header("etag"), "\"0\"");
}

#[tokio::test]
async fn a_webhook_without_an_account_is_of_the_default_one() {
    let house = House::open().await;
    let mut without = webhook("x");
    without["account_id"] = Value::Null;
    let added = house.post("/api/v1/webhooks", &without).await.expect(201);
    assert_eq!(added.json()["account_id"], "default");
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_takes_back_what_was_read() {
    let house = House::open().await;
    let path = house.added("shop").await;
    let edited = house
        .patch(&path, &json!({ "description": "x", "max_in_flight": 4 }))
        .await
        .expect(200);
    assert_eq!(edited.header("etag"), "\"2\"");
    let as_read = house.get(&path).await.json();
    let ask = Ask::new("PATCH", &path).with("content-type", "application/merge-patch+json");
    let same = house.send(ask.body(&as_read.to_string())).await.expect(200).json();
    assert_eq!((&same["description"], &same["max_in_flight"]), (&json!("x"), &json!(4)));
    let cleared = house.patch(&path, &json!({ "max_in_flight": null })).await.expect(200);
    assert_eq!(cleared.json()["max_in_flight"], Value::Null);
}

#[tokio::test]
async fn secrets_are_masked_and_a_mask_that_is_sent_back_keeps_them() {
    let house = House::open().await;
    let mut secretive = webhook("shop");
    secretive["auth"] = json!({ "username": "u", "password": "hunter2" });
    secretive["header"] = json!({ "name": "X-Api-Key", "value": "hunter3" });
    secretive["tls"] = json!({ "certificate": CERTIFICATE, "key": "hunter4" });
    let added = house.post("/api/v1/webhooks", &secretive).await.expect(201);
    assert!(!added.body.contains("hunter"), "{}", added.body);
    assert_eq!(added.json()["auth"]["password"], MASK);
    assert_eq!(added.json()["tls"], json!({ "certificate": CERTIFICATE, "key": MASK }));
    let path = added.header("location").to_owned();
    let kept = house.patch(&path, &added.json()).await.expect(200);
    assert!(!kept.body.contains("hunter"), "{}", kept.body);
    let held = house
        .editor
        .list()
        .into_iter()
        .find(|one| one.webhook.auth.is_some())
        .unwrap();
    assert_eq!(held.webhook.auth.as_ref().unwrap().password.expose(), "hunter2");
    assert_eq!(held.webhook.tls.as_ref().unwrap().key.expose(), "hunter4");
    assert!(!house.get("/api/v1/webhooks").await.body.contains("hunter"));
}

#[tokio::test]
async fn a_secret_that_was_made_is_shown_once() {
    let house = House::open().await;
    let mut signing = webhook("shop");
    signing["signing"] = json!({ "generate": true });
    let added = house.post("/api/v1/webhooks", &signing).await.expect(201);
    let first = added.json()["signing"]["secret"].clone();
    assert!(first.as_str().unwrap().starts_with("whsec_"));
    let path = added.header("location").to_owned();
    assert_eq!(house.get(&path).await.json()["signing"]["secret"], MASK);
    let rotated = house.act("POST", &format!("{path}/rotate-secret")).await.expect(200);
    let second = rotated.json()["signing"]["secret"].clone();
    assert!(second.as_str().unwrap().starts_with("whsec_") && second != first);
    assert_eq!(rotated.json()["signing"]["previous"]["secret"], MASK);
    let read = house.get(&path).await;
    assert!(!read.body.contains("whsec_"), "{}", read.body);
    let again = house
        .patch(&path, &json!({ "signing": { "generate": true } }))
        .await
        .expect(200);
    assert!(again.body.contains("whsec_"), "{}", again.body);
}

#[tokio::test]
async fn a_webhook_is_switched_off_and_on() {
    let house = House::open().await;
    let path = house.added("shop").await;
    let off = house.act("POST", &format!("{path}/disable")).await.expect(200).json();
    assert_eq!((&off["enabled"], &off["status"]), (&json!(false), &json!("disabled")));
    assert_eq!(house.get(&path).await.json()["status"], "disabled");
    let on = house.act("POST", &format!("{path}/enable")).await.expect(200);
    assert_eq!((&on.json()["status"], on.header("etag")), (&json!("active"), "\"3\""));
}

#[tokio::test]
async fn a_webhook_of_the_file_that_postrider_disabled_is_enabled_and_says_whose_it_is() {
    let house = House::open().await;
    let path = path_of(OF_THE_FILE);
    house.say_gone();
    assert_eq!(house.get(&path).await.json()["disabled_reason"], "gone");
    house.act("POST", &format!("{path}/disable")).await.expect(409);
    let on = house.act("POST", &format!("{path}/enable")).await.expect(200).json();
    assert_eq!((&on["status"], &on["origin"]), (&json!("active"), &json!("file")));
    assert_eq!(house.get(&path).await.json(), on);
    house.act("POST", &format!("{path}/enable")).await.expect(409);
}

#[tokio::test]
async fn a_webhook_is_cancelled_and_then_removed() {
    let house = House::open().await;
    let path = house.added("shop").await;
    for _ in 0..2 {
        let cancelled = house.act("DELETE", &path).await.expect(200).json();
        assert_eq!(
            (&cancelled["status"], &cancelled["version"]),
            (&json!("cancelled"), &json!(2))
        );
    }
    let gone = house.act("DELETE", &format!("{path}?purge=true")).await.expect(204);
    assert_eq!(gone.body, "");
    house.get(&path).await.expect(404);
}

#[tokio::test]
async fn a_change_for_a_version_is_made_at_that_version_only() {
    let house = House::open().await;
    let path = house.added("shop").await;
    let edit = |version: &str| {
        Ask::new("PATCH", &path)
            .with("if-match", version)
            .json(&json!({ "description": "x" }))
    };
    house.send(edit("1")).await.expect(200);
    house.send(edit("\"2\"")).await.expect(200);
    house.send(edit("*")).await.expect(200);
    let stale = house.send(edit("\"2\"")).await.expect(412);
    assert!(stale.detail().contains("version 4"), "{}", stale.body);
    for bad in ["x", "\"4", "W/\"4\"", "4, 5", ""] {
        house.send(edit(bad)).await.expect(400);
    }
    for (method, action) in [
        ("POST", "/disable"),
        ("POST", "/enable"),
        ("POST", "/rotate-secret"),
        ("DELETE", ""),
    ] {
        let ask = Ask::new(method, &format!("{path}{action}")).with("if-match", "3");
        house.send(ask).await.expect(412);
    }
    let purge = Ask::new("DELETE", &format!("{path}?purge=true"));
    house.send(purge.clone().with("if-match", "3")).await.expect(412);
    house.send(purge.with("if-match", "4")).await.expect(204);
}

#[tokio::test]
async fn all_secrets_are_sealed_anew_with_the_key_that_is_read_then() {
    let house = House::open().await;
    let mut secretive = webhook("shop");
    secretive["auth"] = json!({ "username": "u", "password": "hunter2" });
    house.editor.add(secretive).await.unwrap();
    house.furnish(|api| api.reseal = std::sync::Arc::new(|| Err("secrets.key_file cannot be read".to_owned())));
    let unread = house.act("POST", "/api/v1/secrets/rotate").await.expect(503);
    assert_eq!(unread.detail(), "secrets.key_file cannot be read");
    house.furnish(|_| {});
    let both = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let keys = move || {
        let two = format!("{}\n{both}", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=");
        postrider_webhooks::Keyring::parse(&postrider_types::Secret::new(two)).map_err(|error| error.to_string())
    };
    house.furnish(|api| api.reseal = std::sync::Arc::new(keys));
    let resealed = house.act("POST", "/api/v1/secrets/rotate").await.expect(200);
    assert_eq!(resealed.json(), json!({ "resealed": 1 }));
}
