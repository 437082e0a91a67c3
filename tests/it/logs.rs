//! The index of the logs: everything that was published is in it once, whatever happens to the process, the file and
//! the topic; and it is found by every filter.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::binary;
use postrider_tests::contract::{sample, schemas};
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Answer, Daemon, Receiver, Scene, Sent};
use postrider_types::Outcome;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::delivery::webhook;

async fn scene() -> Result<Scene> {
    let mut scene = Scene::new("logs").await?;
    scene.config["admin"]["logs"] = json!({ "path": scene.folder().join("logs.db") });
    Ok(scene)
}

/// Waits until the index has this many rows and is behind no more.
async fn indexed(daemon: &Daemon, rows: usize) -> Result<()> {
    let done = || async {
        let (status, answer) = daemon.api("GET", "/logs?limit=1", None).await?;
        let have = daemon.metric("postrider_logs_rows", &[]).await?;
        let is_current = status == 200 && answer["indexed"]["lag"] == 0 && answer["indexed"]["until"].is_string();
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        Ok((is_current && have == rows as f64).then_some(()))
    };
    let waited = until(&format!("{rows} rows in the index"), PATIENCE, done).await;
    let have = daemon.metric("postrider_logs_rows", &[]).await?;
    waited.with_context(|| format!("{have} rows were there"))
}

/// All documents that are answered, page by page.
async fn dump(daemon: &Daemon, query: &str, limit: usize) -> Result<Vec<Value>> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/logs?limit={limit}{query}{cursor}");
        let (status, answer) = daemon.api("GET", &path, None).await?;
        ensure!(status == 200, "{path}: {status} {answer}");
        all.extend(answer["items"].as_array().context("items")?.clone());
        match answer["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

fn sorted(documents: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut texts: Vec<String> = documents.into_iter().map(|document| document.to_string()).collect();
    texts.sort();
    texts
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace(':', "%3A")
        .replace('/', "%2F")
        .replace('+', "%2B")
}

/// Two accounts, one endpoint that takes everything, one that takes nothing at first, and one that says no for good.
async fn busy(scene: &mut Scene, receiver: &Receiver) -> Result<Daemon> {
    receiver.answer("/flaky", [Answer::status(503), Answer::status(500), Answer::ok()]);
    receiver.answer("/no", [Answer::status(404)]);
    let every = ["order_shipped", "order_error", "tracking_update"];
    let mut flaky = webhook("wh_flaky", receiver.url("/flaky?key=hidden"), &["tracking_update"]);
    flaky["account_id"] = json!("acme");
    let mut no = webhook("wh_no", receiver.url("/no"), &every);
    no["retry"] = json!({ "enabled": false });
    scene.webhooks([webhook("wh_good", receiver.url("/good"), &every), flaky, no]);
    let daemon = scene.start().await?;
    let of = |name: &'static str, account: &'static str, order: u32| {
        let text = String::from_utf8_lossy(&sample(name)).replace("24957298", &order.to_string());
        Sent::value(text)
            .header("account-id", account)
            .header("event-type", name)
    };
    let tracking = [of("tracking_update", "acme", 1), of("tracking_update", "default", 2)];
    scene.topic("tracking").produce(tracking).await?;
    let shipments = [of("order_shipped", "default", 3), of("order_error", "default", 3)];
    scene.topic("shipments").produce(shipments).await?;
    Ok(daemon)
}

#[tokio::test]
async fn what_is_published_is_found_by_every_filter_alone_and_by_all_together() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = scene().await?;
    let daemon = busy(&mut scene, &receiver).await?;
    // Three attempts of the flaky one, and two endpoints that get three events each.
    let outcomes = scene.outcomes(9).await?;
    indexed(&daemon, 9).await?;
    assert_eq!(sorted(dump(&daemon, "", 2).await?), documents(&outcomes, |_| true));
    let retried = outcomes
        .iter()
        .find(|outcome| outcome.retry == 2)
        .context("a second retry")?;
    let together = found_by_each_field(&daemon, &outcomes, retried).await?;
    let start = retried.date_start.context("it was attempted")?;
    for (query, expected) in [
        ("&retry=true", documents(&outcomes, |outcome| outcome.retry > 0)),
        (
            "&webhook=wh_no",
            documents(&outcomes, |outcome| outcome.webhook_id.as_str() == "wh_no"),
        ),
        (
            "&account=acme",
            documents(&outcomes, |outcome| outcome.account_id.as_str() == "acme"),
        ),
        (
            &*format!("&from={start}"),
            documents(&outcomes, |outcome| outcome.date_start >= Some(start)),
        ),
        (
            &*format!("&to={start}"),
            documents(&outcomes, |outcome| outcome.date_start < Some(start)),
        ),
        (
            &*format!("{together}&webhook=wh_flaky&account=acme&from={start}"),
            documents(&outcomes, |outcome| outcome == retried),
        ),
        ("&result=success&status_code=404", Vec::new()),
    ] {
        assert_eq!(sorted(dump(&daemon, query, 100).await?), expected, "{query}");
    }
    assert!(retried.endpoint.ends_with("?key=***"), "{}", retried.endpoint);
    counted(&daemon, &outcomes).await
}

/// Asks by each field of an outcome alone; returns all of them together.
async fn found_by_each_field(daemon: &Daemon, outcomes: &[Outcome], retried: &Outcome) -> Result<String> {
    let field = |name: &str| match &json!(retried)[name] {
        Value::String(text) => escaped(text),
        other => other.to_string(),
    };
    let mut together = String::new();
    for name in [
        "endpoint",
        "event",
        "result",
        "retry",
        "status_code",
        "order_id",
        "transaction_id",
        "tracking",
    ] {
        let own = json!(retried)[name].clone();
        let query = format!("&{name}={}", field(name));
        assert_eq!(
            sorted(dump(daemon, &query, 1).await?),
            documents(outcomes, |outcome| json!(outcome)[name] == own),
            "{query}"
        );
        together.push_str(&query);
    }
    Ok(together)
}

fn documents(outcomes: &[Outcome], asked: impl Fn(&Outcome) -> bool) -> Vec<String> {
    sorted(
        outcomes
            .iter()
            .filter(|outcome| asked(outcome))
            .map(|outcome| json!(outcome)),
    )
}

/// The statistics say what counting says.
async fn counted(daemon: &Daemon, outcomes: &[Outcome]) -> Result<()> {
    for (query, event) in [("", None), ("?event=tracking_update", Some("tracking_update"))] {
        let (status, stats) = daemon.api("GET", &format!("/stats{query}"), None).await?;
        ensure!(status == 200, "{status} {stats}");
        let of = |outcome: &&Outcome| event.is_none_or(|event| outcome.event.as_str() == event);
        let mut counts = BTreeMap::<&str, u64>::new();
        for outcome in outcomes.iter().filter(of) {
            *counts.entry(outcome.result.as_str()).or_default() += 1;
        }
        for result in ["success", "retrying", "failed", "skipped"] {
            assert_eq!(
                stats[result],
                counts.get(result).copied().unwrap_or(0),
                "{result}: {stats}"
            );
        }
        assert!(stats["time_spent_ms"]["p50"].is_number(), "{stats}");
        assert!(
            stats["success_rate"]
                .as_f64()
                .is_some_and(|rate| 0.0 < rate && rate < 1.0),
            "{stats}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_delivery_tells_its_attempts_what_it_waits_for_and_the_body_while_kafka_has_it() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/down", [Answer::status(503)]);
    let mut scene = scene().await?;
    scene.config["delivery"]["retry"]["initial"] = json!("1h");
    scene.config["delivery"]["retry"]["max_interval"] = json!("1h");
    scene.webhooks([webhook("wh_down", receiver.url("/down"), &["tracking_update"])]);
    let daemon = scene.start().await?;
    // A record before it, so that the offset is not the first of all.
    let early = Sent::value("no event").partition(0);
    let record = Sent::value(sample("tracking_update")).partition(0);
    scene.topic("tracking").produce([early, record]).await?;
    let outcomes = scene.outcomes(1).await?;
    indexed(&daemon, 1).await?;
    let path = format!("/deliveries/{}", outcomes[0].delivery_id);
    let (status, delivery) = daemon.api("GET", &path, None).await?;
    ensure!(status == 200, "{status} {delivery}");
    assert_eq!(delivery["attempts"], json!([outcomes[0]]));
    assert_eq!(delivery["waits_for"]["attempt"], 2, "{delivery}");
    assert_eq!(delivery["waits_for"]["due_at"], json!(outcomes[0].next_attempt_at));
    let body = delivery["request"]["body"].as_str().context("a body")?;
    assert_eq!(body.as_bytes(), &*sample("tracking_update"));

    // A Test has no source record: its body is the sample.
    let (status, tested) = daemon.api("POST", "/webhooks/wh_down/test", None).await?;
    ensure!(status == 200, "{status} {tested}");
    indexed(&daemon, 2).await?;
    let test = &dump(&daemon, "&result=failed", 10).await?[0];
    let id = test["delivery_id"].as_str().context("an id")?;
    let (_, delivery) = daemon.api("GET", &format!("/deliveries/{id}"), None).await?;
    let body = delivery["request"]["body"].as_str().context("a body")?;
    assert_eq!(body.as_bytes(), &*sample("tracking_update"));

    scene.topic("tracking").delete().await?;
    let (_, delivery) = daemon.api("GET", &path, None).await?;
    assert_eq!(delivery["request"]["body"], Value::Null);
    let missing = delivery["request"]["missing"].as_str().context("a reason")?;
    assert!(missing.contains("gone"), "{missing}");
    let (status, _) = daemon.api("GET", "/deliveries/nothing-0-0-0.wh_down", None).await?;
    assert_eq!(status, 404);
    Ok(())
}

#[tokio::test]
async fn a_token_of_an_account_sees_its_own_logs_only() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = scene().await?;
    let token = |name: &str, accounts: &[&str]| json!({ "name": name, "token": format!("{name}-0123456789abcdef012345"), "access": "read", "accounts": accounts });
    scene.config["admin"]["tokens"] = json!([token("all", &[]), token("acme", &["acme"])]);
    let mut daemon = busy(&mut scene, &receiver).await?;
    let outcomes = scene.outcomes(9).await?;
    daemon.authorize("all-0123456789abcdef012345");
    indexed(&daemon, 9).await?;
    let all = dump(&daemon, "", 100).await?;
    assert_eq!(all.len(), 9);
    daemon.authorize("acme-0123456789abcdef012345");
    let own = documents(&outcomes, |outcome| outcome.account_id.as_str() == "acme");
    assert_eq!(sorted(dump(&daemon, "", 2).await?), own);
    assert!(dump(&daemon, "&account=default", 100).await?.is_empty());
    for outcome in &outcomes {
        let (status, _) = daemon
            .api("GET", &format!("/deliveries/{}", outcome.delivery_id), None)
            .await?;
        let expected = if outcome.account_id.as_str() == "acme" {
            200
        } else {
            404
        };
        assert_eq!(status, expected, "{}", outcome.delivery_id);
    }
    let (_, stats) = daemon.api("GET", "/stats", None).await?;
    assert_eq!(stats["total"], own.len(), "{stats}");
    let (_, all) = daemon.api("GET", "/logs?after=a", None).await?;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(own.len()));
    Ok(())
}

/// Outcomes of nobody's events, spread over partitions and days.
fn made(count: usize) -> Vec<Sent> {
    let file = schemas().join("examples/valid/outcome.v1/success-on-the-second-attempt.json");
    let example: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let now = postrider_types::Clock::system().now().as_millis();
    let make = |number: usize| {
        let at = i64::try_from(number).unwrap() * 37 % 86_400 * 1_000;
        let date = postrider_types::Timestamp::from_millis(now - at);
        let mut outcome = example.clone();
        outcome["delivery_id"] = json!(format!("tracking-0-{number}-1.wh_1"));
        outcome["order_id"] = json!((number / 3).to_string());
        outcome["date_start"] = json!(date);
        outcome["event_time"] = json!(date);
        let partition = i32::try_from(number % 3).unwrap();
        Sent::value(outcome.to_string()).partition(partition)
    };
    (0..count).map(make).collect()
}

#[tokio::test]
async fn killed_while_it_indexes_each_outcome_is_there_once_and_a_deleted_index_is_built_again_equal() -> Result<()> {
    const OUTCOMES: usize = 60_000;
    let scene = scene().await?;
    scene.create_topics().await?;
    scene.topic("results").produce(made(OUTCOMES)).await?;
    let mut daemon = Daemon::start(&scene.write_config()?).await?;
    for enough in [5_000.0, 20_000.0] {
        let some = || async { Ok((daemon.metric("postrider_logs_rows", &[]).await? >= enough).then_some(())) };
        until("some rows", PATIENCE, some).await?;
        daemon.kill().await?;
        daemon.restart().await?;
    }
    indexed(&daemon, OUTCOMES).await?;
    let first = dump(&daemon, "", 1_000).await?;
    let different: BTreeSet<String> = first.iter().map(|outcome| outcome["delivery_id"].to_string()).collect();
    assert_eq!((first.len(), different.len()), (OUTCOMES, OUTCOMES));
    assert!(daemon.stop().await?.success());
    std::fs::remove_file(scene.folder().join("logs.db"))?;
    daemon.restart().await?;
    indexed(&daemon, OUTCOMES).await?;
    assert!(
        dump(&daemon, "", 1_000).await? == first,
        "the index that was built again is another"
    );
    Ok(())
}

#[tokio::test]
async fn wider_bounds_bring_back_what_narrower_ones_had_removed() -> Result<()> {
    let mut scene = scene().await?;
    scene.create_topics().await?;
    scene.topic("results").produce(made(3_000)).await?;
    let mut daemon = Daemon::start(&scene.write_config()?).await?;
    indexed(&daemon, 3_000).await?;
    let all = dump(&daemon, "", 1_000).await?;
    for rows in [100, 2_000, 5_000] {
        assert!(daemon.stop().await?.success());
        scene.config["admin"]["logs"]["max_rows"] = json!(rows);
        scene.write_config()?;
        daemon.restart().await?;
        let newest = &all[..rows.min(all.len())];
        indexed(&daemon, newest.len()).await?;
        assert_eq!(dump(&daemon, "", 1_000).await?, newest, "at most {rows}");
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_goes_while_it_runs_a_topic_made_anew_and_records_that_are_no_outcomes_do_not_stop_it() -> Result<()>
{
    let scene = scene().await?;
    scene.create_topics().await?;
    let results = scene.topic("results");
    let strange =
        ["", "{}", "not JSON", "{\"schema\":\"postrider.outcome.v9\"}"].map(|text| Sent::value(text).partition(1));
    results
        .produce(made(30).into_iter().chain(strange).chain([Sent::null()]))
        .await?;
    let mut daemon = Daemon::start(&scene.write_config()?).await?;
    indexed(&daemon, 30).await?;
    assert_eq!(daemon.metric("postrider_logs_skipped_total", &[]).await?, 5.0);
    daemon.says("is passed over by the logs").await?;

    std::fs::remove_file(scene.folder().join("logs.db"))?;
    daemon.says("the file was removed").await?;
    // Only the new index can hold what came after that.
    results.produce(made(31).into_iter().skip(30)).await?;
    indexed(&daemon, 31).await?;
    assert_eq!(daemon.ended()?, None);

    assert!(daemon.stop().await?.success());
    results.delete().await?;
    scene.create_topics().await?;
    results.produce(made(33)).await?;
    daemon.restart().await?;
    daemon.says("made anew").await?;
    indexed(&daemon, 33).await?;
    assert_eq!(dump(&daemon, "", 1_000).await?.len(), 33);
    Ok(())
}

#[tokio::test]
async fn followed_on_the_command_line_each_outcome_is_shown_once_until_ctrl_c() -> Result<()> {
    let scene = scene().await?;
    let daemon = scene.start().await?;
    let results = scene.topic("results");
    results.produce(made(10)).await?;
    indexed(&daemon, 10).await?;
    let api = format!("http://{}", daemon.admin());
    let mut command = binary::command(["logs", "--follow", "--json", "--limit", "5", "--api", &api]).await?;
    let mut following = command.stdout(Stdio::piped()).spawn()?;
    let stdout = following.stdout.take().context("standard output is piped")?;
    let reading = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let read = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let mut shown = Vec::new();
        for document in read {
            shown.push(document["delivery_id"].to_string());
            if shown.len() == 5 + 20 {
                break;
            }
        }
        shown
    });
    for chunk in made(30)[10..].chunks(5) {
        results.produce(chunk.iter().cloned()).await?;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let shown = tokio::time::timeout(PATIENCE, reading).await??;
    let different: BTreeSet<&String> = shown.iter().collect();
    assert_eq!(different.len(), 25, "{shown:?}");
    for number in 10..30 {
        assert!(
            shown.contains(&format!("\"tracking-0-{number}-1.wh_1\"")),
            "{number}: {shown:?}"
        );
    }
    kill_process(binary::pid(&following), Signal::INT)?;
    let ended = tokio::task::spawn_blocking(move || following.wait()).await??;
    assert_eq!(ended.code(), Some(0));
    let table = binary::run(&["logs", "--limit", "3", "--from", "1h", "--api", &api]).await?;
    assert_eq!((table.code, table.stdout.lines().count()), (Some(0), 4), "{table:?}");
    Ok(())
}

#[tokio::test]
async fn where_no_index_is_kept_the_api_says_what_to_set() -> Result<()> {
    let scene = Scene::new("logs").await?;
    let daemon = scene.start().await?;
    for path in ["/logs", "/stats", "/deliveries/tracking-0-0-0.wh_1"] {
        let (status, answer) = daemon.api("GET", path, None).await?;
        assert_eq!(status, 503, "{path}");
        assert!(
            answer["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("admin.logs.path")),
            "{answer}"
        );
    }
    Ok(())
}
