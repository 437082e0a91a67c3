//! `webhooks list` and `show`.

use serde_json::{Value, json};

use crate::fake::{Fake, ok};

fn webhook(id: &str) -> Value {
    json!({"id": id, "account_id": "acme", "status": "active", "events": ["order_shipped", "order_error"],
           "url": "https://m.example/h", "version": 1})
}

/// Two pages of one webhook each.
fn paged() -> Fake {
    Fake::new(|line| {
        if line.ends_with("cursor=a%26b") {
            ok(&json!({"items": [webhook("wh_2")], "next_cursor": null}))
        } else {
            ok(&json!({"items": [webhook("wh_1")], "next_cursor": "a&b"}))
        }
    })
}

#[test]
fn a_list_is_read_to_its_last_page() {
    let api = paged();
    let told = api.told(&[
        "webhooks",
        "list",
        "--account",
        "acme",
        "--status",
        "active",
        "--event",
        "order_error",
    ]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "ID    ACCOUNT  STATUS  EVENTS                     URL");
    assert_eq!(
        lines[1..],
        [
            "wh_1  acme     active  order_shipped,order_error  https://m.example/h",
            "wh_2  acme     active  order_shipped,order_error  https://m.example/h"
        ]
    );
    let first = "GET /api/v1/webhooks?account=acme&status=active&event=order_error";
    assert_eq!(api.lines(), [first.to_owned(), format!("{first}&cursor=a%26b")]);
}

#[test]
fn as_json_all_pages_are_one_list() {
    let told = paged().told(&["webhooks", "list", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        told,
        json!({"items": [webhook("wh_1"), webhook("wh_2")], "next_cursor": null})
    );
}

#[test]
fn an_empty_list_says_so() {
    let api = Fake::always(ok(&json!({"items": [], "next_cursor": null})));
    assert_eq!(api.told(&["webhooks", "list"]), "no webhooks\n");
}

#[test]
fn a_webhook_is_shown_field_by_field_or_as_it_came() {
    let answer = r#"{"version": 3,  "id": "wh_1", "url": "https://m.example/h", "description": "a\u001b[2Jb",
        "auth": {"username": "u", "password": "********"}, "events": ["order_error"], "filter": null}"#;
    let api = Fake::always(crate::fake::raw(200, "application/json", answer));
    let told = api.told(&["webhooks", "show", "wh_1"]);
    for line in [
        "id             wh_1",
        "description    a\\u{1b}[2Jb",
        "auth.password  ********",
        "events         order_error",
    ] {
        assert!(told.lines().any(|one| one == line), "{line}: {told}");
    }
    assert!(!told.contains("filter") && !told.contains('\u{1b}'), "{told}");
    assert_eq!(api.told(&["webhooks", "show", "wh_1", "--json"]), format!("{answer}\n"));
    assert_eq!(api.lines()[0], "GET /api/v1/webhooks/wh_1");
}
