//! Logs, deliveries and statistics over a real index.

use std::path::Path;

use postrider_admin::config::Access;
use postrider_logs::Record;
use postrider_types::{Offset, Partition, Timestamp};
use serde_json::{Value, json};

use crate::house::{House, secret_of, token};
use crate::wire::{Answer, Ask};

/// An example of an outcome with some fields changed.
fn outcome(name: &str, changes: &Value) -> Value {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/examples/valid/outcome.v1");
    let text = std::fs::read(examples.join(format!("{name}.json"))).unwrap();
    let mut outcome: Value = serde_json::from_slice(&text).unwrap();
    for (field, value) in changes.as_object().unwrap() {
        outcome[field] = value.clone();
    }
    outcome
}

fn record(offset: i64, outcome: &Value) -> Record {
    Record {
        partition: Partition(0),
        offset: Offset(offset),
        timestamp: Timestamp::from_millis(1_795_341_600_000 + offset),
        key: None,
        value: Some(outcome.to_string().into()),
    }
}

/// A first attempt, its retry, a replay of it, another account's, and one that was never sent.
pub(crate) fn told() -> Vec<Value> {
    let of = |id: &str, account: &str, at: &str| json!({ "delivery_id": id, "account_id": account, "date_start": at, "date_end": at, "event_time": at });
    let mut first = outcome(
        "retrying",
        &of("tracking-0-1-1.wh_1", "acme", "2026-11-22T10:00:00.000Z"),
    );
    first["attempt"] = json!(1);
    first["retry"] = json!(0);
    first["a_field_of_a_later_release"] = json!({ "kept": true });
    let second = outcome(
        "retrying",
        &of("tracking-0-1-1.wh_1", "acme", "2026-11-22T10:00:05.000Z"),
    );
    let second = {
        let mut second = second;
        second["attempt"] = json!(2);
        second["retry"] = json!(1);
        second
    };
    let mut replayed = outcome(
        "replayed",
        &of("tracking-0-1-1.wh_1", "acme", "2026-11-22T11:00:00.000Z"),
    );
    replayed["source"] = first["source"].clone();
    let mut other = outcome("replayed", &of("gone-0-2-1.wh_2", "shop", "2026-11-22T09:00:00.000Z"));
    other["trigger"] = json!("event");
    other["replay"] = Value::Null;
    other["source"] = json!({ "topic": "gone", "partition": 0, "offset": 2 });
    let skipped = outcome(
        "skipped",
        &json!({ "delivery_id": "tracking-0-3-1.wh_3", "account_id": "shop" }),
    );
    vec![first, second, replayed, other, skipped]
}

/// What [`told`] tells, as records.
pub(crate) fn records(told: &[Value]) -> impl Iterator<Item = Record> {
    (0..).zip(told).map(|(offset, outcome)| record(offset, outcome))
}

pub(crate) async fn house(told: &[Value]) -> House {
    let tokens = vec![token("all", Access::Read, &[]), token("acme", Access::Read, &["acme"])];
    let house = House::with(tokens).await;
    house.keep_logs(records(told));
    house
}

async fn ask(house: &House, who: &str, path: &str) -> Answer {
    let ask = Ask::new("GET", path).token(&secret_of(who));
    house.send(ask).await
}

#[tokio::test]
async fn outcomes_are_answered_as_they_were_published_newest_first() {
    let told = told();
    let house = house(&told).await;
    let answer = ask(&house, "all", "/api/v1/logs").await.expect(200).json();
    // One that was not attempted counts by when it was published.
    let order = [2, 1, 0, 4, 3].map(|at| told[at].clone());
    let mut items = answer["items"].as_array().unwrap().clone();
    let skipped = items.iter().position(|item| item["result"] == "skipped").unwrap();
    let at = items.remove(skipped);
    assert_eq!(at, told[4]);
    assert_eq!(
        items,
        order
            .into_iter()
            .filter(|item| item["result"] != "skipped")
            .collect::<Vec<_>>()
    );
    assert_eq!(answer["next_cursor"], Value::Null);
    assert_eq!(answer["indexed"]["lag"], 0);
}

#[tokio::test]
async fn pages_follow_each_other_and_what_comes_after_is_asked_for_by_its_mark() {
    let house = house(&told()).await;
    let (mut seen, mut path) = (0, "/api/v1/logs?limit=2".to_owned());
    loop {
        let page = ask(&house, "all", &path).await.expect(200).json();
        seen += page["items"].as_array().unwrap().len();
        assert_eq!(page["has_more"], page["next_cursor"].is_string());
        let after = page["after"].as_str().unwrap();
        let nothing = ask(&house, "all", &format!("/api/v1/logs?after={after}"))
            .await
            .expect(200)
            .json();
        assert_eq!(nothing["items"], json!([]));
        match page["next_cursor"].as_str() {
            Some(next) => path = format!("/api/v1/logs?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, 5);
    let all = ask(&house, "all", "/api/v1/logs?after=a0-2&event=tracking_update")
        .await
        .expect(200)
        .json();
    assert!(all["items"].as_array().unwrap().len() <= 3);
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused_by_name() {
    let house = house(&told()).await;
    for (route, query, names) in [
        ("logs", "limit=0", "limit"),
        ("logs", "limit=1001", "limit"),
        ("logs", "limit=x", "limit"),
        ("logs", "cursor=x", "cursor"),
        ("logs", "after=x", "after"),
        ("logs", "retry=-1", "retry"),
        ("logs", "retry=some", "retry"),
        ("logs", "status_code=x", "status_code"),
        ("logs", "event=x", "event"),
        ("logs", "result=gone", "result"),
        ("logs", "from=yesterday", "from"),
        ("logs", "to=", "to"),
        ("logs", "account=a%20b", "account"),
        ("logs", "orderid=1", "orderid"),
        ("logs", "event=order_error&event=order_shipped", "event"),
        ("logs", "from=x&order_id=1&limit=x&orderid=1", "from limit orderid"),
        ("stats", "limit=1", "limit"),
        ("stats", "cursor=b0000000000000001", "cursor"),
        ("stats", "x=1", "x"),
        ("stats", "status_code=x&to=x", "status_code to"),
    ] {
        let answer = ask(&house, "all", &format!("/api/v1/{route}?{query}"))
            .await
            .expect(400);
        assert_eq!(answer.paths().join(" "), names, "{query}");
        assert!(
            names.split(' ').all(|name| answer.detail().contains(name)),
            "{}",
            answer.body
        );
    }
    let both = "/api/v1/logs?cursor=b0000000000000001&after=a";
    ask(&house, "all", both).await.expect(400);
}

#[tokio::test]
async fn a_delivery_tells_its_own_attempts_its_replays_and_its_body() {
    let told = told();
    let house = house(&told).await;
    let answer = ask(&house, "acme", "/api/v1/deliveries/tracking-0-1-1.wh_1")
        .await
        .expect(200)
        .json();
    assert_eq!(answer["attempts"], json!([told[0], told[1]]));
    assert_eq!(
        answer["waits_for"],
        json!({ "attempt": 3, "due_at": told[1]["next_attempt_at"] })
    );
    assert_eq!(answer["replays"][0]["replay"], told[2]["replay"]);
    assert_eq!(answer["replays"][0]["attempts"], json!([told[2]]));
    assert_eq!(
        answer["request"],
        json!({ "body": "{\"OrderID\":\"1\"}", "missing": null })
    );
    let gone = ask(&house, "all", "/api/v1/deliveries/gone-0-2-1.wh_2")
        .await
        .expect(200)
        .json();
    assert_eq!(
        gone["request"],
        json!({ "body": null, "missing": "Kafka no longer keeps it" })
    );
    for unknown in ["gone-0-2-1.wh_2", "nothing", &"x".repeat(600)] {
        ask(&house, "acme", &format!("/api/v1/deliveries/{unknown}"))
            .await
            .expect(404);
    }
}

#[tokio::test]
async fn a_token_of_an_account_counts_and_sees_its_own_alone() {
    let house = house(&told()).await;
    for (who, query, total) in [
        ("all", "", 5),
        ("acme", "", 3),
        ("acme", "?account=shop", 0),
        ("all", "?account=shop", 2),
    ] {
        let stats = ask(&house, who, &format!("/api/v1/stats{query}"))
            .await
            .expect(200)
            .json();
        assert_eq!(stats["total"], total, "{who} {query}");
        let logs = ask(&house, who, &format!("/api/v1/logs{query}"))
            .await
            .expect(200)
            .json();
        assert_eq!(logs["items"].as_array().unwrap().len(), total, "{who} {query}");
    }
}

#[tokio::test]
async fn statistics_count_by_result_event_endpoint_and_hour() {
    let house = house(&told()).await;
    let stats = ask(&house, "all", "/api/v1/stats").await.expect(200).json();
    assert_eq!((&stats["retrying"], &stats["skipped"]), (&json!(2), &json!(1)));
    let total = |of: &str| -> u64 {
        stats[of]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["total"].as_u64().unwrap())
            .sum()
    };
    assert_eq!((total("by_event"), total("by_endpoint"), total("by_hour")), (5, 5, 5));
    let hours: Vec<&str> = stats["by_hour"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hour| hour["hour"].as_str().unwrap())
        .collect();
    assert!(hours.windows(2).all(|pair| pair[0] < pair[1]), "{hours:?}");
    assert!(stats["time_spent_ms"]["p99"].is_number());
}

#[tokio::test]
async fn without_an_index_it_is_said_what_to_set() {
    let house = House::open().await;
    for path in ["/api/v1/logs", "/api/v1/stats", "/api/v1/deliveries/x"] {
        let problem = house.get(path).await.expect(503).json();
        assert!(
            problem["detail"].as_str().unwrap().contains("admin.logs.path"),
            "{problem}"
        );
    }
}
