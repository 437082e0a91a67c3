//! What goes wrong: said on standard error with what to do, without secrets, and with its exit code.

use serde_json::json;

use crate::fake::{Fake, file, ok, postrider, problem, raw, redirect, stderr};

const LIST: [&str; 2] = ["webhooks", "list"];

/// What is told when a command ends with this code.
fn told(api: &Fake, arguments: &[&str], code: i32) -> String {
    let output = api.run(arguments);
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    stderr(&output)
}

#[test]
fn a_refusal_is_told_field_by_field() {
    let errors = [("url", "is no\u{1b}[2J URL"), ("events", "is empty")];
    let api = Fake::always(problem(422, "some fields cannot be taken", &errors));
    let told = told(&api, &["webhooks", "add", "--url", "x", "--events", "order_error"], 1);
    assert_eq!(
        told,
        "url: is no\\u{1b}[2J URL\nevents: is empty\nerror: some fields cannot be taken\n"
    );
}

#[test]
fn a_missing_token_is_told_and_a_wrong_one_is_not_repeated() {
    let api = Fake::always(problem(401, "a token is needed", &[]));
    let told = told(&api, &LIST, 1);
    assert!(told.contains("POSTRIDER_TOKEN"), "{told}");
    for (token, code) in [("hunter2", 1), ("hunter2\u{1}", 1)] {
        let output = api.command(&LIST).env("POSTRIDER_TOKEN", token).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
}

#[test]
fn an_api_out_of_reach_is_69() {
    for api in ["http://127.0.0.1:1", "https://127.0.0.1:1"] {
        let output = postrider(&["webhooks", "show", "wh_1", "--api", api]).output().unwrap();
        assert_eq!(output.status.code(), Some(69));
        let told = stderr(&output);
        let expected = format!("error: the API cannot be reached at {api}; start `postrider run`, or name its address");
        assert!(told.starts_with(&expected), "{told}");
    }
}

#[test]
fn what_does_not_speak_tls_is_out_of_reach_over_https() {
    let api = Fake::always(ok(&json!({})));
    let address = api.address.replace("http://", "https://");
    let output = postrider(&["webhooks", "show", "wh_1", "--api", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(api.seen().is_empty());
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = Fake::always(ok(&json!({"items": []})));
    let api = Fake::always(redirect(&format!("{}/api/v1/webhooks", elsewhere.address)));
    let told = told(&api, &LIST, 1);
    assert!(
        told.contains("answered 307 Temporary Redirect; redirects are not followed"),
        "{told}"
    );
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn what_is_not_the_api_is_not_shown() {
    for reply in [
        raw(200, "text/html", "<html>hunter2</html>"),
        raw(200, "application/json", "{\"items\": \"hunter2\"}"),
        raw(502, "text/html", "<html>hunter2</html>"),
        raw(404, "text/html", "hunter2"),
    ] {
        let told = told(&Fake::always(reply), &LIST, 1);
        assert!(told.starts_with("error: ") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn an_answer_without_end_is_not_read() {
    let huge = format!("\"{}\"", "x".repeat(5 << 20));
    let told = told(&Fake::always(raw(200, "application/json", huge)), &LIST, 1);
    assert!(told.contains("is larger than 4 MiB"), "{told}");
}

#[test]
fn bad_usage_is_64_and_sends_nothing() {
    let api = Fake::always(ok(&json!({})));
    let (_dir, secret) = file("hunter2");
    let add = ["webhooks", "add", "--url", "https://h/", "--events", "order_error"];
    for arguments in [
        &["webhooks"][..],
        &["webhooks", "add", "--url", "https://h/"],
        &["webhooks", "add", "--events", "order_error"],
        &["webhooks", "add", "--file", &secret, "--url", "https://h/"],
        &["webhooks", "add", "--url", "https://h/", "--events", "order_lost"],
        &[&add[..], &["--username", "u"]].concat(),
        &[&add[..], &["--password-file", &secret]].concat(),
        &[&add[..], &["--header", "x"]].concat(),
        &[&add[..], &["--tls-certificate", &secret]].concat(),
        &[&add[..], &["--tls-key", &secret]].concat(),
        &[&add[..], &["--tls-certificate", "-", "--tls-key", "-"]].concat(),
        &[&add[..], &["--max-retries", "11"]].concat(),
        &[&add[..], &["--max-retries", "1", "--no-retry"]].concat(),
        &[&add[..], &["--filter", "{"]].concat(),
        &[
            &add[..],
            &[
                "--username",
                "u",
                "--password-file",
                "-",
                "--header",
                "x",
                "--header-value-file",
                "-",
            ],
        ]
        .concat(),
        &["webhooks", "edit", "wh_1"],
        &["webhooks", "edit", "wh_1", "--clear", "url"],
        &["webhooks", "edit", "wh_1", "--clear", "auth", "--username", "u"],
        &["webhooks", "show", "../secrets"],
        &["webhooks", "list", "--status", "lost"],
        &["webhooks", "list", "--token", "hunter2"],
        &["webhooks", "apply"],
        &["secrets", "rotate", "--key", "hunter2"],
    ] {
        let told = told(&api, arguments, 64);
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert!(api.seen().is_empty());
}

#[test]
fn an_address_with_a_password_is_refused_and_not_repeated() {
    for api in ["http://u:hunter2@127.0.0.1:1", "hunter2", "ftp://hunter2/"] {
        let output = postrider(&["webhooks", "list", "--api", api]).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{api}");
        assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
}

#[test]
fn help_tells_no_token() {
    for arguments in [&["webhooks", "list", "--help"][..], &["secrets", "rotate", "--help"]] {
        let output = postrider(arguments).env("POSTRIDER_TOKEN", "hunter2").output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("POSTRIDER_TOKEN") && !help.contains("hunter2"), "{help}");
    }
}
