//! `postrider logs`.

use serde_json::{Value, json};

use crate::fake::{Fake, ok, problem, stderr};

fn outcome(order: &str) -> Value {
    json!({"order_id": order, "tracking": "T\u{1b}1", "event": "order_error", "result": "retrying", "status_code": 503,
           "retry": 2, "time_spent_ms": 12.34, "endpoint": "https://m.example/h", "date_start": "2026-11-22T10:00:00.000Z"})
}

fn page(items: &[Value]) -> Value {
    json!({"items": items, "next_cursor": null, "after": "a0-1", "has_more": false,
           "indexed": {"until": "2026-11-22T10:00:00.000Z", "lag": 0}})
}

#[test]
fn filters_go_to_the_api_and_outcomes_are_a_table() {
    let mut skipped = outcome("2");
    skipped["date_start"] = Value::Null;
    skipped["event_time"] = json!("2026-11-22T09:00:00.000Z");
    skipped["status_code"] = Value::Null;
    skipped["error"] = json!({"kind": "webhook_gone", "message": "gone"});
    skipped["time_spent_ms"] = Value::Null;
    let api = Fake::always(ok(&page(&[outcome("1"), skipped])));
    let told = api.told(&[
        "logs",
        "--account",
        "acme",
        "--webhook",
        "wh_1",
        "--endpoint",
        "https://m.example/h?a=***",
        "--event",
        "order_error",
        "--result",
        "retrying",
        "--retry",
        "true",
        "--status-code",
        "503",
        "--order-id",
        "1",
        "--transaction-id",
        "1_1",
        "--tracking",
        "T1",
        "--from",
        "2026-11-22T00:00:00Z",
        "--to",
        "2026-11-23T00:00:00Z",
        "--limit",
        "7",
    ]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "DATE                      ORDER  TRACKING  EVENT        RESULT    STATUS        RETRY  MS    ENDPOINT",
            "2026-11-22T10:00:00.000Z  1      T\\u{1b}1  order_error  retrying  503           2      12.3  https://m.example/h",
            "2026-11-22T09:00:00.000Z  2      T\\u{1b}1  order_error  retrying  webhook_gone  2      -     https://m.example/h",
        ]
    );
    let asked = api.only().line;
    assert_eq!(
        asked,
        "GET /api/v1/logs?account=acme&webhook=wh_1&endpoint=https%3A%2F%2Fm.example%2Fh%3Fa%3D***&event=order_error\
         &result=retrying&retry=true&status_code=503&order_id=1&transaction_id=1_1&tracking=T1\
         &from=2026-11-22T00%3A00%3A00.000Z&to=2026-11-23T00%3A00%3A00.000Z&limit=7"
    );
}

#[test]
fn an_index_that_is_behind_says_so_beside_the_table() {
    let mut behind = page(&[]);
    behind["indexed"]["lag"] = json!(12);
    let output = Fake::always(ok(&behind)).run(&["logs"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "no such outcomes\n");
    let said = "the index is behind: it has everything until 2026-11-22T10:00:00.000Z, about 12 records are missing\n";
    assert_eq!(stderr(&output), said);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_the_api_refuses_is_told_and_bad_filters_are_not_sent() {
    let api = Fake::always(problem(503, "set admin.logs.path to a file", &[]));
    let output = api.run(&["logs"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("set admin.logs.path"), "{output:?}");
    for bad in [
        ["--result", "lost"],
        ["--event", "x"],
        ["--limit", "0"],
        ["--status-code", "x"],
    ] {
        let output = api.run(&[&["logs"], &bad[..]].concat());
        assert_eq!(output.status.code(), Some(64), "{bad:?}");
    }
    assert_eq!(api.lines().len(), 1);
}
