//! What is not done, and how it is said.

use std::time::Duration;

use postrider_webhooks::{Obstacle, Refusal};
use serde_json::json;

use crate::house::{House, OF_THE_FILE, path_of, webhook};
use crate::wire::Ask;

#[tokio::test]
async fn until_the_webhooks_were_read_everything_is_answered_with_still_starting() {
    let house = House::starting(Vec::new()).await;
    for (method, path, _) in house.contract.operations() {
        if path.starts_with("/api/") {
            let answer = house.act(&method, &path.replace("{id}", "x")).await.expect(503);
            assert!(answer.detail().contains("still starting"), "{}", answer.body);
            assert_eq!(answer.header("retry-after"), "2");
        }
    }
    house.act("GET", "/docs").await.expect(200);
}

#[tokio::test]
async fn every_field_that_cannot_be_taken_is_named() {
    let house = House::open().await;
    let bad =
        json!({ "account_id": 7, "events": ["x"], "retry": { "max_retries": "many" }, "colour": "red", "version": 1 });
    let answer = house.post("/api/v1/webhooks", &bad).await.expect(422);
    let mut paths = answer.paths();
    paths.sort();
    assert_eq!(
        paths,
        [
            "account_id",
            "colour",
            "events[0]",
            "retry.max_retries",
            "url",
            "version"
        ]
    );
    for no_object in [json!([]), json!("x"), json!(null)] {
        house.post("/api/v1/webhooks", &no_object).await.expect(422);
    }
    let path = house.added("shop").await;
    let forbidden = house
        .patch(&path, &json!({ "url": "https://forbidden.example/" }))
        .await
        .expect(422);
    assert_eq!(forbidden.paths(), ["url"]);
    house.patch(&path, &json!({ "account_id": "other" })).await.expect(422);
}

#[tokio::test]
async fn a_field_that_is_missing_is_named_wherever_it_is() {
    let house = House::open().await;
    let path = house.added("shop").await;
    for (patch, named) in [
        (json!({ "url": null }), "url"),
        (json!({ "events": null }), "events"),
        (json!({ "auth": { "username": "u" } }), "auth.password"),
        (json!({ "signing": { "secret": "********" } }), "signing.secret"),
    ] {
        let answer = house.patch(&path, &patch).await.expect(422);
        assert_eq!(answer.paths(), [named], "{}", answer.body);
    }
    let route = house.post("/api/v1/route", &json!({ "event": "order_error" })).await;
    assert_eq!(route.expect(422).paths(), ["payload"]);
}

#[tokio::test]
async fn what_if_reads_the_type_and_the_account_of_a_payload_as_the_consumer_does() {
    let house = House::open().await;
    house.added("5").await;
    house.added("-7").await;
    let ask = async |document: serde_json::Value| house.post("/api/v1/route", &document).await;
    for (account, expected) in [(json!(5), 1), (json!(-7), 1), (json!(null), 1), (json!(6), 0)] {
        let payload = json!({ "event": "order_error", "account_id": account });
        let answer = ask(json!({ "payload": payload })).await.expect(200).json();
        assert_eq!(answer["items"].as_array().unwrap().len(), expected, "{account}");
    }
    ask(json!({ "event": "order_error", "payload": { "event": null } }))
        .await
        .expect(200);
    for (payload, named) in [
        (json!({ "event": null }), "event"),
        (json!({ "event": 5 }), "payload.event"),
        (
            json!({ "event": "order_error", "account_id": 5.0 }),
            "payload.account_id",
        ),
        (
            json!({ "event": "order_error", "account_id": true }),
            "payload.account_id",
        ),
    ] {
        let answer = ask(json!({ "payload": payload })).await.expect(422);
        assert_eq!(answer.paths(), [named], "{}", answer.body);
    }
}

#[tokio::test]
async fn an_account_is_full_and_an_id_is_taken() {
    let house = House::open().await;
    for _ in 0..3 {
        house.added("shop").await;
    }
    let full = house.post("/api/v1/webhooks", &webhook("shop")).await.expect(409);
    assert!(full.detail().contains("?purge=true"), "{}", full.body);
    let mut taken = webhook("other");
    taken["id"] = json!(OF_THE_FILE);
    house.post("/api/v1/webhooks", &taken).await.expect(409);
}

#[tokio::test]
async fn webhooks_of_the_file_and_cancelled_ones_are_not_changed() {
    let house = House::open().await;
    let cancelled = house.added("shop").await;
    house.act("DELETE", &cancelled).await.expect(200);
    for path in [path_of(OF_THE_FILE), cancelled.clone()] {
        house.patch(&path, &json!({ "description": "x" })).await.expect(409);
        for action in ["enable", "disable", "rotate-secret"] {
            house.act("POST", &format!("{path}/{action}")).await.expect(409);
        }
    }
    house.act("DELETE", &path_of(OF_THE_FILE)).await.expect(409);
    house
        .act("DELETE", &format!("{}?purge=true", path_of(OF_THE_FILE)))
        .await
        .expect(409);
    let unsigned = house.added("shop").await;
    house
        .act("POST", &format!("{unsigned}/rotate-secret"))
        .await
        .expect(409);
}

#[tokio::test]
async fn what_is_no_id_is_the_id_of_nothing() {
    let house = House::open().await;
    for id in ["wh_1", "a%2Fb", "%00", "%ff", "a.b", &"x".repeat(65)] {
        house.get(&path_of(id)).await.expect(404);
        house.act("DELETE", &path_of(id)).await.expect(404);
        house.act("POST", &format!("{}/test", path_of(id))).await.expect(404);
    }
    assert_eq!(
        house.get("/api/v1/webhooks/").await.expect(404).json()["type"],
        "about:blank"
    );
}

#[tokio::test]
async fn json_that_is_malformed_doubled_or_too_deep_is_refused_by_name() {
    let house = House::open().await;
    let deep = format!("{{\"filter\":{}{}}}", "[".repeat(40), "]".repeat(40));
    for (body, told) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("{\"url\":1,\"url\":2}", "the name `url` is given twice"),
        ("{} {}", "trailing characters"),
        (&*deep, "nested deeper than 32 levels"),
    ] {
        let answer = house
            .send(Ask::new("POST", "/api/v1/webhooks").text(body))
            .await
            .expect(400);
        assert!(answer.detail().contains(told), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_body_has_to_say_that_it_is_json_and_be_small() {
    let house = House::open().await;
    let path = house.added("shop").await;
    let document = webhook("shop").to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/merge-patch+json",
    ] {
        let ask = Ask::new("POST", "/api/v1/webhooks")
            .with("content-type", kind)
            .body(&document);
        house.send(ask).await.expect(415);
    }
    house.send(Ask::new("PATCH", &path).body("{}")).await.expect(415);
    let large = format!("{{\"description\":\"{}\"}}", "x".repeat(64 << 10));
    house.send(Ask::new("PATCH", &path).text(&large)).await.expect(413);
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let raw = format!(
        "PATCH {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{chunked}"
    );
    assert!(raw_answer(&house, &raw).await.starts_with("HTTP/1.1 413 "));
}

async fn raw_answer(house: &House, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(house.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = vec![0; 16];
    stream.read_exact(&mut head).await.unwrap();
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_parameter_that_no_route_knows_is_refused_by_all() {
    let house = House::open().await;
    let path = house.added("shop").await;
    let id = path.rsplit('/').next().unwrap();
    for (method, template, _) in house.contract.operations() {
        if template.starts_with("/api/") {
            let ask = Ask::new(&method, &format!("{}?colour=red", template.replace("{id}", id)));
            let answer = house.send(ask.json(&json!({}))).await.expect(400);
            assert!(answer.detail().contains("colour"), "{}", answer.body);
            assert_eq!(answer.paths(), ["colour"]);
        }
    }
}

#[tokio::test]
async fn a_method_that_a_route_does_not_take_is_answered_with_those_it_takes() {
    let house = House::open().await;
    for (_, template, _) in house.contract.operations() {
        let answer = house
            .act("TRACE", &template.replace("{id}", OF_THE_FILE))
            .await
            .expect(405);
        let all = house.contract.operations().into_iter();
        let mut documented: Vec<String> = all
            .filter(|(_, path, _)| *path == template)
            .map(|(method, ..)| method)
            .collect();
        documented.sort();
        let mut allowed: Vec<&str> = answer
            .header("allow")
            .split(',')
            .filter(|method| *method != "HEAD")
            .collect();
        allowed.sort_unstable();
        assert_eq!(allowed, documented, "{template}");
    }
}

#[tokio::test]
async fn a_foreign_host_and_a_foreign_page_are_turned_away() {
    let house = House::open().await;
    let path = house.added("shop").await;
    let disable = Ask::new("POST", &format!("{path}/disable"));
    house
        .send(disable.clone().with("host", "evil.example"))
        .await
        .expect(421);
    house
        .send(disable.clone().with("origin", "https://evil.example"))
        .await
        .expect(403);
    house
        .send(disable.clone().with("sec-fetch-site", "cross-site"))
        .await
        .expect(403);
    house.send(disable.with("origin", "http://localhost")).await.expect(200);
}

#[tokio::test]
async fn a_change_that_was_not_made_and_one_that_may_have_been_are_told_apart() {
    let house = House::open().await;
    let path = house.added("shop").await;
    for (refusal, told) in [
        (Refusal::Unavailable(Obstacle::Behind), "nothing was changed, try again"),
        (
            Refusal::Uncertain(Obstacle::Behind),
            "it is not known whether the change was made",
        ),
    ] {
        house.refuse_changes(refusal);
        for answer in [
            house.post("/api/v1/webhooks", &webhook("shop")).await,
            house.patch(&path, &json!({ "description": "x" })).await,
            house.act("POST", &format!("{path}/rotate-secret")).await,
            house.act("DELETE", &format!("{path}?purge=true")).await,
        ] {
            let answer = answer.expect(503);
            assert!(answer.detail().contains(told), "{}", answer.body);
            assert!(
                answer.detail().contains("could not be read to its end"),
                "{}",
                answer.body
            );
        }
    }
}

/// The clock runs whenever everything waits.
#[tokio::test]
async fn a_change_that_could_not_be_answered_in_time_is_not_begun() {
    let house = House::open().await;
    tokio::time::pause();
    let ask = Ask::new("POST", "/api/v1/webhooks").json(&webhook("shop"));
    let late = ask.drip(house.address, Duration::from_secs(15)).await.expect(503);
    assert!(late.detail().contains("nothing was changed"), "{}", late.body);
    assert_eq!(house.editor.list().len(), 1, "the file's");
    ask.drip(house.address, Duration::from_secs(5)).await.expect(201);
}
