//! What an event costs in routing, by how many accounts the table holds and how many of them events ask
//! for. Each account has the same ten webhooks, so the first number alone should make no difference. The
//! second does: ten webhooks asked again and again are a smaller working set than ten thousand.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use postrider_benches::operations::filter;
use postrider_benches::sample::BODY;
use postrider_routing::{Filter, Table};
use postrider_types::{
    AccountId, Event, EventId, EventType, Facts, Offset, Origin, Partition, Timestamp, Webhook, WebhookId,
};
use serde_json::Value;

const PER_ACCOUNT: usize = 10;

fn account(i: usize) -> AccountId {
    AccountId::new(&format!("account-{i}")).expect("fits the alphabet")
}

fn webhook(account_number: usize, i: usize, filter: Option<&Value>) -> Webhook {
    let id = WebhookId::new(&format!("wh_{account_number}_{i}")).expect("fits the alphabet");
    let mut webhook = Webhook::new(id, "https://merchant.example/hooks", EventType::ALL.to_vec());
    webhook.account_id = account(account_number);
    webhook.filter = filter.cloned();
    webhook
}

fn table(accounts: usize, filter: Option<&Value>) -> Table {
    let webhooks = (0..accounts).flat_map(|account| (0..PER_ACCOUNT).map(move |i| webhook(account, i, filter)));
    Table::build(webhooks.collect()).expect("has no fault")
}

fn event(account: AccountId) -> Event {
    let origin = Origin {
        topic: "tracking".into(),
        partition: Partition(0),
        offset: Offset(1),
        timestamp: Timestamp::from_millis(1_763_805_600_000),
    };
    Event {
        id: EventId::from(&origin),
        origin,
        event_type: EventType::TrackingUpdate,
        account,
        facts: Facts::default(),
        key: None,
        headers: Vec::new(),
        body: BODY.into(),
    }
}

/// How many accounts the table holds, and how many of them the events go round.
///
/// The two are varied apart: the first tests the index, the second widens the working set.
const SHAPES: [(usize, usize); 4] = [(1, 1), (10_000, 1), (1_000, 1_000), (10_000, 1_000)];

fn matches(criterion: &mut Criterion, name: &str, filter: Option<&Value>) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for (accounts, asked) in SHAPES {
        let table = table(accounts, filter);
        // As many events in every shape, so that their bodies weigh the same.
        let events: Vec<Event> = (0..1_000)
            .map(|i| event(account(i % asked * 7_919 % accounts)))
            .collect();
        let mut next = events.iter().cycle();
        let id = BenchmarkId::new(
            format!("{}_webhooks", accounts * PER_ACCOUNT),
            format!("{asked}_accounts_asked"),
        );
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                let matches = table.matches(black_box(next.next().expect("cycles")));
                assert_eq!(matches.deliverable.len(), PER_ACCOUNT);
                matches
            });
        });
    }
    group.finish();
}

fn one_filter(criterion: &mut Criterion) {
    let filter = Filter::parse(&filter()).expect("has no fault");
    let payload: Value = serde_json::from_str(BODY).expect("is JSON");
    criterion.bench_function("one_filter", |bencher| {
        bencher.iter(|| filter.matches(black_box(&payload)))
    });
    criterion.bench_function("read_body", |bencher| {
        bencher.iter(|| serde_json::from_str::<Value>(black_box(BODY)));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    matches(&mut criterion, "matches_without_filters", None);
    matches(&mut criterion, "matches_with_filters", Some(&filter()));
    one_filter(&mut criterion);
    criterion.final_summary();
}
