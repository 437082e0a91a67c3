//! What support asks: what became of this order, why did that webhook not get it, and what comes next.

use anyhow::{Context, Result};
use postrider_tests::binary::{Ran, run};
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Answer, Daemon, Receiver, Scene, Sent};
use serde_json::{Value, json};

use crate::delivery::webhook;

fn order(id: &str, code: i64) -> Sent {
    let body =
        json!({ "OrderID": id, "TransactionID": format!("{id}_1"), "tracking": format!("WZ{id}"), "code": code });
    Sent::value(body.to_string()).key(id.to_owned())
}

async fn explained(daemon: &Daemon, subject: &str) -> Result<Value> {
    let (status, told) = daemon.api("GET", &format!("/explain?subject={subject}"), None).await?;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["searched"]["is_complete"], true, "{told}");
    Ok(told)
}

/// What is told of a webhook's delivery of the only event.
fn delivery<'a>(told: &'a Value, webhook: &str) -> &'a Value {
    let all = told["events"][0]["deliveries"].as_array().into_iter().flatten();
    all.into_iter()
        .find(|one| one["webhook_id"] == webhook)
        .unwrap_or(&Value::Null)
}

async fn told_on_a_terminal(scene: &Scene, subject: &str) -> Result<Ran> {
    let api = format!(
        "http://{}",
        scene.config["admin"]["listen"].as_str().context("an address")?
    );
    run(&["explain", subject, "--api", &api]).await
}

/// A daemon that has read an order among others, delivered it to one webhook and failed with another, and a record of
/// the same order that is cut off.
struct Desk {
    scene: Scene,
    daemon: Daemon,
    _receiver: Receiver,
}

impl Desk {
    async fn open() -> Result<Self> {
        let receiver = Receiver::start().await?;
        receiver.answer("/down", std::iter::repeat_n(Answer::status(503), 100));
        let mut scene = Scene::new("explain").await?;
        scene.config["delivery"]["retry"] =
            json!({ "initial": "1h", "multiplier": 2, "max_interval": "2h", "max_retries": 5 });
        // Otherwise what comes last would be parked without an attempt.
        scene.config["delivery"]["circuit"] = json!({ "failures": 1000 });
        let mut late = webhook("wh_late", receiver.url("/late"), &["tracking_update"]);
        late["filter"] = json!({ "code": { "gte": 9 } });
        scene.webhooks([
            webhook("wh_up", receiver.url("/up"), &["tracking_update"]),
            webhook("wh_down", receiver.url("/down"), &["tracking_update"]),
            late,
            webhook("wh_orders", receiver.url("/orders"), &["order_error"]),
        ]);
        let daemon = scene.start().await?;
        let broken = Sent::value(r#"{"OrderID":"4711","code":"#).key("4711");
        let others = (0..50).map(|number| order(&format!("other-{number}"), 1));
        let sent = others.chain([order("4711", 6), order("47110", 6), broken]);
        scene.topic("tracking").produce(sent).await?;
        scene.outcomes(104).await?;
        scene.dead_letters(1).await?;
        Ok(Self {
            scene,
            daemon,
            _receiver: receiver,
        })
    }

    async fn settled(&self) -> Result<Value> {
        until("the record to be settled", PATIENCE, || async {
            let told = explained(&self.daemon, "4711").await?;
            Ok((told["events"][0]["record"] == "settled").then_some(told))
        })
        .await
    }
}

#[tokio::test]
async fn an_order_is_explained_with_its_record_its_webhooks_and_their_deliveries() -> Result<()> {
    let told = Desk::open().await?.settled().await?;
    assert_eq!(told["events"].as_array().map(Vec::len), Some(1), "{told:#}");
    let event = &told["events"][0];
    assert_eq!(
        (&event["order_id"], &event["tracking"]),
        (&json!("4711"), &json!("WZ4711"))
    );
    let verdicts = event["webhooks"].as_array().context("verdicts")?.iter();
    let verdicts: Vec<Value> = verdicts.map(|one| json!([one["webhook"], one["matches"]])).collect();
    assert_eq!(
        json!(verdicts),
        json!([
            ["wh_up", true],
            ["wh_down", true],
            ["wh_late", false],
            ["wh_orders", false]
        ])
    );
    assert!(event["webhooks"][2]["reason"].to_string().contains("code"), "{event}");
    let up = delivery(&told, "wh_up");
    assert_eq!(
        (&up["state"], &up["attempts"][0]["status_code"]),
        (&json!("success"), &json!(200))
    );
    let down = delivery(&told, "wh_down");
    assert_eq!(
        (&down["state"], &down["attempts"][0]["status_code"]),
        (&json!("parked"), &json!(503))
    );
    assert_eq!(down["next_attempt_at"], down["attempts"][0]["next_attempt_at"]);
    let parked = down["parked"]["at"]["topic"].as_str().context("where it is parked")?;
    assert!(parked.ends_with("retry.3600s"), "{parked}");
    let unreadable = &told["unreadable"];
    assert_eq!(
        (unreadable.as_array().map(Vec::len), &unreadable[0]["is_dead_letter"]),
        (Some(1), &json!(true))
    );
    Ok(())
}

#[tokio::test]
async fn a_tracking_number_a_delivery_and_a_terminal_tell_the_same() -> Result<()> {
    let desk = Desk::open().await?;
    let told = desk.settled().await?;
    assert_eq!(explained(&desk.daemon, "WZ4711").await?["events"], told["events"]);
    // A delivery is told without its siblings.
    let down = delivery(&told, "wh_down");
    let one = explained(&desk.daemon, down["delivery_id"].as_str().context("an id")?).await?;
    assert_eq!(one["events"][0]["deliveries"], json!([down]));
    assert_eq!(one["events"][0]["webhooks"].as_array().map(Vec::len), Some(1));

    let Ran { code, stdout, stderr } = told_on_a_terminal(&desk.scene, "4711").await?;
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    for words in [
        "settled",
        "wanted by wh_up",
        "not for   wh_late",
        "delivered with attempt 1: 200 OK",
        "attempt 2 is due at",
        "it is among the dead letters",
    ] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    let nothing = told_on_a_terminal(&desk.scene, "nobody").await?;
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    assert!(nothing.stdout.contains("Nothing is known of nobody"), "{nothing:?}");
    Ok(())
}

#[tokio::test]
async fn an_order_that_is_written_with_escapes_and_an_event_that_is_named_by_a_header_are_found() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("explain-named").await?;
    scene.webhooks([webhook("wh_up", receiver.url("/up"), &["tracking_update"])]);
    let daemon = scene.start().await?;
    let escaped = Sent::value(r#"{"OrderID":"caf\u00e9\/12"}"#);
    let named = Sent::value(r#"{"OrderID":"4712"}"#).header("event-id", "evt-4712");
    scene.topic("tracking").produce([escaped, named]).await?;
    scene.outcomes(2).await?;
    for (subject, order) in [("caf%C3%A9%2F12", "café/12"), ("evt-4712", "4712")] {
        let told = until("the record to be settled", PATIENCE, || async {
            let told = explained(&daemon, subject).await?;
            Ok((told["events"][0]["record"] == "settled").then_some(told))
        })
        .await?;
        assert_eq!(told["events"][0]["order_id"], order, "{told:#}");
        assert_eq!(told["events"][0]["webhooks"][0]["matches"], true, "{told:#}");
        assert_eq!(delivery(&told, "wh_up")["state"], "success", "{told:#}");
    }
    Ok(())
}
