use postrider_types::{Losses, Resolution};
use prometheus::{Registry, TextEncoder};

use super::*;
use crate::samples;

const START: Timestamp = Timestamp::from_millis(1_763_805_700_000);
const DAY: Duration = Duration::from_secs(86_400);

struct Desk {
    standings: Standings,
    successes: Successes,
    registry: Registry,
    now: Instant,
    at: Timestamp,
}

impl Desk {
    fn new(seeds: HashMap<WebhookId, Timestamp>) -> Self {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, 0).unwrap();
        let config = Config {
            circuit: CircuitConfig {
                failures: 3,
                ..CircuitConfig::default()
            },
            ..Config::default()
        };
        let successes = Successes::default();
        Self {
            standings: Standings::new(&config, "postrider-0".into(), metrics, seeds, successes.clone()),
            successes,
            registry,
            now: Instant::now(),
            at: START,
        }
    }

    fn wait(&mut self, time: Duration) {
        (self.now, self.at) = (self.now + time, self.at.after(time));
    }

    /// An attempt that just ended.
    fn find(&mut self, webhook: &Arc<Webhook>, finding: Finding) -> Effects {
        self.standings.meet(webhook, self.now);
        let share = samples::delivery(webhook, 1, &Losses::default()).share;
        let made = Made {
            share,
            resolution: Resolution::default(),
            webhook: Arc::clone(webhook),
            finding,
            ended: self.at,
            endpoint_time: Duration::from_millis(50),
            tally: None,
        };
        self.standings.conclude(&made, None, 1, self.now)
    }

    fn is_disabled(&mut self, webhook: &Arc<Webhook>) -> bool {
        self.standings.meet(webhook, self.now).disabled().is_some()
    }

    fn open_circuits(&self) -> String {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("postrider_circuits_open "));
        line.unwrap().to_owned()
    }
}

fn hook(id: &str) -> Arc<Webhook> {
    Arc::new(samples::webhook(id, "https://merchant.example/"))
}

fn edited(webhook: &Webhook, edit: impl FnOnce(&mut Webhook)) -> Arc<Webhook> {
    let mut webhook = webhook.clone();
    edit(&mut webhook);
    Arc::new(webhook)
}

#[test]
fn a_webhook_that_another_instance_reaches_is_not_disabled_for_failing_here() {
    let (mut desk, webhook) = (Desk::new(HashMap::new()), hook("wh_1"));
    desk.find(&webhook, Finding::Failing);
    desk.wait(DAY * 4);
    desk.successes.note(&webhook.id, desk.at);
    desk.wait(DAY * 2);
    desk.find(&webhook, Finding::Failing);
    assert!(
        !desk.is_disabled(&webhook),
        "six days of failures here, two without a success anywhere"
    );
    desk.wait(DAY * 3);
    desk.find(&webhook, Finding::Failing);
    assert!(desk.is_disabled(&webhook));
}

#[test]
fn days_of_failures_disable_unless_a_success_came_between() {
    let (mut desk, webhook) = (Desk::new(HashMap::new()), hook("wh_1"));
    assert_eq!(desk.find(&webhook, Finding::Failing), Effects::default());
    desk.wait(DAY * 4);
    assert_eq!(desk.find(&webhook, Finding::Well), Effects::default());
    desk.wait(DAY);
    assert_eq!(desk.find(&webhook, Finding::Unusable).status_change, None);
    desk.wait(DAY * 5 - Duration::from_millis(1));
    assert_eq!(desk.find(&webhook, Finding::Unusable).status_change, None);
    desk.wait(Duration::from_millis(1));
    let effects = desk.find(&webhook, Finding::Unusable);
    assert_eq!(effects.clears, Some(Clears::Skipped(Disabled::Failing(DAY * 5))));
    let change = effects.status_change.unwrap();
    assert_eq!((change.reason.as_deref(), change.at), (Some("failing"), desk.at));
    assert_eq!(
        desk.find(&webhook, Finding::Gone),
        Effects::default(),
        "it is disabled once"
    );
}

#[test]
fn failures_from_before_a_webhook_was_enabled_again_are_not_held_against_it() {
    let webhook = hook("wh_1");
    let mut desk = Desk::new(HashMap::from_iter([(webhook.id.clone(), Timestamp::from_millis(0))]));
    let enabled = edited(&webhook, |webhook| webhook.updated_at = Some(START));
    assert_eq!(desk.find(&enabled, Finding::Failing).status_change, None);
    desk.wait(DAY * 5 - Duration::from_millis(1));
    assert_eq!(desk.find(&enabled, Finding::Failing).status_change, None);
    desk.wait(Duration::from_millis(1));
    assert!(desk.find(&enabled, Finding::Failing).status_change.is_some());
}

#[test]
fn a_clock_that_is_set_right_makes_no_days_of_a_moments_failures() {
    let (mut desk, webhook) = (Desk::new(HashMap::new()), hook("wh_1"));
    desk.at = Timestamp::from_millis(0);
    desk.find(&webhook, Finding::Failing);
    desk.at = START;
    assert_eq!(desk.find(&webhook, Finding::Failing).status_change, None);
    desk.wait(DAY * 5);
    assert!(desk.find(&webhook, Finding::Failing).status_change.is_some());
}

#[test]
fn what_is_said_of_a_webhook_is_younger_than_its_document_whatever_the_clocks_show() {
    let ahead = START.after(DAY);
    let webhook = edited(&hook("wh_1"), |webhook| webhook.updated_at = Some(ahead));
    let change = Desk::new(HashMap::new()).find(&webhook, Finding::Gone).status_change;
    assert!(change.is_some_and(|change| change.at > ahead));
}

#[test]
fn what_the_proxy_did_is_not_held_against_the_endpoint() {
    let webhook = hook("wh_1");
    let mut desk = Desk::new(HashMap::from_iter([(webhook.id.clone(), Timestamp::from_millis(0))]));
    for _ in 0..10 {
        assert_eq!(desk.find(&webhook, Finding::Unknown), Effects::default());
    }
    assert_eq!(desk.open_circuits(), "0");
    assert!(
        desk.find(&webhook, Finding::Failing).status_change.is_some(),
        "the seed counts"
    );
}

#[test]
fn an_opening_circuit_parks_what_waits_and_its_notice_names_the_account() {
    let (mut desk, webhook) = (Desk::new(HashMap::new()), hook("wh_1"));
    desk.find(&webhook, Finding::Failing);
    desk.find(&webhook, Finding::Unusable);
    desk.find(&webhook, Finding::Failing);
    let effects = desk.find(&webhook, Finding::Failing);
    assert_eq!(
        (effects.clears, desk.open_circuits().as_str()),
        (Some(Clears::Parked), "1")
    );
    let written = serde_json::to_value(&effects.notices[0]).unwrap();
    let message =
        "3 attempts in a row failed; deliveries are parked, and the next probe is sent in 30 s at the earliest";
    let expected = serde_json::json!({
        "schema": "postrider.notice.v1", "notice": "webhook.circuit_opened", "account_id": "default",
        "webhook_id": "wh_1", "delivery_id": null, "message": message,
        "at": "2025-11-22T10:01:40.000Z", "instance": "postrider-0",
    });
    assert_eq!(written, expected);
}

#[test]
fn an_open_circuit_ends_when_the_webhook_is_disabled_or_gets_another_url() {
    let mut desk = Desk::new(HashMap::new());
    let (gone, moved) = (hook("wh_gone"), hook("wh_moved"));
    for webhook in [&gone, &moved] {
        for _ in 0..3 {
            desk.find(webhook, Finding::Failing);
        }
    }
    assert_eq!(desk.open_circuits(), "2");
    desk.find(&gone, Finding::Gone);
    assert_eq!(desk.open_circuits(), "1");
    let elsewhere = edited(&moved, |webhook| webhook.url = "https://elsewhere.example/".into());
    assert!(desk.standings.meet(&elsewhere, desk.now).circuit.is_pristine());
    assert_eq!(desk.open_circuits(), "0");
    // What comes back late from the old endpoint says nothing about the new one.
    let late = {
        let share = samples::delivery(&moved, 1, &Losses::default()).share;
        Made {
            share,
            resolution: Resolution::default(),
            webhook: moved,
            finding: Finding::Gone,
            ended: desk.at,
            endpoint_time: Duration::ZERO,
            tally: None,
        }
    };
    assert_eq!(desk.standings.conclude(&late, None, 1, desk.now), Effects::default());
}

#[test]
fn only_a_newer_active_document_enables_again() {
    let mut desk = Desk::new(HashMap::new());
    let webhook = edited(&hook("wh_1"), |webhook| webhook.version = 3);
    desk.find(&webhook, Finding::Gone);
    let older = edited(&webhook, |webhook| {
        (webhook.version, webhook.description) = (2, "old".into())
    });
    let off = edited(&webhook, |webhook| (webhook.version, webhook.enabled) = (4, false));
    let copy = edited(&webhook, |_| {});
    for still in [&webhook, &older, &off, &copy] {
        assert!(desk.is_disabled(still));
    }
    assert!(!desk.is_disabled(&edited(&webhook, |webhook| webhook.version = 4)));
    assert!(
        desk.find(&webhook, Finding::Gone).status_change.is_some(),
        "and can be disabled again"
    );
}

#[test]
fn a_copy_that_still_says_active_after_the_disabling_must_have_been_heard_enables_too() {
    let (mut desk, webhook) = (Desk::new(HashMap::new()), hook("wh_1"));
    desk.find(&webhook, Finding::Gone);
    desk.wait(HEARD);
    assert!(desk.is_disabled(&webhook), "the very same document tells nothing");
    assert!(!desk.is_disabled(&edited(&webhook, |_| {})));
}

#[test]
fn a_changed_rate_limit_counts_at_once_and_an_edit_keeps_the_record() {
    let (mut desk, webhook) = (Desk::new(HashMap::new()), hook("wh_1"));
    desk.find(&webhook, Finding::Failing);
    let limited = edited(&webhook, |webhook| webhook.rate_limit_per_second = Some(5));
    let now = desk.now;
    let standing = desk.standings.meet(&limited, now);
    assert_eq!((standing.rate(), standing.circuit.is_pristine()), (Some(5), false));
    assert_eq!(standing.hold_back(now), None);
    assert!(standing.hold_back(now).is_some());
}

#[test]
fn idle_webhooks_are_forgotten_but_not_what_stands_against_one() {
    let mut desk = Desk::new(HashMap::new());
    desk.find(&hook("wh_failing"), Finding::Failing);
    for n in 1..MANY {
        desk.standings.meet(&hook(&format!("wh_{n}")), desk.now);
    }
    desk.wait(IDLE);
    desk.standings.meet(&hook("wh_new"), desk.now);
    assert_eq!(desk.standings.known.len(), 2);
    assert!(
        desk.standings
            .of(&hook("wh_failing").id)
            .is_some_and(|one| one.failing.is_some_and(|failing| failing.since == START))
    );
}
