//! The console in a real Chromium: what a merchant does there, with and without a pointer, and what nobody can do.
//! What is walked, and what is looked at on the way, is in `tests/browser`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_tests::browser::walk;
use postrider_tests::contract::sample;
use postrider_tests::{Answer, Daemon, Receiver, Scene, Sent};
use postrider_types::{OutcomeResult, Timestamp};
use serde_json::{Value, json};

const WRITER: &str = "writer-0123456789abcdef012345";
const READER: &str = "reader-0123456789abcdef012345";
const OTHER: &str = "other-0123456789abcdef0123456";

/// A scene with an index of the logs and a key for secrets.
async fn scene() -> Result<Scene> {
    let mut scene = Scene::new("console").await?;
    let keys = scene.folder().join("keys");
    std::fs::write(&keys, STANDARD.encode([7; 32]))?;
    scene.config["secrets"]["key_file"] = json!(keys);
    scene.config["admin"]["logs"]["path"] = json!(scene.folder().join("logs.db"));
    Ok(scene)
}

fn console(daemon: &Daemon) -> String {
    format!("http://{}", daemon.admin())
}

async fn produce(scene: &Scene, bodies: impl IntoIterator<Item = (&str, Vec<u8>)>) -> Result<()> {
    for (topic, body) in bodies {
        scene.topic(topic).produce([Sent::value(body)]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchant_walks_from_an_empty_list_to_one_delivery_in_a_filtered_log() -> Result<()> {
    let receiver = Receiver::start().await?;
    let elsewhere = Receiver::start().await?;
    receiver.answer(
        "/broken",
        [Answer::page(403, "text/html", "<h1>CSRF token missing</h1>").after(Duration::from_millis(30))],
    );
    let scene = scene().await?;
    let daemon = scene.start().await?;
    let facts = json!({
        "hook": receiver.url("/hooks/orders"), "broken": receiver.url("/broken"), "moved": elsewhere.url("/hooks/orders"),
        "secrets": ["hunter2-hunter2", STANDARD.encode("merchant:hunter2-hunter2")],
    });
    walk("merchant", &console(&daemon), &facts, async |what| match what {
        "produce" => {
            let tracking = [sample("tracking_update").to_vec(), of_another_parcel()?];
            let shipments = ["order_shipped", "return", "order_error"].map(|name| ("shipments", sample(name).to_vec()));
            let all = tracking.into_iter().map(|body| ("tracking", body));
            produce(&scene, all.chain(shipments)).await?;
            // Two first connections, three Tests, and what the events came to.
            until_indexed(&daemon, 12).await
        }
        "fill the last day" => {
            fill_the_last_day(&scene).await?;
            until_indexed(&daemon, 264 + 12).await
        }
        "produce one" => produce(&scene, [("tracking", of_another_parcel()?)]).await,
        "change it meanwhile" => change_meanwhile(&daemon, &elsewhere.url("/hooks/orders")).await,
        other => anyhow::bail!("nobody knows how to {other}"),
    })
    .await
}

/// Publishes outcomes of the last 22 hours, most of them successes, as other instances would have.
async fn fill_the_last_day(scene: &Scene) -> Result<()> {
    const HOUR: i64 = 3_600_000;
    let outcomes = scene.outcomes(1).await?;
    let real = outcomes
        .into_iter()
        .find(|outcome| outcome.result == OutcomeResult::Success);
    let real = real.context("a success")?;
    let now = real.date_start.context("it was sent")?;
    let records = (0..22 * 12).map(|number: i64| {
        let (hour, attempt) = (1 + number / 12, number % 12);
        let mut past = real.clone();
        let spent = 40.0 + f64::from(u32::try_from((number * 37) % 90 + hour * 3).unwrap_or_default());
        let start = Timestamp::from_millis(now.as_millis() - hour * HOUR + attempt * 1_000);
        past.delivery_id = serde_json::from_value(json!(format!("past-0-{number}-0.{}", real.webhook_id)))?;
        (past.date_start, past.time_spent_ms) = (Some(start), Some(spent));
        past.date_end = Some(Timestamp::from_millis(start.as_millis() + 60));
        if attempt < hour % 4 {
            past.result = OutcomeResult::Failed;
            (past.status_code, past.status_text) = (Some(500), Some("Internal Server Error".into()));
        }
        Ok(Sent::value(serde_json::to_vec(&past)?))
    });
    let records: Vec<Sent> = records.collect::<Result<_>>()?;
    scene.topic("results").produce(records).await
}

fn of_another_parcel() -> Result<Vec<u8>> {
    let mut parcel: Value = serde_json::from_slice(&sample("tracking_update"))?;
    parcel["OrderID"] = json!("24957311");
    parcel["TrackingCarrier"] = json!("UPS");
    parcel["message"] = json!("Arrived at facility");
    Ok(parcel.to_string().into_bytes())
}

/// Waits until the index holds so many outcomes.
async fn until_indexed(daemon: &Daemon, count: u64) -> Result<()> {
    let ask = || async {
        let (status, stats) = daemon.api("GET", "/stats", None).await?;
        ensure!(status == 200, "{status}: {stats}");
        let total = stats["total"].as_u64().context("a count")?;
        Ok((total >= count).then_some(()))
    };
    postrider_tests::patience::until("the outcomes", postrider_tests::patience::PATIENCE, ask).await
}

async fn change_meanwhile(daemon: &Daemon, url: &str) -> Result<()> {
    let (_, list) = daemon.api("GET", "/webhooks", None).await?;
    let items = list["items"].as_array().context("a list")?;
    let one = items.iter().find(|one| one["url"] == url).context("the webhook")?;
    let path = format!("/webhooks/{}", one["id"].as_str().context("an id")?);
    let change = json!({ "description": "Changed by somebody else" });
    let (status, answer) = daemon.api("PATCH", &path, Some(&change)).await?;
    ensure!(status == 200, "{status}: {answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_is_used_without_a_pointer() -> Result<()> {
    let receiver = Receiver::start().await?;
    let scene = scene().await?;
    let daemon = scene.start().await?;
    let facts = json!({ "hook": receiver.url("/hook"), "secrets": ["hunter2-hunter2"] });
    walk("keyboard", &console(&daemon), &facts, async |_| {
        produce(&scene, [("tracking", sample("tracking_update").to_vec())]).await?;
        until_indexed(&daemon, 3).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_open_the_console_for_what_they_are_for() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = scene().await?;
    // Without an index the page says which setting to set.
    scene.config["admin"]["logs"]["path"] = Value::Null;
    scene.config["admin"]["tokens"] = json!([
        { "name": "warehouse", "token": WRITER, "access": "write", "accounts": ["shop-a", "shop-b"] },
        { "name": "auditor", "token": READER, "accounts": ["shop-a"] },
        { "name": "stranger", "token": OTHER, "access": "write", "accounts": ["shop-c"] },
    ]);
    let mut daemon = scene.start().await?;
    daemon.authorize(WRITER);
    let webhook = json!({ "account_id": "shop-a", "url": receiver.url("/hook"), "events": ["order_error"], "signing": { "generate": true } });
    let (status, webhook) = daemon.api("POST", "/webhooks", Some(&webhook)).await?;
    ensure!(status == 201, "{status}: {webhook}");
    let facts = json!({ "id": webhook["id"], "writer": WRITER, "reader": READER, "other": OTHER });
    walk("tokens", &console(&daemon), &facts, async |what| {
        anyhow::bail!("{what}?")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_and_replies_that_are_scripts_stay_text() -> Result<()> {
    const SCRIPT: &str = "<script>window.pwned=1</script>";
    const IMAGE: &str = "\"><img src=x onerror=\"window.pwned=1\">";
    const TURNED: &str = "\u{202e}gpj.exe\u{2066}</textarea><svg onload=window.pwned=1>";
    let receiver = Receiver::start().await?;
    let page = format!("<!doctype html>{SCRIPT}<h1>{IMAGE}{TURNED}\u{0}\u{1b}[31m</h1>");
    receiver.answer(
        "/hook",
        [Answer::page(500, "text/html", &page).header("x-evil", SCRIPT)],
    );
    let scene = scene().await?;
    let daemon = scene.start().await?;
    let webhook = json!({
        "url": receiver.url("/hook"), "events": ["tracking_update"], "description": format!("{SCRIPT}{IMAGE}{TURNED}"),
        "retry": { "max_retries": 1 }, "filter": { "any": [{ "message": { "contains": SCRIPT } }, { "OrderID": { "contains": "" } }] },
        "header": { "name": "X-Key", "value": "<b>hunter2</b>" },
    });
    let (status, webhook) = daemon.api("POST", "/webhooks", Some(&webhook)).await?;
    ensure!(status == 201, "{status}: {webhook}");
    walk(
        "hostile",
        &console(&daemon),
        &json!({ "id": webhook["id"], "secrets": ["hunter2"] }),
        async |_| {
            let records = [SCRIPT, IMAGE, TURNED].map(|evil| {
                let mut record: Value = serde_json::from_slice(&sample("tracking_update")).unwrap_or_default();
                for field in [
                    "OrderID",
                    "TransactionID",
                    "TrackingCarrier",
                    "tracking",
                    "message",
                    "ExternalLink",
                    "city",
                ] {
                    record[field] = json!(evil);
                }
                ("tracking", record.to_string().into_bytes())
            });
            produce(&scene, records).await?;
            until_indexed(&daemon, 7).await
        },
    )
    .await
}
