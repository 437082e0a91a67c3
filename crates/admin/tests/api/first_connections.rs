//! Tests and first connections.

use std::sync::Arc;
use std::time::Duration;

use postrider_types::{EventType, Trigger};
use postrider_webhooks::LONGEST_WRITE;
use serde_json::{Value, json};

use crate::house::{House, OF_THE_FILE, path_of, slow_editor, webhook};
use crate::wire::Ask;

const REFUSED: &str = "HTTP response code is 403, it must be 200. Please Retry!";

#[tokio::test]
async fn a_new_endpoint_gets_a_shipment_whatever_it_wants_and_is_added_though_it_fails() {
    let house = House::open().await;
    let added = house.post("/api/v1/webhooks", &webhook("shop")).await.expect(201);
    assert_eq!(
        added.json()["first_connection"],
        json!({ "passed": false, "message": REFUSED, "hint": "A firewall is blocking the webhook" })
    );
    assert_eq!(house.sent(), [(EventType::OrderShipped, Trigger::FirstConnection)]);
}

#[tokio::test]
async fn a_first_connection_that_cannot_be_made_does_not_stop_the_adding() {
    let house = House::open().await;
    *house.tester.refusal.lock().unwrap() = Some("no Kafka broker can be reached".to_owned());
    let added = house
        .post("/api/v1/webhooks", &webhook("shop"))
        .await
        .expect(201)
        .json();
    assert_eq!(
        added["first_connection"],
        json!({ "passed": false, "message": "no Kafka broker can be reached", "hint": null })
    );
}

#[tokio::test]
async fn only_another_url_makes_another_first_connection() {
    let house = House::open().await;
    let path = house.added("shop").await;
    let same = house.patch(&path, &json!({ "description": "x" })).await.expect(200);
    assert_eq!(same.json().get("first_connection"), None);
    assert_eq!(house.sent(), []);
    let moved = house
        .patch(&path, &json!({ "url": "https://m.example/new" }))
        .await
        .expect(200);
    assert_eq!(moved.json()["first_connection"]["message"], REFUSED);
    assert_eq!(house.sent(), [(EventType::OrderShipped, Trigger::FirstConnection)]);
}

#[tokio::test]
async fn a_test_sends_the_event_that_is_asked_for_or_the_webhooks_first() {
    let house = House::open().await;
    let test = format!("{}/test", house.added("shop").await);
    let whole = house.act("POST", &test).await.expect(200).json();
    assert_eq!((&whole["message"], &whole["response"]), (&json!(REFUSED), &Value::Null));
    assert_eq!(whole["request"]["url"], "https://m.example/hooks");
    house.post(&test, &json!({})).await.expect(200);
    house.post(&test, &json!({ "event": null })).await.expect(200);
    house
        .post(&test, &json!({ "event": "tracking_update" }))
        .await
        .expect(200);
    house
        .act("POST", &format!("{}/test", path_of(OF_THE_FILE)))
        .await
        .expect(200);
    let (error, update) = (EventType::OrderError, EventType::TrackingUpdate);
    assert_eq!(
        house.sent(),
        [error, error, error, update, error].map(|event| (event, Trigger::Test))
    );
}

#[tokio::test]
async fn a_test_that_cannot_be_made_says_why() {
    let house = House::open().await;
    let path = house.added("shop").await;
    let test = format!("{path}/test");
    assert_eq!(
        house.post(&test, &json!({ "event": "x" })).await.expect(422).paths(),
        ["event"]
    );
    house.post(&test, &json!({ "evnet": "order_error" })).await.expect(422);
    house.post(&test, &json!([])).await.expect(422);
    house.send(Ask::new("POST", &test).body("{}")).await.expect(415);
    *house.tester.refusal.lock().unwrap() = Some("no Kafka broker can be reached".to_owned());
    assert_eq!(
        house.act("POST", &test).await.expect(503).detail(),
        "no Kafka broker can be reached"
    );
    house.act("DELETE", &path).await.expect(200);
    house.act("POST", &test).await.expect(409);
}

/// The clock runs whenever everything waits.
#[tokio::test]
async fn a_secret_that_was_made_is_shown_however_long_the_write_and_the_first_connection_take() {
    let house = House::open().await;
    let editor = Arc::new(slow_editor(LONGEST_WRITE));
    house.furnish(|api| api.editor = editor);
    *house.tester.delay.lock().unwrap() = Duration::from_secs(60);
    let mut signing = webhook("shop");
    signing["signing"] = json!({ "generate": true });
    tokio::time::pause();
    let added = house.post("/api/v1/webhooks", &signing).await.expect(201).json();
    assert!(added["signing"]["secret"].as_str().unwrap().starts_with("whsec_"));
    let message = added["first_connection"]["message"].as_str().unwrap();
    assert!(message.starts_with("No answer within ") && message.ends_with("the outcome follows in the logs"));
}
