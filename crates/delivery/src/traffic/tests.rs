use std::collections::HashSet;
use std::sync::Arc;

use postrider_types::outcome::Issuer;
use postrider_types::{Clock, Losses, Successes, Timestamp, Undelivered, Webhook};
use prometheus::Registry;
use proptest::prelude::*;
use rand::SeedableRng;

use super::*;
use crate::metrics::Metrics;
use crate::samples;
use crate::schedule::Schedule;
use crate::verdict::Finding;

/// A minute after the samples' event.
const NOW: Timestamp = Timestamp::from_millis(samples::EVENT_TIME.as_millis() + 60_000);

/// A stage whose requests the test answers itself.
struct Desk {
    traffic: Traffic,
    undelivered: Undelivered,
    losses: Losses,
    now: Instant,
    offered: i64,
    /// Departures under way, oldest first.
    flying: VecDeque<Departure>,
    /// Settled records that were taken.
    taken: Vec<Settled>,
}

impl Desk {
    fn new(config: &Config) -> Self {
        let metrics = Metrics::register(&Registry::new(), 0).unwrap();
        let issuer = Issuer {
            instance: "postrider-0".into(),
            max_retries: 10,
            traced: false,
        };
        let schedule = Arc::new(Schedule::new(&config.retry).unwrap());
        let clock = Clock::starting_at(NOW);
        let undelivered = Undelivered::new(clock);
        let seeds = foldhash::HashMap::default();
        let standings = Standings::new(
            config,
            Arc::clone(&issuer.instance),
            metrics.clone(),
            seeds,
            Successes::default(),
        );
        let parking = Parking::new(schedule, issuer, clock, metrics, 1 << 20);
        Self {
            traffic: Traffic::new(
                config,
                standings,
                parking,
                undelivered.clone(),
                StdRng::seed_from_u64(1),
            ),
            undelivered,
            losses: Losses::default(),
            now: Instant::now(),
            offered: 0,
            flying: VecDeque::new(),
            taken: Vec::new(),
        }
    }

    fn offer(&mut self, webhook: &Arc<Webhook>, kind: Kind) {
        self.offered += 1;
        let mut delivery = samples::delivery(webhook, self.offered, &self.losses);
        delivery.due = (kind != Kind::Fresh).then_some(Timestamp::from_millis(0));
        if kind == Kind::Replay {
            delivery.progress.trigger = Trigger::Replay;
        }
        self.traffic.offer(delivery, self.now);
    }

    /// Takes what settled, and starts what may be.
    fn start(&mut self) -> usize {
        self.flush();
        self.start_unless_stuck()
    }

    fn flush(&mut self) {
        self.taken.extend(self.traffic.settled().drain(..));
    }

    fn start_unless_stuck(&mut self) -> usize {
        let before = self.flying.len();
        while let Some(departure) = self.traffic.start(self.now) {
            self.flying.push_back(departure);
        }
        self.flying.len() - before
    }

    /// Ends a request that took `spent`.
    fn end(&mut self, which: usize, finding: Finding, spent: Duration) {
        let Departure { seat, delivery } = self.flying.remove(which).unwrap();
        let made = Made {
            share: delivery.share,
            resolution: Resolution::default(),
            webhook: delivery.webhook,
            finding,
            ended: Timestamp::from_millis(0),
            endpoint_time: spent,
            tally: None,
        };
        self.traffic.finish(&seat, Some(made), self.now);
    }

    /// How old the oldest delivery is, in seconds, unless nothing is owed.
    fn age(&self) -> Option<u64> {
        let ages = self.undelivered.ages();
        ages.first().map(|(_, age)| age.as_secs())
    }

    /// What settled: offset and why it was parked.
    fn take(&mut self) -> Vec<(i64, Option<ParkCause>)> {
        self.flush();
        let cause = |record: &Settled| record.resolutions[0].parked.as_ref().map(|parked| parked.waiting.cause);
        let taken = self.taken.drain(..);
        taken.map(|record| (record.position.offset.0, cause(&record))).collect()
    }

    /// Lets the lane go through as many requests as it needs for an estimate.
    fn learn(&mut self, webhook: &Arc<Webhook>, requests: usize, spent: Duration) {
        for _ in 0..requests {
            self.offer(webhook, Kind::Fresh);
            assert_eq!(self.start(), 1);
            self.end(0, Finding::Well, spent);
        }
        assert_eq!(self.take().len(), requests);
    }

    fn parked(&mut self) -> usize {
        self.take()
            .iter()
            .filter(|(_, cause)| *cause == Some(ParkCause::LaneSlow))
            .count()
    }
}

const MS: Duration = Duration::from_millis(1);

fn hook(id: &str) -> Arc<Webhook> {
    Arc::new(samples::webhook(id, "https://merchant.example/"))
}

#[test]
fn at_fifty_milliseconds_1280_may_wait_and_the_rest_is_parked() {
    let (mut desk, webhook) = (Desk::new(&Config::default()), hook("wh_1"));
    desk.learn(&webhook, 64, MS * 50);
    for _ in 0..3_000 {
        desk.offer(&webhook, Kind::Fresh);
        if desk.flying.len() < 32 {
            desk.start();
        }
        assert!(desk.take().iter().all(|(_, cause)| *cause == Some(ParkCause::LaneSlow)));
    }
    assert_eq!((desk.flying.len(), desk.traffic.waiting()), (32, 1_280));
}

#[test]
fn a_lane_that_could_empty_a_full_queue_in_time_is_filled_up_and_the_source_waits() {
    let (mut desk, webhook) = (Desk::new(&Config::default()), hook("wh_1"));
    desk.learn(&webhook, 64, MS * 31);
    let mut read = 0;
    while desk.traffic.accepts(Kind::Fresh) {
        desk.offer(&webhook, Kind::Fresh);
        read += 1;
    }
    // Its half of 4,096, and three times as much aside.
    assert_eq!((read, desk.traffic.waiting(), desk.parked()), (8_192, 8_192, 0));
    assert!(desk.traffic.accepts(Kind::Retry));
    desk.traffic.look(desk.now);
    assert_eq!(desk.parked(), 0);
}

#[test]
fn a_lane_without_history_queues_and_is_relieved_from_the_back_once_its_pace_is_known() {
    let (mut desk, webhook) = (Desk::new(&Config::default()), hook("wh_1"));
    for _ in 0..1_000 {
        desk.offer(&webhook, Kind::Fresh);
    }
    assert_eq!((desk.start(), desk.parked()), (32, 0));
    for _ in 0..2 {
        desk.now += MS * 400;
        for _ in 0..32 {
            desk.end(0, Finding::Well, MS * 400);
        }
        desk.start();
    }
    assert_eq!(desk.take().len(), 64);
    // 400 ms and 32 at once: 160 within two seconds.
    desk.start();
    desk.traffic.look(desk.now);
    let parked: Vec<i64> = desk.take().iter().map(|(offset, _)| *offset).collect();
    assert_eq!((desk.traffic.waiting(), parked.len()), (160, 744));
    assert_eq!(parked.iter().min(), Some(&257), "those that came first stay");
}

#[test]
fn in_a_lane_that_hangs_what_has_waited_long_enough_is_parked_and_nothing_more_is_taken() {
    let config = Config::default();
    let (mut desk, webhook, other) = (Desk::new(&config), hook("wh_1"), hook("wh_2"));
    for _ in 0..40 {
        desk.offer(&webhook, Kind::Fresh);
    }
    assert_eq!(desk.start(), 32);
    desk.now += MS * 1_500;
    desk.offer(&webhook, Kind::Retry);
    desk.offer(&other, Kind::Fresh);
    assert_eq!(desk.start(), 1);
    desk.now += MS * 600;
    desk.traffic.look(desk.now);
    assert_eq!(
        (desk.parked(), desk.traffic.waiting()),
        (8, 1),
        "the young one may still be lucky"
    );
    desk.offer(&webhook, Kind::Fresh);
    assert_eq!(desk.parked(), 1);
    desk.end(0, Finding::Failing, MS * 2_100);
    assert_eq!(desk.start(), 1);
    desk.offer(&webhook, Kind::Fresh);
    assert_eq!((desk.parked(), desk.traffic.waiting()), (0, 1));
}

#[test]
fn of_a_slow_lanes_room_each_kind_keeps_its_half() {
    let (mut desk, webhook) = (Desk::new(&Config::default()), hook("wh_1"));
    desk.learn(&webhook, 64, MS * 100);
    for kind in Kind::ALL {
        for _ in 0..1_000 {
            desk.offer(&webhook, kind);
        }
        desk.take();
    }
    // 640 fit. The fresh ones came first and took it all, the retries half again; then it is evened out.
    desk.traffic.look(desk.now);
    let load = desk.traffic.lanes.load(&webhook.id);
    assert_eq!((load.waiting[Kind::Fresh], load.waiting[Kind::Retry]), (320, 320));
    assert_eq!(load.waiting[Kind::Replay], 0, "what is live leaves no room for replays");
}

#[test]
fn replays_that_find_no_room_are_parked_and_hold_up_no_retry_behind_them() {
    let (mut desk, webhook) = (Desk::new(&small()), hook("wh_1"));
    for _ in 0..20 {
        desk.offer(&webhook, Kind::Replay);
        desk.start();
    }
    // Half of its three places, rounded up, and half of its eight waiting ones.
    assert_eq!((desk.flying.len(), desk.traffic.waiting(), desk.parked()), (2, 4, 14));
    assert!(desk.traffic.accepts(Kind::Retry));
    desk.offer(&webhook, Kind::Fresh);
    assert_eq!(desk.start(), 1, "a live one finds a place at once");
    assert_eq!(desk.flying.back().unwrap().seat.kind, Kind::Fresh);
}

#[test]
fn a_rate_limit_counts_for_the_wait() {
    let mut desk = Desk::new(&Config::default());
    let mut webhook = samples::webhook("wh_1", "https://merchant.example/");
    webhook.rate_limit_per_second = Some(10);
    let webhook = Arc::new(webhook);
    for _ in 0..100 {
        desk.offer(&webhook, Kind::Fresh);
        desk.start();
    }
    assert_eq!((desk.flying.len(), desk.traffic.waiting()), (1, 20));
    assert!(
        desk.take()
            .iter()
            .all(|(_, cause)| *cause == Some(ParkCause::RateLimit))
    );
    let mut sent = 0;
    for _ in 0..1_999 {
        desk.now += MS;
        sent += desk.start();
    }
    assert_eq!(sent, 19);
    assert!(
        desk.traffic
            .next_moment()
            .is_some_and(|moment| moment <= desk.now + MS * 100)
    );
}

#[derive(Debug, Clone)]
enum Step {
    Offer {
        webhook: usize,
        kind: Kind,
    },
    Start,
    End {
        which: usize,
        finding: Finding,
        millis: u64,
    },
    Lose {
        which: usize,
    },
    Take,
    Wait {
        millis: u64,
    },
    Enable {
        webhook: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let finding = prop_oneof![
        6 => Just(Finding::Failing),
        4 => Just(Finding::Well),
        1 => Just(Finding::Unusable),
        1 => Just(Finding::Unknown),
        1 => Just(Finding::Gone),
    ];
    let step = prop_oneof![
        12 => (0..4_usize, prop::sample::select(Kind::ALL.to_vec())).prop_map(|(webhook, kind)| Step::Offer { webhook, kind }),
        6 => Just(Step::Start),
        8 => (any::<usize>(), finding, 0..3_000_u64).prop_map(|(which, finding, millis)| Step::End { which, finding, millis }),
        1 => any::<usize>().prop_map(|which| Step::Lose { which }),
        4 => Just(Step::Take),
        4 => (0..1_500_u64).prop_map(|millis| Step::Wait { millis }),
        1 => (0..4_usize).prop_map(|webhook| Step::Enable { webhook }),
    ];
    prop::collection::vec(step, 0..400)
}

fn small() -> Config {
    Config {
        max_in_flight: 6,
        max_in_flight_per_webhook: 3,
        max_waiting_per_webhook: 8,
        circuit: crate::config::CircuitConfig {
            failures: 3,
            open: Duration::from_secs(1),
            max_open: Duration::from_secs(4),
        },
        ..Config::default()
    }
}

proptest! {
    #[test]
    fn every_delivery_departs_or_settles_exactly_once_and_none_while_another_cannot_be_recorded(steps in steps()) {
        let mut desk = Desk::new(&small());
        let mut webhooks: Vec<Webhook> = (0..4).map(|n| samples::webhook(&format!("wh_{n}"), "https://m.example/")).collect();
        webhooks[3].rate_limit_per_second = Some(3);
        let (mut seen, mut lost) = (HashSet::new(), 0);
        for step in steps {
            match step {
                Step::Offer { webhook, kind } if desk.traffic.accepts(kind) => {
                    desk.offer(&Arc::new(webhooks[webhook].clone()), kind);
                }
                Step::Start => {
                    let stuck = !desk.traffic.settled.is_empty();
                    let started = desk.start_unless_stuck();
                    prop_assert!(started == 0 || !stuck);
                }
                Step::End { which, finding, millis } if !desk.flying.is_empty() => {
                    desk.end(which % desk.flying.len(), finding, MS * u32::try_from(millis).unwrap());
                }
                Step::Lose { which } if !desk.flying.is_empty() => {
                    let departure = desk.flying.remove(which % desk.flying.len()).unwrap();
                    desk.traffic.finish(&departure.seat, None, desk.now);
                    lost += 1;
                }
                Step::Take => for (offset, _) in desk.take() {
                    prop_assert!(seen.insert(offset), "{offset} settled twice");
                },
                Step::Wait { millis } => {
                    desk.now += MS * u32::try_from(millis).unwrap();
                    desk.traffic.look(desk.now);
                }
                Step::Enable { webhook } => webhooks[webhook].version += 1,
                _ => {}
            }
            prop_assert!(desk.flying.len() <= 6);
            let probes = desk.flying.iter().filter(|one| one.seat.probe.is_some());
            prop_assert!(probes.clone().all(|one| one.seat.kind != Kind::Fresh));
        }
        for (offset, _) in desk.take() {
            prop_assert!(seen.insert(offset));
        }
        let known = seen.len() + lost + desk.flying.len() + desk.traffic.waiting();
        prop_assert_eq!(i64::try_from(known).unwrap(), desk.offered);
        prop_assert_eq!(desk.losses.count(), lost as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_under_way_or_is_parked_is_owed_until_it_ends() {
    let (config, webhook) = (Config::default(), Arc::new(samples::webhook("wh", "http://127.0.0.1/")));
    let mut desk = Desk::new(&config);
    assert_eq!(desk.age(), None);
    desk.offer(&webhook, Kind::Fresh);
    assert_eq!(desk.age(), Some(60));
    desk.start();
    assert_eq!(desk.age(), Some(60));
    desk.end(0, Finding::Well, Duration::from_millis(1));
    assert_eq!(desk.age(), None);
    desk.offer(&webhook, Kind::Fresh);
    assert_eq!(desk.traffic.wind_up(desk.now), 1);
    assert_eq!(desk.age(), None);
}

#[tokio::test(start_paused = true)]
async fn a_parked_delivery_is_owed_until_it_comes_back_and_ends_and_a_replayed_one_tells_nothing() {
    let (config, webhook) = (Config::default(), Arc::new(samples::webhook("wh", "http://127.0.0.1/")));
    let mut desk = Desk::new(&config);
    desk.offer(&webhook, Kind::Replay);
    assert_eq!(desk.age(), None);
    desk.start();
    desk.end(0, Finding::Well, Duration::from_millis(1));
    let delivery = samples::delivery(&webhook, 7, &desk.losses);
    desk.traffic.park(delivery, ParkCause::LaneSlow, desk.now);
    assert_eq!(desk.age(), Some(60));
    desk.flush();
    let parked = desk
        .taken
        .iter()
        .find_map(|record| record.resolutions[0].parked.as_ref());
    let mut back = samples::delivery(&webhook, 7, &desk.losses);
    let due = parked.unwrap().waiting.due;
    back.due = Some(due);
    desk.taken.clear();
    let since = back.event.time();
    desk.traffic.offer(back, desk.now);
    // Whoever reads it says so.
    desk.undelivered.came_back(&webhook.id, since, due);
    assert_eq!(desk.age(), Some(60));
    assert_eq!(desk.start(), 1);
    desk.end(0, Finding::Well, Duration::from_millis(1));
    assert_eq!(desk.age(), None);
}
