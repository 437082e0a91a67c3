//! The console over plain HTTP, as a browser without scripts speaks it: who is let in, what is changed by a form, and
//! what goes with every page.

use postrider_admin::config::Access;
use serde_json::json;

use crate::house::{House, OF_THE_FILE, secret_of, token};
use crate::logs;
use crate::wire::{Answer, Ask};

/// Pages and what they are asked with; `{id}` is a webhook.
const READING: [&str; 3] = ["/", "/logs", "/webhooks/{id}"];
const CHANGING: [&str; 8] = [
    "/webhooks/new",
    "/webhooks/{id}/edit",
    "/webhooks/{id}/test",
    "/webhooks/{id}/enable",
    "/webhooks/{id}/disable",
    "/webhooks/{id}/rotate-secret",
    "/webhooks/{id}/delete",
    "/webhooks/{id}/remove",
];

async fn house() -> House {
    House::with(vec![
        token("reader", Access::Read, &[]),
        token("writer", Access::Write, &[]),
        token("shop", Access::Write, &["shop"]),
    ])
    .await
}

/// A form that a page of the console sends.
fn form(path: &str, fields: &str) -> Ask {
    Ask::new("POST", path)
        .with("content-type", "application/x-www-form-urlencoded")
        .with("origin", "http://localhost")
        .body(fields)
}

async fn send(house: &House, ask: Ask) -> Answer {
    ask.send(house.address).await
}

/// The cookie of a session.
async fn signed_in(house: &House, name: &str) -> String {
    let answer = send(house, form("/sign-in", &format!("token={}&next=/", secret_of(name)))).await;
    let answer = answer.expect(303);
    let (cookie, attributes) = answer.header("set-cookie").split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age=43200");
    assert!(!cookie.contains(&secret_of(name)), "{cookie}");
    cookie.to_owned()
}

/// The last part of the path that the API has for a webhook.
fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn every_page_tells_the_browser_to_load_and_send_nothing_elsewhere() {
    let house = House::open().await;
    let known = house.added("shop").await;
    let pages = READING.iter().chain(&[
        "/webhooks/new",
        "/webhooks/{id}/edit",
        "/webhooks/{id}/delete",
        "/sign-in",
    ]);
    for page in pages.chain(&["/assets/x/console.css", "/webhooks/none"]) {
        let answer = send(&house, Ask::new("GET", &page.replace("{id}", id(&known)))).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{page}: {policy}"
        );
        assert!(
            policy.contains("form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
            "{page}: {policy}"
        );
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{page}: {policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{page}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{page}");
        for inline in [
            "<script>",
            " style=",
            "<style",
            " onclick=",
            "javascript:",
            "hx-on",
            "js:",
        ] {
            assert!(
                !answer.body.contains(inline) || page.ends_with(".css"),
                "{page} has {inline}"
            );
        }
    }
}

#[tokio::test]
async fn files_are_kept_by_the_browser_under_the_name_of_what_is_in_them() {
    let house = House::open().await;
    let page = send(&house, Ask::new("GET", "/")).await.expect(200);
    let at = page.body.find("/assets/").unwrap();
    let path = page.body[at..].split('"').next().unwrap();
    let kept = send(&house, Ask::new("GET", path)).await.expect(200);
    assert_eq!(kept.header("cache-control"), "public, max-age=31536000, immutable");
    let (_, name) = path.rsplit_once('/').unwrap();
    let other = send(&house, Ask::new("GET", &format!("/assets/older/{name}")))
        .await
        .expect(200);
    assert_eq!(other.header("cache-control"), "no-store");
    send(&house, Ask::new("GET", "/assets/older/none.js")).await.expect(404);
    assert_eq!(page.header("cache-control"), "no-store");
}

#[tokio::test]
async fn without_a_session_every_page_asks_to_sign_in_and_nothing_is_changed() {
    let house = house().await;
    let known = house.added("shop").await;
    for page in READING.iter().chain(&CHANGING) {
        let path = page.replace("{id}", id(&known));
        if !page.ends_with("able") {
            let answer = send(&house, Ask::new("GET", &path)).await.expect(303);
            assert!(answer.header("location").starts_with("/sign-in?next=/"), "{answer:?}");
            let of_a_script = Ask::new("GET", &path).with("hx-request", "true");
            assert_eq!(send(&house, of_a_script).await.expect(401).header("hx-refresh"), "true");
        }
        if READING.contains(page) {
            continue;
        }
        // A bearer token is for programs; a page of another site could not send one, and forms have none.
        send(&house, form(&path, "")).await.expect(303);
        let forged = form(&path, "").with(
            "cookie",
            "postrider_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        );
        send(&house, forged).await.expect(303);
    }
    let answer = house
        .send(Ask::new("GET", &known).token(&secret_of("writer")))
        .await
        .expect(200);
    assert_eq!(answer.json()["version"], 1);
}

#[tokio::test]
async fn a_session_of_a_token_that_may_only_read_changes_nothing() {
    let house = house().await;
    let known = house.added("shop").await;
    let cookie = signed_in(&house, "reader").await;
    for page in CHANGING {
        let path = page.replace("{id}", id(&known));
        send(&house, form(&path, "").with("cookie", &cookie)).await.expect(403);
    }
    for page in READING {
        let path = page.replace("{id}", id(&known));
        let answer = send(&house, Ask::new("GET", &path).with("cookie", &cookie))
            .await
            .expect(200);
        assert!(
            !answer.body.contains("method=\"post\" action=\"/webhooks"),
            "{page} has something to press"
        );
    }
    assert_eq!(house.sent(), []);
}

#[tokio::test]
async fn a_change_has_to_come_from_a_page_of_the_console() {
    for (house, cookie) in [(House::open().await, None), {
        let house = house().await;
        let cookie = signed_in(&house, "writer").await;
        (house, Some(cookie))
    }] {
        let known = house.added("shop").await;
        let with_cookie = |ask: Ask| cookie.iter().fold(ask, |ask, cookie| ask.with("cookie", cookie));
        for page in CHANGING {
            let path = page.replace("{id}", id(&known));
            let plain = || {
                let ask = Ask::new("POST", &path).with("content-type", "application/x-www-form-urlencoded");
                with_cookie(ask)
            };
            send(&house, plain()).await.expect(403);
            send(&house, plain().with("origin", "null")).await.expect(403);
            send(&house, plain().with("origin", "https://evil.example"))
                .await
                .expect(403);
            send(&house, plain().with("sec-fetch-site", "cross-site"))
                .await
                .expect(403);
            send(&house, plain().with("sec-fetch-site", "same-site"))
                .await
                .expect(403);
        }
        assert_eq!(house.sent(), []);
    }
}

#[tokio::test]
async fn the_webhooks_of_other_accounts_are_none() {
    let house = house().await;
    let known = house.added("other").await;
    let cookie = signed_in(&house, "shop").await;
    for page in READING.iter().chain(&CHANGING).filter(|page| page.contains("{id}")) {
        let path = page.replace("{id}", id(&known));
        let is_post_only = page.ends_with("able");
        for ask in [Ask::new("GET", &path), form(&path, "")] {
            let is_wrong_method =
                (ask.method == "GET" && is_post_only) || (ask.method == "POST" && *page == "/webhooks/{id}");
            let answer = send(&house, ask.with("cookie", &cookie)).await;
            assert_eq!(
                answer.status,
                if is_wrong_method { 405 } else { 404 },
                "{page}: {}",
                answer.body
            );
        }
    }
    let list = send(&house, Ask::new("GET", "/").with("cookie", &cookie))
        .await
        .expect(200);
    assert!(!list.body.contains(id(&known)));
}

#[tokio::test]
async fn wrong_tokens_are_refused_and_soon_turned_away_and_signing_out_ends_it() {
    let house = house().await;
    let wrong = || form("/sign-in", "token=wrong-0123456789abcdef012345").from(9);
    for _ in 0..20 {
        let answer = send(&house, wrong()).await.expect(401);
        assert_eq!(answer.header("set-cookie"), "");
        assert!(answer.body.contains("This token is not known"), "{}", answer.body);
    }
    let answer = send(&house, wrong()).await.expect(429);
    assert!(!answer.header("retry-after").is_empty());
    let right = form("/sign-in", &format!("token={}", secret_of("writer"))).from(9);
    send(&house, right).await.expect(303);
    let empty = form("/sign-in", "token=").from(10);
    for _ in 0..25 {
        send(&house, empty.clone()).await.expect(401);
    }
    let cookie = signed_in(&house, "writer").await;
    let out = send(&house, form("/sign-out", "").with("cookie", &cookie))
        .await
        .expect(303);
    assert!(
        out.header("set-cookie")
            .starts_with("postrider_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    );
    let elsewhere = form(
        "/sign-in",
        &format!("token={}&next=//evil.example/", secret_of("writer")),
    );
    assert_eq!(send(&house, elsewhere).await.expect(303).header("location"), "/");
    let from_elsewhere = Ask::new("POST", "/sign-in")
        .with("content-type", "application/x-www-form-urlencoded")
        .with("origin", "https://evil.example")
        .body("token=x");
    send(&house, from_elsewhere).await.expect(403);
}

#[tokio::test]
async fn a_form_adds_one_webhook_however_often_it_is_sent() {
    let house = House::open().await;
    let fields = "id=wh_of_the_form&url=https%3A%2F%2Fm.example%2Fhooks&events=order_error&retry=on&signing=generate\
                  &auth=on&auth.username=u&auth.password=hunter2-hunter2";
    let answer = send(&house, form("/webhooks/new", fields)).await.expect(200);
    assert!(answer.body.contains("whsec_"), "the secret is shown, this once");
    assert!(
        answer
            .body
            .contains("HTTP response code is 403, it must be 200. Please Retry!"),
        "{}",
        answer.body
    );
    assert!(answer.body.contains("A firewall is blocking the webhook"));
    let again = send(&house, form("/webhooks/new", fields)).await.expect(303);
    assert_eq!(again.header("location"), "/webhooks/wh_of_the_form?done=exists");
    assert_eq!(house.sent().len(), 1, "one first connection");
    for page in ["/", "/webhooks/wh_of_the_form", "/webhooks/wh_of_the_form/edit"] {
        let answer = send(&house, Ask::new("GET", page)).await.expect(200);
        assert!(!answer.body.contains("whsec_") || page.ends_with("edit"), "{page}");
        assert!(!answer.body.contains("hunter2"), "{page}");
    }
}

#[tokio::test]
async fn what_is_refused_stands_beside_its_field_and_what_was_typed_stays_but_for_secrets() {
    let house = House::open().await;
    let fields = "id=wh_x&url=https%3A%2F%2Fforbidden.example&events=order_error&retry=on&retry.max_retries=11\
                  &auth=on&auth.username=a%3Ab&auth.password=hunter2-hunter2&description=%3Cb%3E";
    let answer = send(&house, form("/webhooks/new", fields)).await.expect(422);
    for told in [
        "id=\"url-error0\">URL is forbidden.",
        "id=\"auth.username-error0\">Username must not hold a colon",
        "id=\"retry.max_retries-error0\">Retries must be 0 to 10.",
        "value=\"https://forbidden.example\"",
        "<title>Error: Add Webhook",
    ] {
        assert!(answer.body.contains(told), "{told} is not in\n{}", answer.body);
    }
    assert!(
        !answer.body.contains("hunter2") && !answer.body.contains("<b>\""),
        "{}",
        answer.body
    );
    assert_eq!(house.sent(), []);
}

#[tokio::test]
async fn a_webhook_of_the_file_has_a_button_to_enable_it_where_postrider_disabled_it() {
    let house = House::open().await;
    let (path, button) = (
        format!("/webhooks/{OF_THE_FILE}"),
        format!("/webhooks/{OF_THE_FILE}/enable\""),
    );
    let page = send(&house, Ask::new("GET", &path)).await.expect(200);
    assert!(!page.body.contains(&button), "{}", page.body);
    house.say_gone();
    let page = send(&house, Ask::new("GET", &path)).await.expect(200);
    assert!(page.body.contains(&button), "{}", page.body);
    send(&house, form(&format!("{path}/enable"), "")).await.expect(303);
    let page = send(&house, Ask::new("GET", &path)).await.expect(200);
    assert!(!page.body.contains(&button), "{}", page.body);
}

#[tokio::test]
async fn a_form_that_is_too_late_changes_nothing() {
    let house = House::open().await;
    let known = house.added("shop").await;
    house
        .patch(&known, &json!({ "description": "quicker" }))
        .await
        .expect(200);
    let fields =
        "version=1&url=https%3A%2F%2Fm.example%2Fhooks&events=order_error&retry=on&signing=none&description=slower";
    let answer = send(&house, form(&format!("/webhooks/{}/edit", id(&known)), fields))
        .await
        .expect(412);
    assert!(
        answer.body.contains("has changed meanwhile: it is at version 2"),
        "{}",
        answer.body
    );
    assert_eq!(house.get(&known).await.json()["description"], "quicker");
}

#[tokio::test]
async fn what_gets_events_is_not_removed_for_good_before_it_is_deleted() {
    let house = House::open().await;
    let known = house.added("shop").await;
    let path = format!("/webhooks/{}", id(&known));
    send(&house, form(&format!("{path}/remove"), "")).await.expect(409);
    send(&house, form(&format!("{path}/delete"), "")).await.expect(303);
    assert_eq!(house.get(&known).await.json()["status"], "cancelled");
    send(&house, form(&format!("{path}/remove"), "")).await.expect(303);
    house.get(&known).await.expect(404);
}

#[tokio::test]
async fn an_address_that_is_none_is_a_page_for_people_and_a_problem_for_programs() {
    let house = House::open().await;
    let page = send(&house, Ask::new("GET", "/nowhere").with("accept", "text/html,*/*"))
        .await
        .expect(404);
    assert!(page.body.starts_with("<!DOCTYPE html>"), "{}", page.body);
    let problem = send(&house, Ask::new("GET", "/nowhere")).await.expect(404);
    assert_eq!(problem.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn before_the_webhooks_were_read_the_console_says_so() {
    let house = House::starting(Vec::new()).await;
    let answer = send(&house, Ask::new("GET", "/")).await.expect(503);
    assert!(answer.body.contains("postrider is still starting"), "{}", answer.body);
}

#[tokio::test]
async fn logs_are_those_of_the_sessions_accounts_on_every_page() {
    let mut told = logs::told();
    told[3]["endpoint"] = json!("https://secret-shop.example/hooks");
    told[3]["order_id"] = json!("secret-order");
    let house = logs::house(&told).await;
    let cookie = signed_in(&house, "acme").await;
    let own = "/deliveries/tracking-0-1-1.wh_1";
    let other = "/deliveries/gone-0-2-1.wh_2";
    for (path, status) in [
        ("/logs", 200),
        ("/logs?account=shop", 200),
        ("/logs?order_id=x", 200),
        ("/logs/rows?after=a", 200),
        ("/logs/charts?from=2026-11-22", 200),
        (own, 200),
        (other, 404),
        (&*format!("{other}/peek?attempt=gone-0-2-1_wh_2--1"), 404),
        ("/logs?from=soon", 422),
        ("/logs?cursor=none", 400),
        ("/logs/rows?after=none", 400),
    ] {
        let answer = send(&house, Ask::new("GET", path).with("cookie", &cookie)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        for word in ["secret-shop", "secret-order", "wh_2", "wh_3"] {
            assert!(!answer.body.contains(word) || path == other, "{path} shows {word}");
        }
    }
    let all = send(
        &house,
        Ask::new("GET", other).with("cookie", &signed_in(&house, "all").await),
    )
    .await;
    assert!(all.expect(200).body.contains("secret-order"));
    let delivery = send(&house, Ask::new("GET", own).with("cookie", &cookie))
        .await
        .expect(200);
    for shown in ["Attempt 1", "Attempt 2", "<h2>Replay <code>", "due since"] {
        assert!(delivery.body.contains(shown), "{shown} is not in\n{}", delivery.body);
    }
}

#[tokio::test]
async fn what_came_since_is_told_with_what_to_ask_next() {
    let house = logs::house(&logs::told()).await;
    let cookie = signed_in(&house, "all").await;
    let ask = |after: &str| Ask::new("GET", &format!("/logs/rows?after={after}")).with("cookie", &cookie);
    let all = send(&house, ask("a")).await.expect(200);
    assert_eq!(all.body.matches("<tr id=").count(), 5);
    assert_eq!(all.header("hx-trigger"), "{\"marked\": {\"after\": \"a0-5\"}}");
    let none = send(&house, ask("a0-5")).await.expect(200);
    assert_eq!(none.body.trim(), "");
}
