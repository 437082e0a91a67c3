//! `webhooks apply`.

use serde_json::{Value, json};

use crate::fake::{Fake, Reply, file, json_of, ok, problem, stderr, stdout};

const FILE: &str = "
webhooks:
  - id: new
    url: https://m.example/new
    events: [order_error]
    signing: {generate: true}
  - id: same
    events: [order_error, order_shipped]
  - id: other
    description: new words
    auth: {username: u, password: hunter2}
";

fn webhook(id: &str) -> Value {
    json!({"id": id, "url": "https://m.example/h", "events": ["order_shipped", "order_error"], "description": "",
           "auth": {"username": "u", "password": "********"}, "status": "active", "version": 7, "origin": "managed"})
}

fn script(line: &str) -> Reply {
    let mut of_the_file = webhook("of_the_file");
    of_the_file["origin"] = json!("file");
    match line {
        "GET /api/v1/webhooks/new" => problem(404, "there is no such webhook", &[]),
        "GET /api/v1/webhooks/same" => ok(&webhook("same")),
        "GET /api/v1/webhooks/other" | "PATCH /api/v1/webhooks/other" => ok(&webhook("other")),
        "GET /api/v1/webhooks" => {
            ok(&json!({"items": [webhook("same"), webhook("stray"), of_the_file], "next_cursor": null}))
        }
        "POST /api/v1/webhooks" => json_of(
            201,
            &json!({"id": "new", "signing": {"secret": "whsec_made"},
                    "first_connection": {"passed": false, "message": "no answer", "hint": null}}),
        ),
        "DELETE /api/v1/webhooks/stray" => ok(&webhook("stray")),
        _ => problem(500, line, &[]),
    }
}

const DIFF: &str = "\
+ new
~ other: auth.password: (secret, sent again)
~ other: description: \"\" → \"new words\"
- stray
";

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_dry_run_tells_the_difference_and_has_it_judged_only() {
    let api = Fake::new(judging);
    let (_dir, path) = file(FILE);
    let told = api.told(&["webhooks", "apply", "-f", &path, "--prune", "--dry-run"]);
    let (diff, summary) = told.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(sorted(diff), sorted(DIFF));
    assert_eq!(summary, "1 would be added, 1 changed, 1 cancelled, 1 left alone");
    let lines = api.lines();
    let others: Vec<&String> = lines.iter().filter(|line| !line.starts_with("GET ")).collect();
    assert_eq!(
        others,
        [
            "POST /api/v1/webhooks?dry_run=true",
            "PATCH /api/v1/webhooks/other?dry_run=true"
        ]
    );
}

/// Answers a dry run, and nothing else that would change something.
fn judging(line: &str) -> Reply {
    match line {
        "POST /api/v1/webhooks?dry_run=true" => ok(&webhook("new")),
        "PATCH /api/v1/webhooks/other?dry_run=true" => ok(&webhook("other")),
        line if line.starts_with("GET ") => script(line),
        line => problem(500, line, &[]),
    }
}

/// What is told on standard output where one call is refused and the others are answered.
fn told_beside_a_refusal(call: &'static str, others: fn(&str) -> Reply, flags: &[&str]) -> String {
    let api = Fake::new(move |line| {
        if line == call {
            problem(422, "some fields cannot be taken", &[("url", "is blocked")])
        } else {
            others(line)
        }
    });
    let (_dir, path) = file(FILE);
    let output = api.run(&[&["webhooks", "apply", "-f", &path], flags].concat());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "url: is blocked\nerror: new: some fields cannot be taken\n"
    );
    stdout(&output)
}

#[test]
fn what_would_be_refused_is_told_by_a_dry_run_and_ends_with_1() {
    let told = told_beside_a_refusal("POST /api/v1/webhooks?dry_run=true", judging, &["--dry-run"]);
    let summary = "0 would be added, 1 changed, 0 cancelled, 1 left alone, 1 cannot be as the file says";
    assert!(told.ends_with(&format!("{summary}\n")), "{told}");
}

#[test]
fn only_what_differs_is_sent() {
    let api = Fake::new(script);
    let (_dir, path) = file(FILE);
    let told = api.told(&["webhooks", "apply", "-f", &path, "--prune"]);
    for part in [
        "+ new\n",
        "new: signing secret: whsec_made\n",
        "first connection: FAILED: no answer\n",
        "\n1 were added, 1 changed, 1 cancelled, 1 left alone\n",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    let sent: Vec<_> = api
        .seen()
        .into_iter()
        .filter(|seen| !seen.line.starts_with("GET "))
        .collect();
    let lines: Vec<&str> = sent.iter().map(|seen| &*seen.line).collect();
    assert_eq!(
        lines,
        [
            "POST /api/v1/webhooks",
            "PATCH /api/v1/webhooks/other",
            "DELETE /api/v1/webhooks/stray"
        ]
    );
    assert_eq!(
        sent[0].body,
        json!({"id": "new", "url": "https://m.example/new", "events": ["order_error"], "signing": {"generate": true}})
    );
    assert_eq!(
        sent[1].body,
        json!({"description": "new words", "auth": {"password": "hunter2"}})
    );
    assert_eq!(sent[1].header("if-match"), Some("\"7\""));
}

#[test]
fn without_prune_nothing_is_cancelled_or_listed() {
    let api = Fake::new(script);
    let (_dir, path) = file(r#"[{"id": "same", "events": ["order_shipped", "order_error"]}]"#);
    let told = api.told(&["webhooks", "apply", "-f", &path]);
    assert_eq!(told, "0 were added, 0 changed, 0 cancelled, 1 left alone\n");
    assert_eq!(api.lines(), ["GET /api/v1/webhooks/same"]);
}

#[test]
fn what_one_webhook_is_refused_does_not_stop_the_others() {
    let told = told_beside_a_refusal("POST /api/v1/webhooks", script, &[]);
    assert!(
        told.ends_with("0 were added, 1 changed, 0 cancelled, 1 left alone, 1 cannot be as the file says\n"),
        "{told}"
    );
}

#[test]
fn a_cancelled_webhook_is_told_and_ends_with_1() {
    let api = Fake::new(|_| {
        let mut cancelled = webhook("same");
        cancelled["status"] = json!("cancelled");
        ok(&cancelled)
    });
    let (_dir, path) = file("[{id: same, description: x}]");
    let output = api.run(&["webhooks", "apply", "-f", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).starts_with("! same: was cancelled; "),
        "{}",
        stdout(&output)
    );
    assert_eq!(api.lines(), ["GET /api/v1/webhooks/same"]);
}

#[test]
fn as_json_every_step_comes_with_its_answer() {
    let api = Fake::new(script);
    let (_dir, path) = file(FILE);
    let told = api.told(&["webhooks", "apply", "-f", &path, "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["dry_run"], false);
    let steps = told["webhooks"].as_array().unwrap();
    let actions: Vec<&Value> = steps.iter().map(|step| &step["action"]).collect();
    assert_eq!(actions, ["add", "keep", "change"]);
    assert_eq!(steps[0]["answer"]["signing"]["secret"], "whsec_made");
    assert_eq!(steps[2]["changes"].as_array().unwrap().len(), 2);
    assert!(!told.to_string().contains("hunter2"));
}

#[test]
fn a_file_that_cannot_be_applied_sends_nothing_and_shows_no_secret() {
    let api = Fake::new(script);
    for content in [
        "",
        "[]",
        "- {url: hunter2}",
        "- {id: a, auth: {password: hunter2}",
        "webhooks: hunter2",
    ] {
        let (_dir, path) = file(content);
        let output = api.run(&["webhooks", "apply", "-f", &path, "--prune"]);
        assert_eq!(output.status.code(), Some(1), "{content}: {}", stdout(&output));
        assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
    assert!(api.seen().is_empty());
}
