//! `webhooks add`, `edit` and the commands that change one webhook; `secrets rotate`.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::fake::{Fake, Reply, file, json_of, ok, raw, stderr, stdout};

const ADD: [&str; 6] = [
    "webhooks",
    "add",
    "--url",
    "https://m.example/h",
    "--events",
    "order_shipped,order_error",
];

fn added() -> Reply {
    json_of(
        201,
        &json!({"id": "wh_1", "signing": {"secret": "whsec_made"},
                "first_connection": {"passed": true, "message": "The endpoint answered 200", "hint": null}}),
    )
}

#[test]
fn adding_needs_a_url_and_events_and_sends_no_more_than_was_said() {
    let api = Fake::always(added());
    let told = api.told(&ADD);
    assert_eq!(
        told,
        "added wh_1\nfirst connection: passed: The endpoint answered 200\n"
    );
    let seen = api.only();
    assert_eq!(seen.line, "POST /api/v1/webhooks");
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(
        seen.body,
        json!({"url": "https://m.example/h", "events": ["order_shipped", "order_error"]})
    );
}

#[test]
fn every_flag_is_a_field() {
    let api = Fake::always(added());
    let (_dir, password) = file("hunter2\n");
    let mut arguments = ADD.to_vec();
    arguments.extend([
        "--account",
        "acme",
        "--description",
        "d",
        "--filter",
        r#"{"code": {"gte": 5}}"#,
    ]);
    arguments.extend([
        "--username",
        "u",
        "--password-file",
        &password,
        "--max-retries",
        "3",
        "--generate-signing",
    ]);
    arguments.extend(["--header", "X-Api-Key", "--header-value-file", "-"]);
    let (_chain_dir, chain) = file("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    let (_key_dir, key) = file("hunter2\nk3y\n");
    arguments.extend(["--tls-certificate", &chain, "--tls-key", &key]);
    arguments.extend(["--timeout-ms", "500", "--max-in-flight", "2", "--rate-limit", "9"]);
    let mut child = api
        .command(&arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"k3y\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!stdout(&output).contains("hunter2") && !stdout(&output).contains("k3y"));
    assert_eq!(
        api.only().body,
        json!({"url": "https://m.example/h", "events": ["order_shipped", "order_error"], "account_id": "acme",
               "description": "d", "filter": {"code": {"gte": 5}}, "auth": {"username": "u", "password": "hunter2"},
               "header": {"name": "X-Api-Key", "value": "k3y"}, "retry": {"enabled": true, "max_retries": 3},
               "signing": {"generate": true},
               "tls": {"certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "key": "hunter2\nk3y"},
               "timeout_ms": 500, "max_in_flight": 2, "rate_limit_per_second": 9})
    );
}

#[test]
fn a_secret_that_was_made_is_shown_once_and_only_when_it_was_asked_for() {
    let api = Fake::always(added());
    let mut arguments = ADD.to_vec();
    assert!(!api.told(&arguments).contains("whsec_made"));
    arguments.push("--generate-signing");
    let told = api.told(&arguments);
    assert!(
        told.contains("signing secret: whsec_made\n  it is shown only this once"),
        "{told}"
    );
}

#[test]
fn a_first_connection_that_fails_is_told_and_does_not_fail_the_command() {
    let message = "HTTP response code is 403, it must be 200. Please Retry!";
    let api = Fake::always(json_of(
        201,
        &json!({"id": "wh_1", "first_connection": {"passed": false, "message": message, "hint": "A firewall"}}),
    ));
    let told = api.told(&ADD);
    let expected = format!("first connection: FAILED: {message}\n  hint: A firewall\n");
    assert!(
        told.contains(&expected) && told.contains("`postrider webhooks test wh_1`"),
        "{told}"
    );
}

#[test]
fn a_webhook_can_be_added_from_a_file() {
    let api = Fake::always(added());
    let (_dir, path) = file("url: https://m.example/h\nevents: [order_error]\nretry: {enabled: false}\n");
    api.told(&["webhooks", "add", "--file", &path]);
    let expected = json!({"url": "https://m.example/h", "events": ["order_error"], "retry": {"enabled": false}});
    assert_eq!(api.only().body, expected);
}

#[test]
fn an_edit_is_a_merge_patch_of_what_was_named() {
    let api = Fake::always(ok(&json!({"id": "wh_1", "version": 4})));
    let mut arguments = vec!["webhooks", "edit", "wh_1", "--no-retry", "--description", ""];
    arguments.extend(["--clear", "auth,filter", "--clear", "signing,tls", "--if-match", "3"]);
    assert_eq!(api.told(&arguments), "changed wh_1, now at version 4\n");
    let seen = api.only();
    assert_eq!(seen.line, "PATCH /api/v1/webhooks/wh_1");
    assert_eq!(seen.header("content-type"), Some("application/merge-patch+json"));
    assert_eq!(seen.header("if-match"), Some("\"3\""));
    assert_eq!(
        seen.body,
        json!({"retry": {"enabled": false}, "description": "", "auth": null, "filter": null, "signing": null,
               "tls": null})
    );
}

#[test]
fn a_password_can_be_changed_alone() {
    let api = Fake::always(ok(&json!({"id": "wh_1"})));
    let (_dir, password) = file("hunter2");
    api.told(&["webhooks", "edit", "wh_1", "--password-file", &password]);
    let seen = api.only();
    assert_eq!(seen.body, json!({"auth": {"password": "hunter2"}}));
    assert_eq!(seen.header("if-match"), None);
}

#[test]
fn one_webhook_is_switched_cancelled_and_removed() {
    let api = Fake::new(|line| match line {
        "DELETE /api/v1/webhooks/wh_1?purge=true" => raw(204, "text/plain", ""),
        _ => ok(&json!({"id": "wh_1", "url": "https://m.example/h", "status": "disabled"})),
    });
    assert_eq!(
        api.told(&["webhooks", "enable", "wh_1"]),
        "enabled wh_1: https://m.example/h\n"
    );
    assert_eq!(
        api.told(&["webhooks", "disable", "wh_1"]),
        "disabled wh_1: https://m.example/h\n"
    );
    assert!(
        api.told(&["webhooks", "delete", "wh_1"])
            .starts_with("cancelled wh_1; --purge")
    );
    assert_eq!(
        api.told(&["webhooks", "delete", "wh_1", "--purge"]),
        "removed wh_1 for good\n"
    );
    assert_eq!(api.told(&["webhooks", "delete", "wh_1", "--purge", "--json"]), "");
    let lines = [
        "POST /api/v1/webhooks/wh_1/enable",
        "POST /api/v1/webhooks/wh_1/disable",
        "DELETE /api/v1/webhooks/wh_1",
        "DELETE /api/v1/webhooks/wh_1?purge=true",
        "DELETE /api/v1/webhooks/wh_1?purge=true",
    ];
    assert_eq!(api.lines(), lines);
}

#[test]
fn a_rotated_secret_is_shown_once() {
    let api = Fake::always(ok(&json!({"id": "wh_1", "signing": {"secret": "whsec_new"}})));
    let told = api.told(&["webhooks", "rotate-secret", "wh_1"]);
    assert!(
        told.starts_with("rotated the signing secret of wh_1\nsigning secret: whsec_new\n"),
        "{told}"
    );
    assert_eq!(api.only().line, "POST /api/v1/webhooks/wh_1/rotate-secret");
}

#[test]
fn stored_secrets_are_sealed_anew() {
    let api = Fake::always(ok(&json!({"resealed": 3})));
    assert_eq!(
        api.told(&["secrets", "rotate"]),
        "the secrets of 3 webhooks were sealed anew\n"
    );
    assert_eq!(api.told(&["secrets", "rotate", "--json"]), "{\"resealed\":3}\n");
    assert_eq!(api.lines()[0], "POST /api/v1/secrets/rotate");
}

#[test]
fn the_token_comes_from_the_environment_alone() {
    let api = Fake::always(ok(&json!({"items": []})));
    let output = api
        .command(&["webhooks", "list"])
        .env("POSTRIDER_TOKEN", "t0ken\n")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(api.only().header("authorization"), Some("Bearer t0ken"));
}
