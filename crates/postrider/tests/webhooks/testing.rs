//! `webhooks test`.

use serde_json::{Value, json};

use crate::fake::{Fake, ok, stderr, stdout};

fn transmission(passed: bool, status: u16) -> Value {
    json!({
        "passed": passed, "message": "told", "hint": if passed { Value::Null } else { json!("look") },
        "time_spent_ms": 12.25, "error": null,
        "request": {"method": "POST", "url": "https://m.example/h?k=***",
                    "headers": {"authorization": "********", "webhook-id": "msg_1"}, "body": "{\"a\": 1}"},
        "response": {"status": status, "text": "Forbidden", "headers": {"x-evil": "\u{1b}]0;x"},
                     "body": "<p>\u{1b}[31mred</p>", "truncated": false},
    })
}

#[test]
fn everything_transmitted_is_shown_and_a_pass_ends_well() {
    let api = Fake::always(ok(&transmission(true, 200)));
    let told = api.told(&["webhooks", "test", "wh_1", "--event", "order_error"]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..2], ["passed: told", "  time spent: 12.25 ms"]);
    for part in [
        "POST https://m.example/h?k=***\n  authorization: ********\n  webhook-id: msg_1\n\n  {\"a\": 1}\n",
        "200 Forbidden\n  x-evil: \\u{1b}]0;x\n\n  <p>\\u{1b}[31mred</p>\n",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let seen = api.only();
    assert_eq!(seen.line, "POST /api/v1/webhooks/wh_1/test");
    assert_eq!(seen.body, json!({"event": "order_error"}));
}

#[test]
fn a_test_that_does_not_pass_ends_with_1() {
    let api = Fake::always(ok(&transmission(false, 403)));
    for more in [&[][..], &["--json"]] {
        let arguments = [&["webhooks", "test", "wh_1"], more].concat();
        let output = api.run(&arguments);
        assert_eq!((output.status.code(), &*stderr(&output)), (Some(1), ""));
        let told = stdout(&output);
        assert!(
            told.contains(if more.is_empty() {
                "FAILED: told\n  hint: look\n"
            } else {
                "\"passed\":false"
            }),
            "{told}"
        );
    }
    assert_eq!(api.seen()[0].body, json!({}));
}
