//! The harness keeps its own promises: what it reads is what is committed, and what it remembers is exact.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use postrider_tests::{Answer, Broker, Receiver, Scene, Sent, request};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

#[tokio::test]
async fn records_come_back_with_their_null_values_and_headers() -> Result<()> {
    let scene = Scene::new("harness").await?;
    let topic = scene.topic("tracking");
    let with_headers = Sent::value("v")
        .key("k")
        .header("a", "1")
        .null_header("b")
        .header("a", "2");
    topic
        .produce([Sent::null().partition(1), with_headers.partition(2)])
        .await?;
    let records = topic.read().await?;
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].partition, &records[0].value), (1, &None));
    assert_eq!(records[1].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(records[1].header("a"), Some("2"));
    let names: Vec<&str> = records[1].headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a", "b", "a"]);
    assert_eq!(records[1].headers[1].1, None);
    Ok(())
}

#[tokio::test]
async fn only_committed_records_are_read() -> Result<()> {
    let scene = Scene::new("harness").await?;
    let topic = scene.topic("tracking");
    let (bootstrap, name) = (Broker::shared().await?.bootstrap().to_owned(), topic.name().to_owned());
    tokio::task::spawn_blocking(move || -> Result<()> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("transactional.id", &name)
            .create()?;
        let wait = Duration::from_secs(30);
        producer.init_transactions(wait)?;
        for (value, committed) in [("aborted", false), ("committed", true)] {
            producer.begin_transaction()?;
            let record = BaseRecord::<(), str>::to(&name).payload(value).partition(0);
            producer.send(record).map_err(|(error, _)| error)?;
            producer.flush(wait)?;
            if committed {
                producer.commit_transaction(wait)?;
            } else {
                producer.abort_transaction(wait)?;
            }
        }
        Ok(())
    })
    .await??;
    let records = topic.read_until(|records| !records.is_empty()).await?;
    let values: Vec<&[u8]> = records.iter().filter_map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [b"committed"]);
    Ok(())
}

#[tokio::test]
async fn a_receiver_answers_in_turn_and_repeats_its_last_answer() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.answer(
        "/a",
        [Answer::status(503).header("retry-after", "1"), Answer::status(201)],
    );
    let address = receiver.address();
    let mut seen = Vec::new();
    for path in ["/a?x=1", "/a", "/a", "/b"] {
        seen.push(request::get(address, path).await?.0);
    }
    assert_eq!(seen, [503, 201, 201, 200]);
    assert_eq!(receiver.requests("/a").len(), 3);
    assert_eq!(receiver.requests("/a")[0].target, "/a?x=1");
    assert_eq!(receiver.requests("/a")[0].body, Bytes::new());
    Ok(())
}

#[tokio::test]
async fn a_broken_node_comes_back_with_its_records() -> Result<()> {
    let broker = Broker::start(1).await?;
    let scene = Scene::on(&broker, "harness").await?;
    let topic = scene.topic("tracking");
    topic.produce([Sent::value("kept")]).await?;
    broker.node("kill9", 1).await?;
    broker.node("restart", 1).await?;
    let records = topic.read_until(|records| records.len() == 1).await?;
    assert_eq!(records[0].value.as_deref(), Some(&b"kept"[..]));
    Ok(())
}
