//! A bad record never stops its partition: it goes to the dead letters whole, and what is behind it is delivered.

use anyhow::Result;
use bytes::Bytes;
use postrider_tests::contract::{DeadLetter, sample};
use postrider_tests::{Receiver, Scene, Sent};
use postrider_types::OutcomeResult;

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
