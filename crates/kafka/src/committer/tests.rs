use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use postrider_types::settlement::HeldTotals;
use postrider_types::{
    AssignmentNumber, DeadLetter, DeadLetterReason, Held, Losses, Offset, Origin, Partition, Position, Record,
    Resolution, Timestamp,
};
use prometheus::Registry;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::runtime::Runtime;

use super::failure::{mendable, of_consumer};
use super::*;
use crate::config::ResultsConfig;
use crate::encode::Limits;
use crate::offsets::{Membership, OffsetCommit};

/// Owns all it is asked about, until it is asked for offsets if it loses them then. Its commits fail as they are told
/// to, and then go well.
#[derive(Debug, Default)]
struct Keeper {
    fails: Mutex<Vec<RDKafkaErrorCode>>,
    tried: AtomicU64,
    loses: bool,
    has_lost: AtomicBool,
    applied: AtomicU64,
}

impl Keeper {
    fn failing(code: RDKafkaErrorCode) -> Self {
        Self {
            fails: Mutex::new(vec![code]),
            ..Self::default()
        }
    }
}

impl OffsetKeeper for Keeper {
    fn memberships(&self) -> Vec<Membership> {
        Vec::new()
    }

    fn owns(&self, _: &Position) -> bool {
        !self.has_lost.load(Ordering::Relaxed)
    }

    fn preview(&self, _: &[&Position], _: u32) -> Vec<OffsetCommit> {
        self.has_lost.store(self.loses, Ordering::Relaxed);
        Vec::new()
    }

    fn apply(&self, settled: &[&Position]) {
        self.applied.fetch_add(settled.len() as u64, Ordering::Relaxed);
    }

    fn is_committed(&self, _: &[OffsetCommit]) -> KafkaResult<bool> {
        Ok(false)
    }

    fn commit(&self, _: &[OffsetCommit]) -> KafkaResult<()> {
        self.tried.fetch_add(1, Ordering::Relaxed);
        let fails = self.fails.lock().pop();
        fails.map_or(Ok(()), |code| Err(KafkaError::ConsumerCommit(code)))
    }
}

/// A cluster, and a runtime to wait on.
struct Scene {
    cluster: MockCluster<'static, DefaultProducerContext>,
    runtime: Runtime,
}

impl Scene {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster
            .create_topic(&ResultsConfig::default().dead_letters, 1, 1)
            .unwrap();
        Self {
            cluster,
            runtime: Runtime::new().unwrap(),
        }
    }

    /// The committer of a process; all of them have the same name.
    fn committer(&self, mode: Mode) -> Committer {
        let mut producer = ClientConfig::new();
        producer.set("bootstrap.servers", self.cluster.bootstrap_servers());
        producer.set("enable.idempotence", "true");
        if mode == Mode::Transactions {
            producer.set("transactional.id", "g.i-0");
        }
        let settings = Settings {
            producer,
            mode,
            partitions: Partitions::default(),
            interval: Duration::from_millis(1),
            limits: BatchLimits::default(),
            encoder: encoder(),
        };
        Committer::open(
            settings,
            Reachability::default(),
            Metrics::register(&Registry::new()).unwrap(),
            self.runtime.handle().clone(),
            CancellationToken::new(),
            Trouble::default(),
        )
        .unwrap()
    }
}

fn encoder() -> Encoder {
    Encoder::new("i-0", ResultsConfig::default(), "postrider.webhooks", Limits::DEFAULT)
}

/// One record that ended as a dead letter.
fn batch() -> Batch {
    let origin = Origin {
        topic: "shipments".into(),
        partition: Partition(0),
        offset: Offset(7),
        timestamp: Timestamp::from_millis(5),
    };
    let position = Position {
        topic: "shipments".into(),
        partition: Partition(0),
        offset: Offset(7),
        assignment: AssignmentNumber(1),
    };
    let letter = DeadLetter {
        origin,
        key: None,
        headers: Vec::new(),
        value: Some("{".into()),
        reason: DeadLetterReason::NotJson,
        message: String::new(),
        delivery: None,
    };
    let resolution = Resolution {
        dead_letter: Some(Box::new(letter)),
        ..Resolution::default()
    };
    let held = Held::take(&Arc::new(HeldTotals::default()), 1);
    let mut batch = Batch::default();
    batch.push(
        Record::new(position, held, &Losses::default()).settle(vec![resolution]),
        &encoder(),
    );
    batch
}

/// The mock cluster fences nobody by itself. Of a real one the older hears this with its next transaction; its records
/// are purged, and only the abort tells why.
#[test]
fn of_two_processes_with_one_name_the_older_ends_and_does_not_take_the_place_back() {
    let (scene, keeper) = (Scene::new(), Keeper::default());
    let mut older = scene.committer(Mode::Transactions);
    older.commit(&mut batch(), &keeper).unwrap();
    let fenced = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED];
    scene.cluster.request_errors(RDKafkaApiKey::AddPartitionsToTxn, &fenced);
    let ended = older.commit(&mut batch(), &keeper);
    assert!(matches!(ended, Err(CommitterError::Replaced(_))), "{ended:?}");
}

#[test]
fn of_a_partition_that_is_lost_while_its_offsets_are_worked_out_nothing_is_committed() {
    let scene = Scene::new();
    let mut committer = scene.committer(Mode::Transactions);
    for (loses, applied) in [(false, 1), (true, 0)] {
        let keeper = Keeper {
            loses,
            ..Keeper::default()
        };
        let mut batch = batch();
        committer.commit(&mut batch, &keeper).unwrap();
        assert_eq!(keeper.applied.load(Ordering::Relaxed), applied, "loses: {loses}");
        assert_eq!(batch.is_empty(), loses);
    }
}

#[test]
fn without_transactions_the_older_ends_as_well_and_publishes_its_batch_no_second_time() {
    let (scene, keeper) = (Scene::new(), Keeper::failing(RDKafkaErrorCode::FencedInstanceId));
    let ended = scene.committer(Mode::AtLeastOnce).commit(&mut batch(), &keeper);
    assert!(matches!(ended, Err(CommitterError::Replaced(_))), "{ended:?}");
    assert_eq!(keeper.tried.load(Ordering::Relaxed), 1);
}

#[test]
fn a_consumer_that_failed_for_good_is_not_asked_to_commit_again() {
    let (scene, keeper) = (Scene::new(), Keeper::failing(RDKafkaErrorCode::Fatal));
    let ended = scene.committer(Mode::AtLeastOnce).commit(&mut batch(), &keeper);
    assert!(matches!(ended, Err(CommitterError::Consumer(_))), "{ended:?}");
    assert_eq!(keeper.tried.load(Ordering::Relaxed), 1);
}

#[test]
fn a_commit_that_a_rebalance_came_in_the_way_of_is_tried_again() {
    let (scene, keeper) = (Scene::new(), Keeper::failing(RDKafkaErrorCode::RebalanceInProgress));
    scene
        .committer(Mode::AtLeastOnce)
        .commit(&mut batch(), &keeper)
        .unwrap();
    assert_eq!(keeper.tried.load(Ordering::Relaxed), 2);
}

#[test]
fn a_producer_that_its_own_stall_fenced_is_replaced_by_a_new_one() {
    let fenced = || PublishError::Fenced(KafkaError::MessageProduction(RDKafkaErrorCode::Fenced));
    assert!(matches!(mendable(fenced(), true), Ok(PublishError::Fenced(_))));
    assert!(matches!(mendable(fenced(), false), Err(CommitterError::Replaced(_))));
}

#[test]
fn a_consumer_that_is_fenced_has_been_replaced_however_long_it_took() {
    let fenced = of_consumer(KafkaError::ConsumerCommit(RDKafkaErrorCode::FencedInstanceId));
    assert!(matches!(mendable(fenced, true), Err(CommitterError::Replaced(_))));
}
