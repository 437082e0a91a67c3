//! Replays through the API: what is asked for, whose it is, and what is told of it.

use std::sync::Arc;

use postrider_admin::config::Access;
use postrider_replay::replays::Written;
use postrider_replay::{Replay, Replays, Store, Table};
use postrider_types::Clock;
use serde_json::{Value, json};

use crate::house::{House, THEIR_REPLAY, secret_of, token};
use crate::wire::Ask;

const PATH: &str = "/api/v1/replays";

fn request() -> Value {
    json!({ "from": "2025-11-22T09:00:00Z" })
}

#[tokio::test]
async fn a_replay_is_taken_on_with_what_is_usual_and_can_be_read() {
    let house = House::open().await;
    let taken = house.post(PATH, &request()).await.expect(202);
    let replay = taken.json();
    assert_eq!(
        taken.header("location"),
        format!("{PATH}/{}", replay["id"].as_str().unwrap())
    );
    let usual = ["state", "result", "rate_per_second", "dry_run", "matched"].map(|name| replay[name].clone());
    let expected = json!(["counting", "failed", 50, false, 0]);
    assert_eq!(json!(usual), expected);
    assert!(replay["to"].as_str() <= replay["created_at"].as_str(), "up to now");
    let read = house.get(taken.header("location")).await.expect(200).json();
    assert_eq!(read, replay);
    for unknown in ["rp_01KAZZZZZZZZZZZZZZZZZZZZZZ", "x", "%ff"] {
        let answer = house.get(&format!("{PATH}/{unknown}")).await.expect(404);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn every_field_of_a_replay_that_cannot_be_taken_is_named() {
    let house = House::open().await;
    let bad = json!({ "from": "yesterday", "result": "lost", "rate_per_second": 0, "pace": 5 });
    let mut named = house.post(PATH, &bad).await.expect(422).paths();
    named.sort();
    assert_eq!(named, ["from", "pace", "rate_per_second", "result"]);
    assert_eq!(house.post(PATH, &json!({})).await.expect(422).paths(), ["from"]);
}

#[tokio::test]
async fn replays_are_listed_newest_first_in_pages() {
    let house = House::open().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let replay = house.post(PATH, &request()).await.expect(202).json();
        ids.push(replay["id"].as_str().unwrap().to_owned());
        // Ids of one millisecond are in no order.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    ids.reverse();
    ids.push(THEIR_REPLAY.to_owned());
    let page = |answer: Value| -> Vec<String> {
        let items = answer["items"].as_array().unwrap().iter();
        items.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = house.get(&format!("{PATH}?limit=2")).await.expect(200).json();
    let cursor = first["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(page(first), ids[..2]);
    let second = house
        .get(&format!("{PATH}?limit=2&cursor={cursor}"))
        .await
        .expect(200)
        .json();
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!(page(second), ids[2..]);
    house.get(&format!("{PATH}?cursor=rp_0")).await.expect(400);
    house.get(&format!("{PATH}?limit=0")).await.expect(400);
}

#[tokio::test]
async fn a_bound_token_replays_and_sees_its_own_accounts_only() {
    let house = House::with(vec![
        token("reader", Access::Read, &[]),
        token("writer", Access::Write, &[]),
        token("shop", Access::Write, &["shop"]),
        token("both", Access::Write, &["shop", "other"]),
    ])
    .await;
    let ask = |name: &str, account: Value| {
        let mut document = request();
        document["account"] = account;
        Ask::new("POST", PATH).json(&document).token(&secret_of(name))
    };
    house.send(ask("reader", Value::Null)).await.expect(403);
    house.send(ask("shop", json!("other"))).await.expect(403);
    assert_eq!(
        house.send(ask("both", Value::Null)).await.expect(422).paths(),
        ["account"]
    );
    let of_shop = house.send(ask("shop", Value::Null)).await.expect(202).json();
    assert_eq!(of_shop["account"], "shop");
    let of_all = house.send(ask("writer", Value::Null)).await.expect(202).json();
    assert_eq!(of_all["account"], Value::Null);
    let read = |name: &str, replay: &Value| {
        let path = format!("{PATH}/{}", replay["id"].as_str().unwrap());
        Ask::new("GET", &path).token(&secret_of(name))
    };
    house.send(read("both", &of_shop)).await.expect(200);
    house.send(read("both", &of_all)).await.expect(404);
    house.send(read("reader", &of_all)).await.expect(200);
    let listed = house
        .send(Ask::new("GET", PATH).token(&secret_of("shop")))
        .await
        .expect(200);
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn so_many_replays_are_under_way_and_no_more() {
    let house = House::open().await;
    for _ in 0..20 {
        house.post(PATH, &request()).await.expect(202);
    }
    let refused = house.post(PATH, &request()).await.expect(409);
    assert!(refused.detail().contains("20 replays"), "{}", refused.detail());
}

/// Hears nothing of what it wrote.
#[derive(Debug)]
struct Unheard;

impl Store for Unheard {
    fn put<'a>(&'a self, _: &'a Replay) -> Written<'a> {
        Box::pin(async { Err("the topic postrider.replays did not take a record".to_owned()) })
    }
}

#[tokio::test]
async fn a_replay_that_may_have_been_taken_on_is_not_said_to_be_refused() {
    let house = House::open().await;
    let table = Arc::new(Table::default());
    table.completed();
    let replays = Arc::new(Replays::new(table, Arc::new(Unheard), 50, Clock::system()));
    house.furnish(|api| api.replays = replays);
    let unheard = house.post(PATH, &request()).await.expect(503);
    assert!(unheard.detail().contains("not known whether"), "{}", unheard.body);
    assert!(unheard.detail().contains("did not take a record"), "{}", unheard.body);
}
