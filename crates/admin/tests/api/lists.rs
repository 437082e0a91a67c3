//! Lists: filters and pages.

use serde_json::{Value, json};

use crate::house::{House, OF_THE_FILE};
use crate::wire::Answer;

fn ids(answer: &Answer) -> Vec<String> {
    let items = answer.json()["items"].as_array().cloned().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

fn id(path: &str) -> String {
    path.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_list_is_narrowed_by_account_status_and_event() {
    let house = House::open().await;
    let (one, two) = (house.added("shop").await, house.added("other").await);
    house.act("POST", &format!("{two}/disable")).await.expect(200);
    for (query, expected) in [
        ("", vec![OF_THE_FILE.to_owned(), id(&one), id(&two)]),
        ("?account=shop", vec![id(&one)]),
        ("?status=disabled", vec![id(&two)]),
        ("?status=active&account=default", vec![OF_THE_FILE.to_owned()]),
        ("?event=tracking_update", vec![]),
        ("?event=order_error&account=other", vec![id(&two)]),
    ] {
        let answer = house.get(&format!("/api/v1/webhooks{query}")).await.expect(200);
        let (mut found, mut expected) = (ids(&answer), expected);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{query}");
        assert_eq!(answer.json()["next_cursor"], Value::Null);
    }
}

#[tokio::test]
async fn pages_follow_each_other_until_there_is_no_cursor() {
    let house = House::open().await;
    for account in ["a", "a", "a", "b", "b"] {
        house.added(account).await;
    }
    let whole = ids(&house.get("/api/v1/webhooks").await);
    assert_eq!(whole[0], OF_THE_FILE);
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = house.get(&format!("/api/v1/webhooks{query}")).await.expect(200);
        assert!(ids(&page).len() <= 2);
        seen.extend(ids(&page));
        let Some(cursor) = page.json()["next_cursor"].as_str().map(str::to_owned) else {
            break;
        };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, whole);
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused() {
    let house = House::open().await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "cursor=x",
        "cursor=",
        "cursor=d2hfeA",
        "account=",
        "account=a%20b",
        "status=gone",
        "event=x",
        "limit=1&limit=2",
    ] {
        house.get(&format!("/api/v1/webhooks?{query}")).await.expect(400);
    }
    house.get("/api/v1/webhooks?limit=1000").await.expect(200);
    let path = house.added("shop").await;
    house.act("DELETE", &format!("{path}?purge=perhaps")).await.expect(400);
    assert_eq!(house.get(&path).await.expect(200).json()["status"], json!("active"));
}
