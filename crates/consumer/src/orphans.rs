//! Partitions that no member of the group has.
//!
//! A static member that dies while it gives partitions back, and returns within its session, gets its last
//! assignment again without a rebalance. The partitions it was giving are in nobody's assignment then, and stay
//! so until the group rebalances for another reason. So every instance looks at the group now and then; when
//! partitions stay without an owner, one of the instances makes the group rebalance. A topic that has vanished is
//! told of: with a retry topic go the deliveries that were parked in it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::groups::GroupInfo;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::looks::{CALL, LOOK, rest};
use crate::rebalance::Context;

/// How long after the start whole topics without an owner are looked for soon: a member that comes back in time with more
/// topics than it had makes no rebalance. Single partitions may just be on their way from one member to another.
const AT_FIRST: Duration = Duration::from_secs(15);
/// Between two looks then.
const SOON: Duration = Duration::from_secs(2);
/// How long after a move partitions are looked for at every look.
const LATELY: Duration = Duration::from_secs(60);
/// Between two looks at other times.
const RARELY: Duration = Duration::from_secs(60);
/// What the client ids of all instances begin with.
const OURS: &str = "postrider-";

/// A partition, named.
pub(crate) type Named = (String, i32);

/// Whether this instance should make the group rebalance; asked for here, done by the poll thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked for since the last time.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// How often partitions were given to this instance.
pub(crate) type Moves = Arc<AtomicU64>;

/// Looks at the group, for all members of this instance.
pub(crate) struct Lookout {
    pub(crate) kafka: Arc<BaseConsumer<Context>>,
    pub(crate) runtime: Handle,
    pub(crate) stop: CancellationToken,
    pub(crate) group: String,
    pub(crate) client: String,
    pub(crate) topics: Vec<Arc<str>>,
    /// The topics among them that were there at the start.
    pub(crate) retry_topics: BTreeSet<String>,
    pub(crate) moves: Moves,
    pub(crate) wanted: Wanted,
}

impl Lookout {
    /// Looks until stopped. Blocks: for a thread of its own.
    pub(crate) fn keep(self) {
        let (mut before, mut known) = (BTreeSet::new(), self.retry_topics.clone());
        let (mut seen, mut lately) = (0, Instant::now() + LATELY);
        let mut looked = Instant::now();
        let early_until = Instant::now() + AT_FIRST;
        let is_early = || Instant::now() < early_until;
        while rest(&self.runtime, &self.stop, if is_early() { SOON } else { LOOK }) {
            let moves = self.moves.load(Ordering::Relaxed);
            if std::mem::replace(&mut seen, moves) != moves {
                lately = Instant::now() + LATELY;
            }
            if Instant::now() >= lately && looked.elapsed() < RARELY {
                continue;
            }
            looked = Instant::now();
            let now = self.look(&mut known, is_early()).unwrap_or_else(|error| {
                debug!(%error, "The group cannot be looked at; trying again");
                BTreeSet::new()
            });
            if now.intersection(&before).next().is_some() {
                warn!(
                    partitions = now.len(),
                    "Partitions have no owner; making the group rebalance"
                );
                self.wanted.ask();
                before.clear();
            } else {
                before = now;
            }
        }
    }

    /// The partitions without an owner, if it is this instance's turn to do something about them; `whole`: of topics of
    /// which nobody has any.
    fn look(&self, known: &mut BTreeSet<String>, whole: bool) -> KafkaResult<BTreeSet<Named>> {
        let all = self.partitions()?;
        for topic in vanished(known, &all) {
            error!(
                topic,
                "A topic that is read has vanished, and what was parked in it with it; \
                 `postrider topics create` makes retry topics again"
            );
        }
        let groups = self.kafka.fetch_group_list(Some(&self.group), CALL)?;
        let Some(group) = groups.groups().iter().find(|group| group.name() == self.group) else {
            return Ok(BTreeSet::new());
        };
        let Some(owned) = settled(group) else {
            return Ok(BTreeSet::new());
        };
        let clients = group.members().iter().map(|member| member.client_id());
        if !is_first(&self.client, clients) {
            return Ok(BTreeSet::new());
        }
        Ok(without_owner(all, &owned, whole))
    }

    /// All partitions of the topics that are read.
    fn partitions(&self) -> KafkaResult<BTreeSet<Named>> {
        let mut all = BTreeSet::new();
        for name in &self.topics {
            let metadata = self.kafka.fetch_metadata(Some(name), CALL)?;
            let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
            for topic in topics {
                all.extend(topic.partitions().iter().map(|one| (topic.name().to_owned(), one.id())));
            }
        }
        Ok(all)
    }
}

/// Which of these partitions nobody has; `whole`: of topics of which nobody has any.
fn without_owner(mut all: BTreeSet<Named>, owned: &BTreeSet<Named>, whole: bool) -> BTreeSet<Named> {
    let read: BTreeSet<&String> = owned.iter().map(|(topic, _)| topic).collect();
    all.retain(|partition| !(owned.contains(partition) || whole && read.contains(&partition.0)));
    all
}

/// The topics that were known and have no partitions any more; from now on those that have are known.
fn vanished(known: &mut BTreeSet<String>, all: &BTreeSet<Named>) -> Vec<String> {
    let now: BTreeSet<String> = all.iter().map(|(topic, _)| topic.clone()).collect();
    let gone = known.difference(&now).cloned().collect();
    *known = now;
    gone
}

/// What the members of a group that is not rebalancing have; `None` while it is, or when a member's assignment
/// cannot be read.
fn settled(group: &GroupInfo) -> Option<BTreeSet<Named>> {
    if group.state() != "Stable" {
        return None;
    }
    let mut owned = BTreeSet::new();
    for member in group.members() {
        owned.extend(assignment(member.assignment()?)?);
    }
    Some(owned)
}

/// Of all instances in a group one acts, so that they do not act against each other.
fn is_first<'a>(client: &str, clients: impl Iterator<Item = &'a str>) -> bool {
    clients.filter(|one| one.starts_with(OURS)).min() == Some(client)
}

/// Reads a member's assignment as the group protocol of consumers writes it: a version, then topics with their
/// partitions; what comes after them is the assignor's own.
fn assignment(bytes: &[u8]) -> Option<Vec<Named>> {
    let mut rest = bytes;
    let _version = take::<2>(&mut rest)?;
    let mut partitions = Vec::new();
    for _ in 0..u32::from_be_bytes(take(&mut rest)?) {
        let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
        let (name, after) = rest.split_at_checked(length)?;
        let name = std::str::from_utf8(name).ok()?;
        rest = after;
        for _ in 0..u32::from_be_bytes(take(&mut rest)?) {
            partitions.push((name.to_owned(), i32::from_be_bytes(take(&mut rest)?)));
        }
    }
    Some(partitions)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

/// What to subscribe to for a moment, which makes the group rebalance: this member's topics without the one that is best
/// left out; where it has but one, with another member's besides.
pub(crate) fn otherwise<'a>(
    topics: &[&'a Arc<str>],
    all: impl Iterator<Item = &'a Arc<str>>,
    own: &[Named],
) -> Vec<&'a Arc<str>> {
    if topics.len() == 1 {
        let another = all.filter(|topic| !topics.contains(topic)).min();
        return topics.iter().copied().chain(another).collect();
    }
    let left_out = spared(topics.iter().copied(), own);
    topics
        .iter()
        .copied()
        .filter(|topic| Some(*topic) != left_out)
        .collect()
}

/// The topic that is best left out of the subscription: the one of which the fewest partitions are this member's.
fn spared<'a>(topics: impl Iterator<Item = &'a Arc<str>>, own: &[Named]) -> Option<&'a Arc<str>> {
    topics.min_by_key(|topic| {
        (
            own.iter().filter(|(name, _)| **name == ***topic).count(),
            Arc::clone(topic),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(topics: &[(&str, &[i32])]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend((topics.len() as u32).to_be_bytes());
        for (name, partitions) in topics {
            bytes.extend((name.len() as u16).to_be_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend((partitions.len() as u32).to_be_bytes());
            for partition in *partitions {
                bytes.extend(partition.to_be_bytes());
            }
        }
        bytes.extend([0xff; 4]);
        bytes
    }

    #[test]
    fn at_first_only_topics_that_nobody_reads_are_without_an_owner() {
        let of = |all: &[(&str, i32)]| {
            all.iter()
                .map(|(topic, at)| ((*topic).to_owned(), *at))
                .collect::<BTreeSet<_>>()
        };
        let (all, owned) = (of(&[("a", 0), ("a", 1), ("b", 0), ("b", 1)]), of(&[("a", 0)]));
        assert_eq!(without_owner(all.clone(), &owned, true), of(&[("b", 0), ("b", 1)]));
        assert_eq!(without_owner(all, &owned, false), of(&[("a", 1), ("b", 0), ("b", 1)]));
    }

    #[test]
    fn an_assignment_is_read_as_it_is_written() {
        let read = assignment(&written(&[("tracking", &[0, 2]), ("shipments", &[1])])).unwrap();
        let named = |(name, partition): (&str, i32)| (name.to_owned(), partition);
        let all = [("tracking", 0), ("tracking", 2), ("shipments", 1)];
        assert_eq!(read, all.map(named));
        assert_eq!(assignment(&written(&[])), Some(Vec::new()));
    }

    #[test]
    fn a_topic_that_vanishes_is_told_of_once() {
        let all = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 0)).collect();
        let mut known = BTreeSet::new();
        assert!(vanished(&mut known, &all(&["a", "b"])).is_empty());
        assert_eq!(vanished(&mut known, &all(&["b"])), ["a"]);
        assert!(vanished(&mut known, &all(&["b"])).is_empty());
        assert!(vanished(&mut known, &all(&["a", "b"])).is_empty());
    }

    #[test]
    fn only_the_first_instance_acts() {
        let clients = || ["a-foreign-client", "postrider-b", "postrider-a"].into_iter();
        assert!(is_first("postrider-a", clients()));
        assert!(!is_first("postrider-b", clients()));
        assert!(!is_first("postrider-c", std::iter::empty()));
    }

    #[test]
    fn the_topic_that_is_left_out_is_one_of_which_nothing_is_ours() {
        let topics: [Arc<str>; 3] = ["a", "b", "c"].map(Arc::from);
        let own = |names: &[&str]| -> Vec<Named> { names.iter().map(|name| ((*name).to_owned(), 0)).collect() };
        assert_eq!(&**spared(topics.iter(), &own(&["a", "c"])).unwrap(), "b");
        assert_eq!(&**spared(topics.iter(), &own(&["a", "a", "b", "c"])).unwrap(), "b");
        assert_eq!(spared([].iter(), &[]), None);
    }

    #[test]
    fn a_member_of_one_topic_takes_another_besides_instead_of_leaving_its_own() {
        let topics: [Arc<str>; 3] = ["a", "b", "c"].map(Arc::from);
        let all = || topics.iter();
        assert_eq!(otherwise(&[&topics[1]], all(), &[]), [&topics[1], &topics[0]]);
        let own = [("b".to_owned(), 0)];
        assert_eq!(otherwise(&[&topics[1], &topics[2]], all(), &own), [&topics[1]]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_assignment_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = assignment(&bytes);
        }

        #[test]
        fn a_shortened_assignment_is_none(cut in 1..20_usize) {
            let mut bytes = written(&[("tracking", &[0, 2])]);
            // Beyond the assignor's own part.
            bytes.truncate(bytes.len() - 4 - cut);
            prop_assert_eq!(assignment(&bytes), None);
        }
    }
}
