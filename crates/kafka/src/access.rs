//! Finds out, before anything is read or sent, whether Kafka allows what will be needed: by asking for things that
//! change nothing. Only what Kafka refuses for lack of a right counts; what it does not answer is met later.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::debug;

use crate::connection::{Connection, Reachability};
use crate::publisher::Publisher;
use crate::rights::{Needs, Operation, Resource, Right};

/// How long one question waits for its answer.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);
/// A number of acknowledgements that does not exist: a broker that would take the record refuses it for that.
const NO_SUCH_ACKS: &str = "2";

/// The rights that are missing, of what is needed on the topics that `exist`. Blocks.
#[must_use]
pub fn missing(connection: &Connection, needs: &Needs, exist: &HashMap<String, i32>, runtime: &Handle) -> Vec<Right> {
    let topics = |operation| needs.topics(operation, exist);
    let asked = [
        (Operation::Read, unreadable(connection, &topics(Operation::Read))),
        (Operation::Write, unwritable(connection, &topics(Operation::Write))),
        (
            Operation::Delete,
            runtime.block_on(undeletable(connection, &topics(Operation::Delete))),
        ),
    ];
    let mut missing = Vec::new();
    for (operation, answer) in asked {
        let denied = answer.unwrap_or_else(|error| {
            debug!(%error, %operation, "Whether Kafka allows an operation is not known");
            Vec::new()
        });
        missing.extend(denied.into_iter().map(|topic| Right::on_topic(operation, topic)));
    }
    missing.extend(no_member(connection, needs, exist));
    if missing.is_empty() && needs.transactions {
        missing.extend(no_transactions(connection, needs));
    }
    missing
}

fn is_denied(error: &KafkaError, code: RDKafkaErrorCode) -> bool {
    error.rdkafka_error_code() == Some(code)
}

/// The topics of these that may not be read. Reading at the end of a partition takes no record.
fn unreadable(connection: &Connection, topics: &[String]) -> KafkaResult<Vec<String>> {
    let mut config = connection.table();
    config.set("fetch.wait.max.ms", "1").set("fetch.queue.backoff.ms", "1");
    let consumer: BaseConsumer = config.create()?;
    let mut denied = Vec::new();
    for topic in topics {
        let mut end = TopicPartitionList::new();
        end.add_partition_offset(topic, 0, Offset::End)?;
        consumer.assign(&end)?;
        if is_refused(&consumer, RDKafkaErrorCode::TopicAuthorizationFailed) {
            denied.push(topic.clone());
        }
    }
    Ok(denied)
}

/// Whether what a consumer says next is that it may not.
fn is_refused(consumer: &BaseConsumer, code: RDKafkaErrorCode) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match consumer.poll(POLL) {
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return false,
            Some(Err(error)) if is_denied(&error, code) => return true,
            Some(Err(_)) | None => {}
        }
    }
    false
}

#[derive(Default)]
struct Refusals(Mutex<BTreeSet<String>>);

impl ClientContext for Refusals {}

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
    let admin: AdminClient<DefaultClientContext> = connection.admin().create()?;
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
fn no_member(connection: &Connection, needs: &Needs, exist: &HashMap<String, i32>) -> Option<Right> {
    let topic = needs.topics(Operation::Read, exist).into_iter().next()?;
    let mut config = connection.table();
    config.set("group.id", &needs.group);
    let consumer: BaseConsumer = config.create().ok()?;
    let mut asked = TopicPartitionList::new();
    asked.add_partition(&topic, 0);
    let code = RDKafkaErrorCode::GroupAuthorizationFailed;
    let error = consumer.committed_offsets(asked, PATIENCE).err()?;
    let denied = is_denied(&error, code) || is_refused(&consumer, code);
    denied.then(|| Right {
        operation: Operation::Read,
        resource: Resource::Group(needs.group.clone()),
    })
}

/// The transactional ids that may not be used: this instance's, which it is about to take anyway, and the one that
/// writers of webhooks share; whoever is writing then writes again.
fn no_transactions(connection: &Connection, needs: &Needs) -> Vec<Right> {
    let ids = [
        connection.transactional_id(&needs.group),
        connection.webhooks_id(&needs.group),
    ];
    let denied = ids.into_iter().filter(|id| may_not_use(connection, id));
    denied
        .map(|id| Right {
            operation: Operation::Write,
            resource: Resource::TransactionalId(id),
        })
        .collect()
}

fn may_not_use(connection: &Connection, id: &str) -> bool {
    let config = connection.producer(Some(id), 1_000_000);
    let reachability = Reachability::default();
    let Ok(publisher) = Publisher::new(&config, HashMap::new(), reachability, None) else {
        return false;
    };
    let refused = publisher.take_place().err().and_then(|error| error.code());
    refused == Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed)
}
