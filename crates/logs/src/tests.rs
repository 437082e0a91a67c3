//! The index held against what it is made of.

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_types::{AccountId, EventType, Outcome, OutcomeResult, Timestamp, WebhookId};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::cursor::{Cursor, Mark};
use crate::entry::Entry;
use crate::filter::{Filter, Retry};
use crate::key::Key;
use crate::progress::Progress;
use crate::prune::Bounds;
use crate::query;
use crate::reader::Session;
use crate::samples::{START, Seed, record};
use crate::stats;
use crate::writer::{Batch, Writer};

struct Index {
    writer: Writer,
    folder: TempDir,
    next: [i64; 3],
}

impl Index {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (writer, unusable) = Writer::open(&folder.path().join("logs.db"), "results").unwrap();
        assert_eq!(unusable, None);
        Self {
            writer,
            folder,
            next: [0; 3],
        }
    }

    fn of(seeds: &[Seed]) -> Self {
        let mut index = Self::new();
        index.add(seeds);
        index
    }

    /// Writes a batch, spread over the partitions.
    fn add(&mut self, seeds: &[Seed]) {
        let mut batch = Batch::default();
        for (at, seed) in seeds.iter().enumerate() {
            let partition = (seed.order as usize + at) % 3;
            let offset = self.next[partition];
            self.next[partition] += 1;
            batch
                .take(seed.record(i32::try_from(partition).unwrap(), offset))
                .unwrap();
        }
        self.writer.write(&batch).unwrap();
    }

    fn page(&self, filter: &Filter, after: Option<Cursor>, limit: usize) -> (Vec<Entry>, Option<Cursor>, Mark) {
        query::page(&Session::of(&self.writer.connection), filter, after, limit).unwrap()
    }

    fn added(&self, filter: &Filter, mark: Mark, limit: usize) -> (Vec<Entry>, Mark, bool) {
        let session = Session::of(&self.writer.connection);
        query::added(&session, &Progress::default(), filter, mark, limit).unwrap()
    }

    /// All that is asked for, page by page.
    fn all(&self, filter: &Filter, limit: usize) -> Vec<Entry> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let (entries, next, _) = self.page(filter, after, limit);
            assert!(entries.len() <= limit);
            all.extend(entries);
            match next {
                Some(next) => after = Some(next),
                None => return all,
            }
        }
    }

    fn stats(&self, filter: &Filter) -> stats::Stats {
        stats::stats(&Session::of(&self.writer.connection), filter).unwrap()
    }
}

fn seed() -> impl Strategy<Value = Seed> {
    let numbers = (0..20_000_000i64, 0..40u32, 0..6u8, 0..3usize, 0..4usize, 0..4u32);
    (numbers, 0..5_000u32).prop_map(|((millis, order, webhook, event, result, retry), spent)| Seed {
        // Some at the very same time.
        millis: if millis % 5 == 0 { 7_200_000 } else { millis },
        order,
        webhook,
        event,
        result,
        retry,
        spent,
    })
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    prop::collection::vec(seed(), 0..120)
}

fn filter() -> impl Strategy<Value = Filter> {
    let time = || {
        prop::option::weighted(
            0.2,
            (0..20_000_000i64).prop_map(|at| Timestamp::from_millis(START + at)),
        )
    };
    let facets = (
        prop::option::weighted(0.3, 0..6u8),
        prop::option::weighted(0.3, 0..3usize),
        prop::option::weighted(0.3, 0..4usize),
        prop::option::weighted(0.3, prop_oneof![Just(Retry::Any), (0..4u32).prop_map(Retry::Number)]),
        prop::option::weighted(0.2, prop::sample::select(vec![200u16, 404, 503, 410])),
        prop::option::weighted(0.2, prop::sample::subsequence(vec!["acme", "shop", "nobody"], 0..3)),
    );
    let terms = (
        prop::option::weighted(0.2, 0..40u32),
        prop::option::weighted(0.1, 0..40u32),
        prop::option::weighted(0.2, 0..4u32),
    );
    (facets, terms, time(), time()).prop_map(|(facets, (order, transaction, tracking), from, to)| {
        let (webhook, event, result, retry, status_code, accounts) = facets;
        Filter {
            accounts: accounts.map(|names| names.iter().map(|name| AccountId::new(name).unwrap()).collect()),
            webhook: webhook.map(|number| WebhookId::new(&format!("wh_{number}")).unwrap()),
            endpoint: webhook
                .filter(|number| number.is_multiple_of(2))
                .map(|number| format!("https://m.example/{number}")),
            event: event.map(|event| EventType::ALL[event]),
            result: result.map(|result| OutcomeResult::ALL[result]),
            retry,
            status_code,
            order_id: order.map(|order| order.to_string()),
            transaction_id: transaction.map(|order| format!("{order}_1")),
            tracking: tracking.map(|number| format!("T{number}")),
            from,
            to,
        }
    })
}

fn texts<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Vec<String> {
    let mut texts: Vec<String> = outcomes
        .into_iter()
        .map(|outcome| serde_json::to_string(outcome).unwrap())
        .collect();
    texts.sort();
    texts
}

fn dump(index: &Index) -> Vec<(Key, String)> {
    let entries = index.all(&Filter::default(), 50);
    entries
        .iter()
        .map(|entry| (entry.key, entry.document().get().to_owned()))
        .collect()
}

fn documents(entries: &[Entry]) -> Vec<String> {
    let mut texts: Vec<String> = entries.iter().map(|entry| entry.document().get().to_owned()).collect();
    texts.sort();
    texts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_answered_is_what_looking_at_every_outcome_finds(seeds in seeds(), filter in filter(), limit in 1..30usize) {
        let index = Index::of(&seeds);
        let outcomes: Vec<(Outcome, Timestamp)> = seeds.iter().map(|seed| (seed.outcome(), seed.date())).collect();
        let asked: Vec<&Outcome> =
            outcomes.iter().filter(|(outcome, date)| filter.matches(outcome, *date)).map(|(outcome, _)| outcome).collect();
        let found = index.all(&filter, limit);
        prop_assert!(found.windows(2).all(|pair| pair[0].key > pair[1].key), "newest first");
        prop_assert_eq!(documents(&found), texts(asked.iter().copied()));
        let stats = index.stats(&filter);
        let count = |result| asked.iter().filter(|outcome| outcome.result == result).count() as u64;
        prop_assert_eq!(stats.all.counts.total, asked.len() as u64);
        prop_assert_eq!(stats.all.counts.success, count(OutcomeResult::Success));
        prop_assert_eq!(stats.all.counts.skipped, count(OutcomeResult::Skipped));
        prop_assert_eq!(stats.by_hour.iter().map(|hour| hour.summary.counts.total).sum::<u64>(), asked.len() as u64);
        prop_assert_eq!(stats.by_event.iter().map(|event| event.summary.counts.total).sum::<u64>(), asked.len() as u64);
    }

    #[test]
    fn a_cursor_walks_over_every_row_once_whatever_comes_meanwhile(
        seeds in seeds(), later in prop::collection::vec(seed(), 1..60), filter in filter(), limit in 1..10usize
    ) {
        let mut index = Index::of(&seeds);
        let before = documents(&index.all(&filter, 1_000));
        let (mut keys, mut texts, mut after) = (Vec::new(), Vec::new(), None);
        let mut later = later.chunks(5);
        loop {
            let (entries, next, _) = index.page(&filter, after, limit);
            keys.extend(entries.iter().map(|entry| entry.key));
            texts.extend(documents(&entries));
            if let Some(more) = later.next() {
                index.add(more);
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let once: BTreeSet<_> = keys.iter().collect();
        prop_assert_eq!(once.len(), keys.len(), "no row twice");
        texts.sort();
        let mut rest = texts.iter();
        for document in &before {
            prop_assert!(rest.any(|text| text == document), "{} is missing", document);
        }
    }

    #[test]
    fn what_is_followed_comes_once_each(seeds in seeds(), later in seeds(), filter in filter(), limit in 1..10usize) {
        let mut index = Index::of(&seeds);
        let (_, _, mut mark) = index.page(&filter, None, limit);
        let (mut found, mut chunks) = (Vec::new(), later.chunks(7));
        loop {
            let more = chunks.next();
            index.add(more.unwrap_or_default());
            let (entries, next, has_more) = index.added(&filter, mark, limit);
            prop_assert!(entries.len() <= limit);
            found.extend(entries);
            mark = next.to_string().parse().unwrap();
            if more.is_none() && !has_more {
                break;
            }
        }
        let asked = later.iter().filter(|seed| filter.matches(&seed.outcome(), seed.date()));
        let asked: Vec<Outcome> = asked.map(|seed| seed.outcome()).collect();
        prop_assert_eq!(documents(&found), texts(&asked));
    }

    #[test]
    fn pruning_leaves_the_newest_within_the_bounds_and_counts_them_alone(
        seeds in seeds(), later in seeds(), max_rows in 0..100u64, age in 0..20_000_000i64
    ) {
        let mut index = Index::of(&seeds);
        let bounds = Bounds { max_age: Duration::from_secs(3_600), max_rows };
        let now = Timestamp::from_millis(START + age);
        while index.writer.prune(bounds, now).unwrap() {}
        index.add(&later);
        while index.writer.prune(bounds, now).unwrap() {}
        let left = index.all(&Filter::default(), 1_000);
        let mut young: Vec<Timestamp> = seeds.iter().chain(&later).map(|seed| seed.date()).collect();
        young.retain(|date| date.as_millis() >= now.as_millis() - 3_600_000);
        young.sort_by_key(|date| std::cmp::Reverse(*date));
        young.truncate(usize::try_from(max_rows).unwrap());
        prop_assert_eq!(left.iter().map(Entry::date).collect::<Vec<_>>(), young);
        prop_assert_eq!(index.writer.rows, left.len() as u64);
        prop_assert_eq!(index.stats(&Filter::default()).all.counts.total, left.len() as u64);
        let by_order = Filter { order_id: Some("1".to_owned()), ..Filter::default() };
        let orders = left.iter().filter(|entry| entry.outcome().unwrap().order_id.as_deref() == Some("1"));
        prop_assert_eq!(index.all(&by_order, 7).len(), orders.count());
    }

    #[test]
    fn an_index_with_wider_bounds_has_what_it_dropped_again_once_all_is_read_again(
        seeds in seeds(), narrow in 0..100u64, hours in 0..6u64, widened in any::<[bool; 2]>()
    ) {
        let bounds = |hours: u64, max_rows| Bounds { max_age: Duration::from_secs(hours * 3_600), max_rows };
        let now = Timestamp::from_millis(START + 20_000_000);
        let mut index = Index::of(&seeds);
        index.writer.set_bounds(bounds(hours, narrow)).unwrap();
        while index.writer.prune(bounds(hours, narrow), now).unwrap() {}
        let wide = bounds(if widened[0] { 48 } else { hours }, if widened[1] { 1_000 } else { narrow });
        prop_assert_eq!(index.writer.set_bounds(wide).unwrap(), widened != [false; 2]);
        prop_assert_eq!(index.writer.reached().unwrap().is_empty(), widened != [false; 2] || seeds.is_empty());
        index.next = [0; 3];
        index.add(&seeds);
        while index.writer.prune(wide, now).unwrap() {}

        let mut fresh = Index::of(&seeds);
        while fresh.writer.prune(wide, now).unwrap() {}
        prop_assert_eq!(dump(&index), dump(&fresh));
        prop_assert_eq!(index.writer.rows, fresh.writer.rows);
        prop_assert_eq!(index.stats(&Filter::default()), fresh.stats(&Filter::default()));
        let by_order = Filter { order_id: Some("1".to_owned()), ..Filter::default() };
        prop_assert_eq!(index.all(&by_order, 7).len(), fresh.all(&by_order, 7).len());
        prop_assert!(!index.writer.set_bounds(wide).unwrap(), "the same bounds are not wider");
    }

    #[test]
    fn an_index_that_is_built_again_in_other_batches_is_equal(seeds in seeds(), size in 1..20usize) {
        let whole = Index::of(&seeds);
        let mut parts = Index::new();
        for partition in 0..3i32 {
            // A partition at a time: the order in which partitions are read is never the same.
            let mut batch = Batch::default();
            let mut next = [0i64; 3];
            for (at, seed) in seeds.iter().enumerate() {
                let its = (seed.order as usize + at) % 3;
                let offset = next[its];
                next[its] += 1;
                if i32::try_from(its).unwrap() == partition {
                    batch.take(seed.record(partition, offset)).unwrap();
                }
                if batch.len() == size {
                    parts.writer.write(&batch).unwrap();
                    batch.clear();
                }
            }
            parts.writer.write(&batch).unwrap();
        }
        prop_assert_eq!(dump(&parts), dump(&whole));
        prop_assert_eq!(parts.stats(&Filter::default()), whole.stats(&Filter::default()));
    }
}

#[test]
fn a_record_that_is_taken_twice_is_there_once() {
    let mut index = Index::new();
    for _ in 0..2 {
        let mut batch = Batch::default();
        batch.take(Seed::PLAIN.record(0, 7)).unwrap();
        index.writer.write(&batch).unwrap();
    }
    assert_eq!(index.all(&Filter::default(), 10).len(), 1);
    assert_eq!(index.writer.rows, 1);
}

#[test]
fn positions_whose_keys_fall_together_have_rows_of_their_own() {
    let mut index = Index::new();
    let mut batch = Batch::default();
    for (partition, offset) in [(0, 1), (64, 1), (0, 65_537), (128, 1)] {
        batch.take(Seed::PLAIN.record(partition, offset)).unwrap();
    }
    index.writer.write(&batch).unwrap();
    assert_eq!(index.all(&Filter::default(), 10).len(), 4);
}

#[test]
fn what_is_no_outcome_is_passed_over_and_its_offset_is_kept() {
    let mut batch = Batch::default();
    let mut strange = Seed::PLAIN.outcome();
    strange.schema = "postrider.outcome.v9".into();
    let good = Seed::PLAIN.record(0, 0);
    let mut cut = good.clone();
    cut.value = cut.value.map(|value| value.slice(..40));
    cut.offset = postrider_types::Offset(1);
    let mut empty = good.clone();
    (empty.value, empty.offset) = (None, postrider_types::Offset(2));
    assert!(batch.take(good).is_ok());
    assert!(batch.take(cut).is_err());
    assert!(batch.take(empty).is_err());
    assert!(batch.take(record(&strange, Seed::PLAIN.date(), 0, 3)).is_err());
    let mut index = Index::new();
    index.writer.write(&batch).unwrap();
    assert_eq!(index.writer.rows, 1);
    let reached = index.writer.reached().unwrap();
    assert_eq!(reached[&postrider_types::Partition(0)].next, postrider_types::Offset(4));
}

#[test]
fn a_delivery_is_told_in_order_with_its_replays_after_it() {
    let attempt = |retry: u32, replay: Option<&str>, millis: i64| {
        let seed = Seed {
            retry,
            millis,
            ..Seed::PLAIN
        };
        let mut outcome = seed.outcome();
        outcome.replay = replay.map(|id| id.to_owned().into());
        (outcome, seed.date())
    };
    let told = [
        attempt(0, None, 0),
        attempt(1, None, 500),
        attempt(0, Some("z"), 100),
        attempt(1, Some("z"), 50_000_000),
        attempt(0, Some("a"), 9_000),
    ];
    let mut index = Index::new();
    let mut batch = Batch::default();
    for (at, which) in [3, 4, 1, 0, 2].into_iter().enumerate() {
        let (outcome, date) = &told[which];
        let offset = i64::try_from(at).unwrap();
        batch.take(record(outcome, *date, 0, offset)).unwrap();
    }
    index.writer.write(&batch).unwrap();
    let session = Session::of(&index.writer.connection);
    let id = told[0].0.delivery_id.clone();
    let found = query::delivery(&session, &id, &Filter::default()).unwrap();
    let found: Vec<Outcome> = found.iter().map(|entry| entry.outcome().unwrap()).collect();
    assert_eq!(found, told.map(|(outcome, _)| outcome));
    let others = Filter {
        accounts: Some(vec![AccountId::new("acme").unwrap()]),
        ..Filter::default()
    };
    assert!(query::delivery(&session, &id, &others).unwrap().is_empty());
}

#[test]
fn endpoints_are_those_of_the_accounts() {
    let seeds = [0, 1, 2, 3].map(|webhook| Seed { webhook, ..Seed::PLAIN });
    let index = Index::of(&seeds);
    let session = Session::of(&index.writer.connection);
    let acme = Filter {
        accounts: Some(vec![AccountId::new("acme").unwrap()]),
        ..Filter::default()
    };
    let endpoints = query::endpoints(&session, &acme).unwrap();
    assert_eq!(endpoints, ["https://m.example/0", "https://m.example/2"]);
}

#[test]
fn a_file_of_another_layout_or_a_damaged_one_is_made_anew_and_a_foreign_one_is_kept_beside() {
    let index = Index::of(&[Seed::PLAIN]);
    let path = index.folder.path().join("logs.db");
    let open = || Writer::open(&path, "results").unwrap();
    index.writer.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(index.writer);
    let (writer, unusable) = open();
    assert_eq!(
        unusable.unwrap().to_string(),
        "the file has layout 99, this release has 1"
    );
    assert_eq!(writer.rows, 0);
    drop(writer);
    let mut bytes = std::fs::read(&path).unwrap();
    for byte in &mut bytes[100..4_000] {
        *byte = 0xa5;
    }
    std::fs::write(&path, &bytes).unwrap();
    let unusable = open().1.unwrap().to_string();
    assert!(unusable.contains("damaged"), "{unusable}");
    std::fs::write(
        &path,
        "a letter to a friend, longer than the head of a database, and not one",
    )
    .unwrap();
    let unusable = open().1.unwrap().to_string();
    assert!(unusable.contains(".not-an-index"), "{unusable}");
    let kept = std::fs::read_to_string(index.folder.path().join("logs.db.not-an-index")).unwrap();
    assert!(kept.starts_with("a letter to a friend"));
}

#[test]
fn an_index_of_another_topic_is_emptied() {
    let index = Index::of(&[Seed::PLAIN]);
    let path = index.folder.path().join("logs.db");
    drop(index.writer);
    let (writer, _) = Writer::open(&path, "results").unwrap();
    assert_eq!(writer.rows, 1);
    drop(writer);
    let (writer, _) = Writer::open(&path, "other-results").unwrap();
    assert_eq!(writer.rows, 0);
    assert!(writer.reached().unwrap().is_empty());
}

#[test]
fn of_two_who_write_one_index_the_earlier_is_told() {
    let mut index = Index::new();
    let path = index.folder.path().join("logs.db");
    let _other = Writer::open(&path, "results").unwrap();
    let mut batch = Batch::default();
    batch.take(Seed::PLAIN.record(0, 0)).unwrap();
    let error = index.writer.write(&batch).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
}
