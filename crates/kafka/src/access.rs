//! Finds out, before anything is read or sent, whether Kafka allows what will be needed: by asking for things that
//! change nothing. Only what Kafka refuses for lack of a right counts; what it does not answer is met later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::debug;

use crate::connection::{Connection, Reachability, log_line};
use crate::encode::Limits;
use crate::publisher::{Partitions, Publisher};
use crate::rights::{Needs, Operation, Resource, Right};
use crate::tail::Quiet;

/// How long one question waits for its answer.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);
/// How long a client is listened to after it got no answer, for why.
const EVENTS: Duration = Duration::from_secs(1);
/// A number of acknowledgements that does not exist: a broker that would take the record refuses it for that.
const NO_SUCH_ACKS: &str = "2";

/// The rights that are missing, of what is needed on the topics that `exist`. Blocks, while everything is asked at
/// once.
#[must_use]
pub fn missing(connection: &Connection, needs: &Needs, exist: &Partitions, runtime: &Handle) -> Vec<Right> {
    let on = |operation| (operation, needs.topics(operation, exist));
    let (read, write, delete) = (on(Operation::Read), on(Operation::Write), on(Operation::Delete));
    std::thread::scope(|scope| {
        let asked = [
            scope.spawn(|| rights(read.0, unreadable(connection, &read.1))),
            scope.spawn(|| rights(write.0, unwritable(connection, &write.1))),
            scope.spawn(|| rights(delete.0, runtime.block_on(undeletable(connection, &delete.1)))),
            scope.spawn(|| no_member(connection, needs).into_iter().collect()),
            scope.spawn(|| no_writer(connection, needs).into_iter().collect()),
        ];
        asked.map(|answer| answer.join().unwrap_or_default()).concat()
    })
}

fn rights(operation: Operation, denied: KafkaResult<Vec<String>>) -> Vec<Right> {
    let denied = denied.unwrap_or_else(|error| {
        debug!(%error, %operation, "Whether Kafka allows an operation is not known");
        Vec::new()
    });
    denied
        .into_iter()
        .map(|topic| Right::on_topic(operation, topic))
        .collect()
}

fn is_denied(error: &KafkaError, code: RDKafkaErrorCode) -> bool {
    error.rdkafka_error_code() == Some(code)
}

/// The topics of these that may not be read. Reading at the end of a partition takes no record. Each is read by a
/// queue of its own: an answer does not name its topic.
fn unreadable(connection: &Connection, topics: &[String]) -> KafkaResult<Vec<String>> {
    let mut config = connection.table();
    config.set("fetch.wait.max.ms", "1").set("fetch.queue.backoff.ms", "1");
    let consumer: Arc<BaseConsumer<Quiet>> = Arc::new(config.create_with_context(Quiet)?);
    let mut ends = TopicPartitionList::new();
    for topic in topics {
        ends.add_partition_offset(topic, 0, Offset::End)?;
    }
    consumer.assign(&ends)?;
    let queues: Vec<_> = topics
        .iter()
        .filter_map(|topic| Some((topic, consumer.split_partition_queue(topic, 0)?)))
        .collect();
    let deadline = Instant::now() + PATIENCE;
    let code = RDKafkaErrorCode::TopicAuthorizationFailed;
    let denied = queues.iter().filter(|(_, queue)| {
        let next = || {
            // Serves the client; what comes of partitions comes by their queues.
            let _ = consumer.poll(Duration::ZERO);
            queue.poll(POLL).map(|read| read.map(drop))
        };
        is_refused(next, deadline, code)
    });
    Ok(denied.map(|(topic, _)| (*topic).clone()).collect())
}

/// Whether what a reader says next is that it may not.
fn is_refused(next: impl Fn() -> Option<KafkaResult<()>>, deadline: Instant, code: RDKafkaErrorCode) -> bool {
    loop {
        match next() {
            Some(Ok(()) | Err(KafkaError::PartitionEOF(_))) => return false,
            Some(Err(error)) if is_denied(&error, code) => return true,
            _ if Instant::now() >= deadline => return false,
            Some(Err(_)) | None => {}
        }
    }
}

#[derive(Default)]
struct Refusals(Mutex<BTreeSet<String>>);

impl ClientContext for Refusals {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "A writer met an error");
    }
}

impl ProducerContext for Refusals {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result
            && is_denied(error, RDKafkaErrorCode::TopicAuthorizationFailed)
        {
            self.0.lock().insert(message.topic().to_owned());
        }
    }
}

/// The topics of these that may not be written to. A broker looks at the right first; a record it may take it then
/// refuses, because nobody can wait for that many acknowledgements.
fn unwritable(connection: &Connection, topics: &[String]) -> KafkaResult<Vec<String>> {
    let mut config = connection.admin();
    let patience = PATIENCE.as_millis().to_string();
    // The other name of the same setting must not win.
    config.remove("request.required.acks");
    config
        .set("acks", NO_SUCH_ACKS)
        .set("linger.ms", "0")
        .set("message.timeout.ms", patience);
    let producer: BaseProducer<Refusals> = config.create_with_context(Refusals::default())?;
    for topic in topics {
        let record = BaseRecord::<(), ()>::to(topic).partition(0);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    while producer.in_flight_count() > 0 {
        producer.poll(POLL);
    }
    Ok(std::mem::take(&mut *producer.context().0.lock()).into_iter().collect())
}

/// The topics of these whose records may not be deleted. Nothing lies below the first offset.
async fn undeletable(connection: &Connection, topics: &[String]) -> KafkaResult<Vec<String>> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let admin: AdminClient<Quiet> = connection.admin().create_with_context(Quiet)?;
    let mut below = TopicPartitionList::new();
    for topic in topics {
        below.add_partition_offset(topic, 0, Offset::Offset(0))?;
    }
    let options = AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE));
    let answers = admin.delete_records(&below, &options).await?;
    let elements = answers.elements();
    let denied = elements.iter().filter(|element| {
        let error = element.error().err();
        error.is_some_and(|error| is_denied(&error, RDKafkaErrorCode::TopicAuthorizationFailed))
    });
    Ok(denied.map(|element| element.topic().to_owned()).collect())
}

/// Whether the group may not be used, learnt by asking for a committed offset. Whoever may not find the group's
/// coordinator gets no answer, but an event that tells why.
fn no_member(connection: &Connection, needs: &Needs) -> Option<Right> {
    let config = connection.table();
    let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet).ok()?;
    let mut asked = TopicPartitionList::new();
    asked.add_partition(needs.layout.sources.first()?, 0);
    let code = RDKafkaErrorCode::GroupAuthorizationFailed;
    let error = consumer.committed_offsets(asked, PATIENCE).err()?;
    let next = || consumer.poll(POLL).map(|read| read.map(drop));
    let denied = is_denied(&error, code) || is_refused(next, Instant::now() + EVENTS, code);
    denied.then(|| Right {
        operation: Operation::Read,
        resource: Resource::Group(needs.group.clone()),
    })
}

/// Whether the transactional id that writers of webhooks share may not be used. Taking it puts out whoever is
/// writing, who then writes again. This instance's own is the committer's to take.
fn no_writer(connection: &Connection, needs: &Needs) -> Option<Right> {
    if !needs.transactions {
        return None;
    }
    let id = connection.webhooks_id(&needs.group);
    let config = connection.producer(Some(&id), &Limits::DEFAULT);
    let publisher = Publisher::new(&config, Partitions::default(), Reachability::default(), None).ok()?;
    let refused = publisher.take_place().err()?.code();
    (refused == Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed)).then(|| Right::on_id(id))
}
