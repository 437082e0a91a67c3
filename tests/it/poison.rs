//! A bad record never stops its partition: it goes to the dead letters whole, and what is behind it is delivered.

use anyhow::Result;
use bytes::Bytes;
use postrider_tests::contract::{DeadLetter, sample};
use postrider_tests::patience::{PATIENCE, until};
use postrider_tests::{Answer, Broker, Daemon, Receiver, Scene, Seed, Sent, wire};
use postrider_types::OutcomeResult;
use serde_json::json;

use crate::delivery::webhook;

/// Records that are no events, with the reason each has to get.
fn poison() -> Vec<(&'static str, Sent)> {
    let good = sample("tracking_update");
    let quote_missing = Bytes::copy_from_slice(&good[..good.len() - 2]);
    let lone_surrogate = br#"{"OrderID":"\ud800"}"#;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
    let twice = [&good[..], &good[..]].concat();
    let with_mark = [&b"\xef\xbb\xbf"[..], &good[..]].concat();
    vec![
        ("not_json", Sent::value(quote_missing)),
        ("empty", Sent::null()),
        ("empty", Sent::value("")),
        ("not_object", Sent::value("[1,2,3]")),
        ("not_object", Sent::value("null")),
        ("not_object", Sent::value("\"text\"")),
        ("too_large", Sent::value("x".repeat(1 << 20))),
        ("not_utf8", Sent::value(&b"{\"OrderID\":\"\xff\xfe\"}"[..])),
        ("not_json", Sent::value(twice)),
        ("not_json", Sent::value(with_mark)),
        ("not_json", Sent::value(&lone_surrogate[..])),
        ("not_json", Sent::value(deep)),
        ("not_json", Sent::value(r#"{"OrderID":"1","OrderID":"2"}"#)),
        ("not_json", Sent::value(r#"{"price":NaN}"#)),
        (
            "unknown_event_type",
            Sent::value(good.clone()).header("event-type", "order_lost"),
        ),
        ("bad_account", Sent::value(good.clone()).header("account-id", "shop 1")),
        ("bad_event_id", Sent::value(good).header("event-id", "a b")),
    ]
}

fn value_of(number: usize) -> Bytes {
    format!("{{\"OrderID\":\"good-{number}\"}}").into()
}

#[tokio::test]
async fn bad_records_become_dead_letters_and_what_is_behind_them_is_delivered() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("poison").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    let daemon = scene.start().await?;
    let poison = poison();
    let records = poison.iter().enumerate().flat_map(|(number, (_, bad))| {
        let bad = bad
            .clone()
            .key(format!("key-{number}"))
            .header("own", "1")
            .header("pr-dl-reason", "forged");
        [bad.partition(0), Sent::value(value_of(number)).partition(0)]
    });
    scene.topic("tracking").produce(records).await?;

    let outcomes = scene.outcomes(poison.len()).await?;
    assert_eq!(outcomes.len(), poison.len());
    assert!(outcomes.iter().all(|outcome| outcome.result == OutcomeResult::Success));
    let mut bodies: Vec<Bytes> = receiver
        .requests("/hook")
        .into_iter()
        .map(|request| request.body)
        .collect();
    let mut expected: Vec<Bytes> = (0..poison.len()).map(value_of).collect();
    bodies.sort();
    expected.sort();
    assert_eq!(bodies, expected);

    let letters = scene.dead_letters(poison.len()).await?;
    let originals = scene.topic("tracking").read().await?;
    assert_eq!(letters.len(), poison.len());
    for (number, (reason, _)) in poison.iter().enumerate() {
        let key = Bytes::from(format!("key-{number}"));
        let of_record = |letter: &&DeadLetter| letter.key.as_ref() == Some(&key);
        let letter = letters
            .iter()
            .find(of_record)
            .expect("every bad record has its dead letter");
        let original = &originals[number * 2];
        assert_eq!(letter.reason(), *reason, "record {number}: {:?}", letter.own);
        assert_eq!(letter.value, original.value, "record {number}");
        let own_headers = original.headers.iter().filter(|(name, _)| !name.starts_with("pr-"));
        assert!(own_headers.eq(&letter.headers), "record {number}: {:?}", letter.headers);
        assert_eq!(letter.own["pr-dl-topic"], scene.topic("tracking").name());
        assert_eq!(letter.own["pr-dl-partition"], "0");
        assert_eq!(letter.own["pr-dl-offset"], original.offset.to_string());
        assert_eq!(
            Some(&letter.own["pr-dl-timestamp"]),
            original.timestamp.map(|at| at.to_string()).as_ref()
        );
    }
    let counted = daemon.metric("postrider_dead_letters_total", &[]).await?;
    assert_eq!(counted, poison.len() as f64);
    assert_eq!(daemon.get("/readyz").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn a_header_whose_name_is_no_text_keeps_its_record_and_what_is_behind_it_from_nothing() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("names").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["order_error"])]);
    let daemon = scene.start().await?;
    let topic = scene.topic("tracking");
    let odd: &[(&[u8], &[u8])] = &[
        (b"\xff\xfe", b"odd"),
        (b"event-type", b"order_error"),
        (b"\x80", b"odd"),
    ];
    wire::produce(&topic, &value_of(1), odd).await?;
    wire::produce(&topic, b"no event", odd).await?;
    let behind = Sent::value(value_of(2))
        .header("event-type", "order_error")
        .partition(0);
    topic.produce([behind]).await?;

    assert_eq!(scene.outcomes(2).await?.len(), 2);
    let letters = scene.dead_letters(1).await?;
    assert_eq!((letters.len(), letters[0].reason()), (1, "not_json"));
    assert_eq!(
        letters[0].headers.len(),
        1,
        "what can be read of them: {:?}",
        letters[0].headers
    );
    assert_eq!(daemon.metric("postrider_panics_total", &[]).await?, 0.0);
    assert_eq!(daemon.get("/readyz").await?.0, 200);
    Ok(())
}

/// A scene whose sources take records, and batches, of so many bytes at most.
pub(crate) async fn scene_for(name: &str, max_record: &str) -> Result<Scene> {
    let scene = Scene::at(Broker::shared().await?.bootstrap(), name)?;
    for source in ["shipments", "tracking"] {
        scene.topic(source).create_for(1, max_record).await?;
    }
    Ok(scene)
}

async fn aborted(daemon: &Daemon) -> Result<f64> {
    let aborted = [r#"result="aborted""#];
    daemon.metric("postrider_transactions_total", &aborted).await
}

/// Kafka holds a topic's limit against whole batches: what is parked together is no more than the retry topic takes.
#[tokio::test]
async fn a_source_with_small_records_parks_many_of_them_all_the_same() -> Result<()> {
    const EVENTS: usize = 304;
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(503)]);
    let mut scene = scene_for("small", "65536").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    scene.config["delivery"]["retry"] = json!({ "initial": "1h", "max_interval": "1h" });
    let daemon = scene.start().await?;
    // By chance, so that compression does not make them small.
    let mut seed = Seed::of("small");
    let upstream = scene.topic("tracking").upstream()?;
    for first in (0..EVENTS).step_by(8) {
        let mut event = |number: usize| {
            let noise: String = (0..400).map(|_| format!("{:016x}", seed.below(u64::MAX))).collect();
            Sent::value(format!("{{\"OrderID\":\"{number}\",\"noise\":\"{noise}\"}}"))
        };
        // No more at once than this topic takes in a batch.
        let few: Vec<Sent> = (first..first + 8).map(&mut event).collect();
        upstream.produce(few).await?;
    }

    let parked =
        || async { Ok((daemon.metric("postrider_webhook_pending", &[]).await? >= EVENTS as f64).then_some(())) };
    until("everything to be parked", PATIENCE, parked).await?;
    assert_eq!(aborted(&daemon).await?, 0.0);
    Ok(())
}

/// Each header of a retry record is longer than that of its source record.
#[tokio::test]
async fn a_record_whose_headers_no_retry_topic_takes_becomes_a_dead_letter_after_its_first_failure() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer("/hook", [Answer::status(503)]);
    let mut scene = scene_for("headers", "1048588").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    let daemon = scene.start().await?;
    let headers = (0..99_000).fold(Sent::value(value_of(1)), |sent, _| sent.header("a", "1234567"));
    scene
        .topic("tracking")
        .produce([headers, Sent::value(value_of(2))])
        .await?;

    let letters = scene.dead_letters(1).await?;
    assert_eq!(
        (letters[0].reason(), letters[0].own["pr-attempts"].as_str()),
        ("exhausted", "1")
    );
    let outcomes = scene.outcomes(3).await?;
    let of_first = |outcome: &&postrider_types::Outcome| outcome.order_id.as_deref() == Some("good-1");
    assert_eq!(
        outcomes
            .iter()
            .filter(of_first)
            .map(|one| one.result)
            .collect::<Vec<_>>(),
        [OutcomeResult::Failed]
    );
    assert_eq!(aborted(&daemon).await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_that_its_topic_would_refuse_goes_as_far_as_it_fits() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("oversize").await?;
    scene.webhooks([webhook("wh_1", receiver.url("/hook"), &["tracking_update"])]);
    scene.topic("dead-letters").create_for(1, "200000").await?;
    let daemon = scene.start().await?;
    let large = "x".repeat(1_600_000);
    let records = [
        Sent::null().key("null").header("large", large.clone()),
        Sent::value("[]").key(large.clone()),
        Sent::value("[]").key("headers").header("large", large.clone()),
        Sent::value(large).key("value"),
        Sent::value(value_of(1)),
    ];
    scene.topic("tracking").produce(records).await?;

    assert_eq!(scene.outcomes(1).await?.len(), 1);
    let letters = scene.dead_letters(4).await?;
    assert_eq!(letters.len(), 4);
    let values = letters
        .iter()
        .map(|letter| letter.value.as_ref().map(|value| value.len()));
    let mut values: Vec<Option<usize>> = values.collect();
    values.sort_unstable();
    assert_eq!(values[..3], [None, Some(2), Some(2)]);
    assert!(values[3] > Some(100_000), "{values:?}");
    assert_eq!(daemon.get("/readyz").await?.0, 200);
    Ok(())
}
