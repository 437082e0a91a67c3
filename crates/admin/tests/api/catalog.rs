//! What there is to know before one adds a webhook, and what would become of an event.

use serde_json::{Value, json};

use crate::house::{House, OF_THE_FILE};

#[tokio::test]
async fn the_event_types_come_with_the_samples_of_the_repository() {
    let house = House::open().await;
    let answer = house.get("/api/v1/event-types").await.expect(200);
    let items = answer.json()["items"].clone();
    let names: Vec<&Value> = items.as_array().unwrap().iter().map(|item| &item["event"]).collect();
    assert_eq!(names, ["order_shipped", "order_error", "tracking_update"]);
    let sample = include_str!("../../../../schemas/samples/tracking_update.json").trim();
    assert!(answer.body.contains(sample), "a sample is answered as it stands");
    assert_eq!(items[0]["samples"][1]["payload"]["is_return"], true);
}

#[tokio::test]
async fn the_statuses_are_the_catalog() {
    let house = House::open().await;
    let items = house.get("/api/v1/statuses").await.expect(200).json()["items"].clone();
    let of_the_code =
        postrider_types::status::CATALOG.map(|(status, meaning)| json!({ "status": status, "meaning": meaning }));
    assert_eq!(items, json!(of_the_code.to_vec()));
}

#[tokio::test]
async fn an_event_is_explained_for_every_webhook_of_its_account() {
    let house = House::open().await;
    let ask = json!({ "event": "order_error", "payload": { "OrderID": "1" } });
    let answer = house.post("/api/v1/route", &ask).await.expect(200).json();
    assert_eq!(answer["items"][0]["webhook"], OF_THE_FILE);
    assert_eq!(answer["items"][0]["matches"], true);
    let named_inside = json!({ "payload": { "event": "tracking_update", "account_id": "default" } });
    let answer = house.post("/api/v1/route", &named_inside).await.expect(200).json();
    assert_eq!(answer["items"][0]["matches"], false);
    assert!(!answer["items"][0]["reason"].as_str().unwrap().is_empty());
    let elsewhere = json!({ "event": "order_error", "account_id": "shop", "payload": {} });
    assert_eq!(
        house.post("/api/v1/route", &elsewhere).await.expect(200).json()["items"],
        json!([])
    );
}

#[tokio::test]
async fn an_event_that_is_none_is_refused() {
    let house = House::open().await;
    for (bad, path) in [
        (json!({ "payload": {} }), "event"),
        (json!({ "event": "x", "payload": {} }), "event"),
        (json!({ "event": "order_error", "payload": [] }), "payload"),
        (
            json!({ "event": "order_error", "payload": { "account_id": 1.5 } }),
            "payload.account_id",
        ),
        (json!({ "payload": { "event": {} } }), "payload.event"),
        (
            json!({ "event": "order_error", "account_id": "a b", "payload": {} }),
            "account_id",
        ),
    ] {
        assert_eq!(
            house.post("/api/v1/route", &bad).await.expect(422).paths(),
            [path],
            "{bad}"
        );
    }
}
