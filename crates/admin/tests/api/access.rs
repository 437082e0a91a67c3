//! Tokens: who may do what, on every route of the OpenAPI document.

use postrider_admin::config::Access;
use postrider_types::Secret;
use serde_json::{Value, json};

use crate::house::{House, THEIR_REPLAY, path_of, secret_of, token, webhook};
use crate::logs;
use crate::wire::{Answer, Ask};

async fn house() -> House {
    let house = House::with(vec![
        token("reader", Access::Read, &[]),
        token("writer", Access::Write, &[]),
        token("shop", Access::Write, &["shop"]),
        token("both", Access::Write, &["shop", "other"]),
    ])
    .await;
    house.keep_logs(logs::records(&logs::told()));
    house
}

/// The routes of the API: method, path, and whether they change something.
fn routes(house: &House) -> Vec<(String, String, bool)> {
    let all = house.contract.operations().into_iter();
    let of_the_api = all.filter(|(_, path, _)| path.starts_with("/api/"));
    of_the_api
        .map(|(method, path, _)| {
            let asks = method == "GET" || path == "/api/v1/route";
            (method, path, !asks)
        })
        .collect()
}

/// A request that a route would take.
fn ask(method: &str, template: &str, path: &str) -> Ask {
    // A delivery of the account `acme`.
    let template = template.replace("/api/v1/deliveries/{id}", "/api/v1/deliveries/tracking-0-1-1.wh_1");
    let query = if template.ends_with("/explain") {
        "?subject=x"
    } else {
        ""
    };
    let replay = format!("/api/v1/replays/{THEIR_REPLAY}");
    let path = template
        .replace("/api/v1/webhooks/{id}", path)
        .replace("/api/v1/replays/{id}", &replay);
    let ask = Ask::new(method, &format!("{path}{query}"));
    match (method, &*template) {
        ("POST", "/api/v1/webhooks") => ask.json(&webhook("shop")),
        ("POST", "/api/v1/route") => ask.json(&json!({ "event": "order_error", "payload": {} })),
        ("POST", "/api/v1/replays") => ask.json(&json!({ "from": "2025-11-22T09:00:00Z", "account": "shop" })),
        ("PATCH", _) => ask.json(&json!({ "description": "x" })),
        _ => ask,
    }
}

#[tokio::test]
async fn without_a_valid_token_every_route_answers_the_same() {
    let house = house().await;
    let mut answers = Vec::new();
    for (at, (method, path, _)) in (2..).zip(routes(&house)) {
        let ask = ask(&method, &path, &path_of("x")).from(at);
        let wrong = ask.clone().token("wrong-0123456789abcdef012345");
        let other_scheme = ask
            .clone()
            .with("authorization", &format!("Basic {}", secret_of("writer")));
        for ask in [ask, wrong, other_scheme] {
            let answer = house.send(ask).await.expect(401);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            answers.push(answer.body);
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "missing and wrong are told apart: {answers:?}");
}

#[tokio::test]
async fn health_metrics_and_the_document_need_no_token() {
    let house = house().await;
    for path in ["/healthz", "/livez", "/metrics", "/openapi.json", "/docs"] {
        house.get(path).await.expect(200);
    }
    house.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn a_token_that_may_only_read_changes_nothing() {
    let house = house().await;
    let path = house.added("shop").await;
    for (method, template, writes) in routes(&house) {
        let answer = house
            .send(ask(&method, &template, &path).token(&secret_of("reader")))
            .await;
        let expected = if writes { 403 } else { 200 };
        assert_eq!(answer.status, expected, "{method} {template}: {}", answer.body);
    }
    assert_eq!(
        house
            .send(Ask::new("GET", &path).token(&secret_of("reader")))
            .await
            .json()["version"],
        1
    );
}

#[tokio::test]
async fn a_token_that_may_write_comes_past_the_door_of_every_route() {
    let house = house().await;
    let path = house.added("shop").await;
    for (method, template, _) in routes(&house) {
        let answer = house
            .send(ask(&method, &template, &path).token(&secret_of("writer")))
            .await;
        assert!(
            !matches!(answer.status, 401 | 403 | 404),
            "{method} {template}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn webhooks_of_other_accounts_are_not_there_on_every_route() {
    let house = house().await;
    let theirs = house.added("other").await;
    let with_id = routes(&house)
        .into_iter()
        .filter(|(_, template, _)| template.contains("{id}"));
    let mut tried = 0;
    for (method, template, _) in with_id {
        let of_theirs = house
            .send(ask(&method, &template, &theirs).token(&secret_of("shop")))
            .await
            .expect(404);
        let of_nothing = house
            .send(ask(&method, &template, &path_of("wh_0")).token(&secret_of("shop")))
            .await;
        assert_eq!(of_theirs.body, of_nothing.body, "{method} {template}");
        tried += 1;
    }
    assert!(tried >= 7);
    let purge = Ask::new("DELETE", &format!("{theirs}?purge=true")).token(&secret_of("shop"));
    house.send(purge).await.expect(404);
    assert_eq!(house.editor.list().len(), 2);
}

#[tokio::test]
async fn a_token_that_is_bound_to_accounts_lists_and_cursors_only_theirs() {
    let house = house().await;
    let (ours, theirs) = (house.added("shop").await, house.added("other").await);
    let list = |token: &str, query: &str| Ask::new("GET", &format!("/api/v1/webhooks{query}")).token(&secret_of(token));
    let count = |answer: &Answer| answer.json()["items"].as_array().unwrap().len();
    let seen = house.send(list("shop", "")).await.expect(200);
    assert_eq!(path_of(seen.json()["items"][0]["id"].as_str().unwrap()), ours);
    assert_eq!(count(&seen), 1);
    assert_eq!(count(&house.send(list("shop", "?account=other")).await.expect(200)), 0);
    assert_eq!(count(&house.send(list("both", "")).await.expect(200)), 2);
    assert_eq!(count(&house.send(list("writer", "")).await.expect(200)), 3);
    let all = house.send(list("writer", "?limit=1000")).await.json();
    let place = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .position(|one| theirs.ends_with(one["id"].as_str().unwrap()));
    let page = house
        .send(list("writer", &format!("?limit={}", place.unwrap() + 1)))
        .await
        .json();
    if let Some(cursor) = page["next_cursor"].as_str() {
        house.send(list("shop", &format!("?cursor={cursor}"))).await.expect(400);
    }
}

#[tokio::test]
async fn a_webhook_is_added_to_an_account_of_the_token_only() {
    let house = house().await;
    let add = |token: &str, document: Value| {
        Ask::new("POST", "/api/v1/webhooks")
            .json(&document)
            .token(&secret_of(token))
    };
    house.send(add("shop", webhook("other"))).await.expect(403);
    house.send(add("shop", webhook("default"))).await.expect(403);
    let mut unnamed = webhook("x");
    unnamed.as_object_mut().unwrap().remove("account_id");
    let added = house.send(add("shop", unnamed.clone())).await.expect(201);
    assert_eq!(added.json()["account_id"], "shop");
    assert_eq!(
        house.send(add("both", unnamed)).await.expect(422).paths(),
        ["account_id"]
    );
    house.send(add("both", webhook("other"))).await.expect(201);
    house
        .send(add(
            "shop",
            json!({ "account_id": 1, "url": "https://m.example/", "events": ["order_error"] }),
        ))
        .await
        .expect(422);
}

#[tokio::test]
async fn an_event_is_explained_for_an_account_of_the_token_only_and_keys_are_everybodys() {
    let house = house().await;
    house.added("shop").await;
    let route = |document: Value| {
        Ask::new("POST", "/api/v1/route")
            .json(&document)
            .token(&secret_of("shop"))
    };
    let ours = house
        .send(route(json!({ "event": "order_error", "payload": {} })))
        .await
        .expect(200);
    assert_eq!(ours.json()["items"].as_array().unwrap().len(), 1);
    house
        .send(route(
            json!({ "event": "order_error", "account_id": "other", "payload": {} }),
        ))
        .await
        .expect(403);
    house
        .send(route(
            json!({ "event": "order_error", "payload": { "account_id": "default" } }),
        ))
        .await
        .expect(403);
    house
        .send(Ask::new("POST", "/api/v1/secrets/rotate").token(&secret_of("shop")))
        .await
        .expect(403);
}

#[tokio::test]
async fn a_token_can_be_configured_as_its_digest() {
    // `printf %s 0123456789abcdef012345 | sha256sum`
    const DIGEST: &str = "sha256:cda7f4918ec78ed571b271a6c8719a0a4e6f834380f2b6b545ff6d54e4165f96";
    let mut hashed = token("hashed", Access::Read, &[]);
    hashed.token = Secret::new(DIGEST);
    let house = House::with(vec![hashed]).await;
    let list = Ask::new("GET", "/api/v1/webhooks");
    house
        .send(list.clone().token("0123456789abcdef012345"))
        .await
        .expect(200);
    house.send(list.token(DIGEST)).await.expect(401);
}

#[tokio::test]
async fn a_peer_with_20_wrong_tokens_waits_with_the_next_and_a_valid_one_always_gets_in() {
    let house = house().await;
    let wrong = Ask::new("GET", "/api/v1/webhooks").token("wrong-0123456789abcdef012345");
    for _ in 0..20 {
        house.send(wrong.clone().from(9)).await.expect(401);
    }
    let turned_away = house.send(wrong.clone().from(9)).await.expect(429);
    let seconds: u64 = turned_away.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds));
    let right = Ask::new("GET", "/api/v1/webhooks").token(&secret_of("reader"));
    house.send(right.from(9)).await.expect(200);
    house.send(wrong.clone().from(9)).await.expect(429);
    house.send(wrong.from(10)).await.expect(401);
}

#[tokio::test]
async fn a_request_without_a_token_counts_against_nobody() {
    let house = house().await;
    let without = Ask::new("GET", "/api/v1/webhooks").from(9);
    for _ in 0..25 {
        house.send(without.clone()).await.expect(401);
    }
    let wrong = without.clone().token("wrong-0123456789abcdef012345");
    for _ in 0..20 {
        house.send(wrong.clone()).await.expect(401);
    }
    house.send(wrong).await.expect(429);
    house.send(without).await.expect(401);
}
