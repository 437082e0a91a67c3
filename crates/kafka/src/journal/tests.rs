use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::runtime::Runtime;

use super::*;

const TOPIC: &str = "postrider.webhooks";
/// Long enough for a commit to be asked for, and to be waited for in vain.
const SHORT: Duration = Duration::from_secs(4);

/// A cluster, how far its topic was read, and a journal over it.
struct Scene {
    cluster: MockCluster<'static, DefaultProducerContext>,
    reached: watch::Sender<i64>,
    journal: Journal,
    asked: AtomicU32,
    _runtime: Runtime,
}

impl Scene {
    fn new(mode: Mode, reached: i64) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        config.set("enable.idempotence", "true");
        config.set("message.timeout.ms", "500");
        if mode == Mode::Transactions {
            config.set("transactional.id", "g.webhooks");
        }
        let (runtime, reached) = (Runtime::new().unwrap(), watch::Sender::new(reached));
        let (seen, handle) = (reached.subscribe(), runtime.handle().clone());
        let journal = Journal::new(config, mode, TOPIC, Reachability::default(), seen, handle);
        Self {
            cluster,
            reached,
            journal: Journal {
                patience: SHORT,
                ..journal
            },
            asked: AtomicU32::new(0),
            _runtime: runtime,
        }
    }

    /// Writes, deciding by how often it was asked.
    fn write(&self, decide: impl Fn(u32) -> Vec<Outgoing>) -> Result<(), WriteError<()>> {
        self.asked.store(0, Ordering::Relaxed);
        self.journal
            .write(|| Ok(decide(self.asked.fetch_add(1, Ordering::Relaxed))))
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The next commit is not made, and does not say so for certain.
    fn lose_the_next_commit(&self) {
        let fenced = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED];
        self.cluster.request_errors(RDKafkaApiKey::EndTxn, &fenced);
    }
}

fn record() -> Vec<Outgoing> {
    with("{}".into())
}

fn with(value: Bytes) -> Vec<Outgoing> {
    vec![Outgoing {
        topic: TOPIC.into(),
        sticky: false,
        key: Some("wh".into()),
        headers: Arc::default(),
        value: Some(value),
    }]
}

#[test]
fn what_was_written_and_not_read_back_is_uncertain_and_what_was_not_written_is_not() {
    for mode in [Mode::Transactions, Mode::AtLeastOnce] {
        let scene = Scene::new(mode, 0);
        let ended = scene.write(|_| record());
        assert!(
            matches!(ended, Err(WriteError::Uncertain(Obstacle::Behind))),
            "{ended:?}"
        );
        let ended = scene.write(|_| record());
        assert!(
            matches!(ended, Err(WriteError::Unavailable(Obstacle::Behind))),
            "{ended:?}"
        );
        assert_eq!(scene.asked(), 0, "nothing is decided by what is not known");
        scene.reached.send_replace(i64::MAX);
        scene.write(|_| record()).unwrap();
    }
}

#[test]
fn a_commit_that_was_not_answered_is_decided_on_again() {
    let scene = Scene::new(Mode::Transactions, i64::MAX);
    for said_again in [record(), Vec::new()] {
        scene.lose_the_next_commit();
        scene
            .write(|asked| if asked == 0 { record() } else { said_again.clone() })
            .unwrap();
        assert_eq!(scene.asked(), 2);
    }
}

#[test]
fn a_try_that_was_decided_on_again_was_not_written() {
    let scene = Scene::new(Mode::Transactions, i64::MAX);
    scene.lose_the_next_commit();
    let ended = scene.write(|asked| {
        let too_large = Bytes::from_static(&[b' '; 2_000_000]);
        if asked == 0 { record() } else { with(too_large) }
    });
    assert!(
        matches!(ended, Err(WriteError::Unavailable(Obstacle::Publish(_)))),
        "{ended:?}"
    );
    assert!(scene.asked() >= 2);
}

#[test]
fn a_write_ends_in_its_time_though_another_one_is_under_way() {
    let scene = Scene::new(Mode::Transactions, 0);
    let begun = Instant::now();
    std::thread::scope(|threads| {
        let first = threads.spawn(|| scene.journal.write(|| Ok::<_, ()>(record())));
        let second = threads.spawn(|| scene.journal.write(|| Ok::<_, ()>(record())));
        for ended in [first.join().unwrap(), second.join().unwrap()] {
            ended.unwrap_err();
        }
    });
    assert!(
        begun.elapsed() < SHORT + Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_cluster_that_does_not_answer_keeps_nobody_beyond_the_time_of_a_write() {
    let scene = Scene::new(Mode::Transactions, i64::MAX);
    scene.write(|_| record()).unwrap();
    scene
        .cluster
        .broker_round_trip_time(1, Duration::from_secs(30))
        .unwrap();
    let begun = Instant::now();
    let ended = scene.write(|_| record());
    assert!(matches!(ended, Err(WriteError::Unavailable(_))), "{ended:?}");
    assert!(
        begun.elapsed() < SHORT + Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_writer_that_was_overtaken_is_not_said_to_share_its_name() {
    let fenced = PublishError::Fenced(KafkaError::MessageProduction(RDKafkaErrorCode::ProducerFenced));
    let sentence = Obstacle::from(fenced).sentence();
    assert!(
        sentence.starts_with("another instance was writing webhooks at the same time: "),
        "{sentence}"
    );
}
