//! The index agrees with asking every webhook, and asks no more than it must.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::explain::explain;
use crate::samples::{account, event, filtered, id, webhook, with_status};

fn table(webhooks: Vec<Webhook>) -> Table {
    Table::build(webhooks).unwrap()
}

fn ids(webhooks: &[Arc<Webhook>]) -> Vec<&str> {
    webhooks.iter().map(|webhook| webhook.id.as_str()).collect()
}

#[test]
fn the_index_has_a_place_for_each_event_type() {
    assert_eq!(EventType::ALL.map(|event_type| event_type as usize), [0, 1, 2]);
    assert_eq!(WebhookStatus::ALL.map(|status| status as usize), [0, 1, 2]);
}

#[test]
fn disabled_webhooks_are_told_apart_and_cancelled_ones_not_at_all() {
    let mut switched_off = webhook("wh_off");
    switched_off.enabled = false;
    let mut disabled_misses = filtered("wh_miss", json!({"code": 7}));
    disabled_misses.status = WebhookStatus::Disabled;
    let table = table(vec![
        webhook("wh_1"),
        with_status("wh_disabled", WebhookStatus::Disabled),
        with_status("wh_cancelled", WebhookStatus::Cancelled),
        switched_off,
        disabled_misses,
        webhook("wh_2"),
    ]);
    let matches = table.matches(&event(r#"{"code":6}"#));
    assert_eq!(ids(&matches.deliverable), ["wh_1", "wh_2"]);
    assert_eq!(ids(&matches.disabled), ["wh_disabled", "wh_off"]);
    assert_eq!(WebhookStatus::ALL.map(|status| table.count(status)), [2, 3, 1]);
    assert_eq!(
        table.webhook(&id("wh_cancelled")).unwrap().status,
        WebhookStatus::Cancelled
    );
    assert!(table.webhook(&id("wh_3")).is_none());
    assert_eq!(table.account_entries(&account("default")).len(), 6);
    assert_eq!(table.account_entries(&account("other")).len(), 0);
}

#[test]
fn a_type_named_twice_makes_one_delivery() {
    let mut twice = webhook("wh_1");
    twice.events = vec![EventType::TrackingUpdate, EventType::TrackingUpdate];
    assert_eq!(table(vec![twice]).matches(&event("{}")).deliverable.len(), 1);
}

#[test]
fn a_filter_that_asks_nothing_leaves_the_body_unread() {
    let table = table(vec![
        webhook("wh_none"),
        filtered("wh_null", json!(null)),
        filtered("wh_empty", json!({})),
    ]);
    let matches = table.matches(&event("no JSON at all"));
    assert_eq!(ids(&matches.deliverable), ["wh_none", "wh_null", "wh_empty"]);
    assert!(!matches.unreadable);
}

#[test]
fn no_filter_matches_a_body_that_cannot_be_read() {
    let table = table(vec![
        webhook("wh_1"),
        filtered("wh_2", json!({"city": {"not": "Rome"}})),
    ]);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "{", "\u{feff}{}", r#"{"price":1e999}"#, r#"{"a":"\ud800"}"#, &deep] {
        let matches = table.matches(&event(body));
        assert_eq!(ids(&matches.deliverable), ["wh_1"]);
        assert!(matches.unreadable);
    }
    for odd in ["[]", "null", "6", r#""x""#] {
        let matches = table.matches(&event(odd));
        assert_eq!(ids(&matches.deliverable), ["wh_1", "wh_2"], "{odd} has no city");
    }
}

#[test]
fn of_a_doubled_field_the_last_value_counts() {
    let table = table(vec![filtered("wh_1", json!({"code": 7}))]);
    assert_eq!(table.matches(&event(r#"{"code":6,"code":7}"#)).deliverable.len(), 1);
    assert_eq!(table.matches(&event(r#"{"code":7,"code":6}"#)).deliverable.len(), 0);
}

#[test]
fn every_fault_of_every_webhook_is_named() {
    let webhooks = vec![
        filtered("wh_1", json!({"code": {"gte": "x"}})),
        webhook("wh_2"),
        filtered("wh_1", json!([])),
        webhook("wh_2"),
    ];
    assert_eq!(faults(&webhooks), Table::build(webhooks.clone()).unwrap_err());
    let found: Vec<String> = faults(&webhooks).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "[2].id: `wh_1` is the id of an earlier webhook; ids are unique",
            "[3].id: `wh_2` is the id of an earlier webhook; ids are unique",
            "[0].filter.code.gte: must be a number, or the text of one",
            "[2].filter: must be an object of conditions",
        ]
    );
}

#[test]
fn an_event_costs_only_the_webhooks_of_its_account_that_want_its_type() {
    let mut webhooks = Vec::new();
    for i in 0..2_000 {
        let mut one = webhook(&format!("wh_{i}"));
        one.account_id = account(&format!("a{}", i % 200));
        one.events = vec![EventType::ALL[i % 3]];
        webhooks.push(one);
    }
    let own = webhooks
        .iter()
        .filter(|one| one.account_id.as_str() == "a7")
        .cloned()
        .collect();
    let (all, own) = (table(webhooks), table(own));
    for event_type in EventType::ALL {
        let mut event = event("{}");
        event.account = account("a7");
        event.event_type = event_type;
        let wanting = own.webhooks().filter(|one| one.events.contains(&event_type)).count();
        assert!(wanting >= 3);
        assert_eq!(all.matches(&event).examined, wanting);
        assert_eq!(own.matches(&event).examined, wanting);
    }
}

#[test]
fn every_webhook_of_the_account_is_explained() {
    let mut other = webhook("wh_other");
    other.account_id = account("other");
    let mut picky = webhook("wh_type");
    picky.events = vec![EventType::OrderError];
    let mut off = webhook("wh_off");
    off.enabled = false;
    let mut gone = with_status("wh_410", WebhookStatus::Disabled);
    gone.disabled_reason = Some("the endpoint answered 410".into());
    let table = table(vec![
        webhook("wh_plain"),
        filtered("wh_match", json!({"code": 6})),
        filtered("wh_miss", json!({"code": {"gte": 7}})),
        picky,
        off,
        gone,
        with_status("wh_cancelled", WebhookStatus::Cancelled),
        other,
    ]);
    let told: Vec<_> = explain(&table, &event(r#"{"code":6}"#))
        .into_iter()
        .map(|one| (one.webhook.to_string(), one.matches, one.reason))
        .collect();
    let expected = [
        (
            "wh_plain",
            true,
            "The webhook wants tracking_update events, and it has no filter",
        ),
        (
            "wh_match",
            true,
            "The webhook wants tracking_update events, and its filter matches",
        ),
        (
            "wh_miss",
            false,
            "The webhook's filter does not match the event: code must be at least 7, but is 6",
        ),
        ("wh_type", false, "The webhook does not want tracking_update events"),
        ("wh_off", false, "The webhook is disabled: by its owner"),
        ("wh_410", false, "The webhook is disabled: the endpoint answered 410"),
        ("wh_cancelled", false, "The webhook was cancelled"),
    ];
    assert_eq!(
        told,
        expected.map(|(id, matches, reason)| (id.to_owned(), matches, reason.to_owned()))
    );
    let unreadable = &explain(&table, &event("{"))[1];
    assert_eq!(
        unreadable.reason,
        "The event's body cannot be read, so the webhook's filter does not match"
    );
}

fn any_webhook() -> impl Strategy<Value = Webhook> {
    let filter = prop::sample::select(vec![None, Some(json!({"code": 6})), Some(json!({"code": {"not": 6}}))]);
    (
        prop::sample::select(vec!["default", "a", "b"]),
        prop::collection::vec(prop::sample::select(EventType::ALL.to_vec()), 0..4),
        prop::sample::select(WebhookStatus::ALL.to_vec()),
        any::<bool>(),
        filter,
    )
        .prop_map(|(account_id, events, status, enabled, filter)| Webhook {
            account_id: account(account_id),
            events,
            status,
            enabled,
            filter,
            ..webhook("wh")
        })
}

/// What SPEC says of one webhook, said again without index and filter language.
fn wants(webhook: &Webhook, event: &Event, code_is_6: bool) -> bool {
    let filter = match &webhook.filter {
        None => true,
        Some(filter) => (filter == &json!({"code": 6})) == code_is_6,
    };
    webhook.account_id == event.account && webhook.events.contains(&event.event_type) && filter
}

proptest! {
    #[test]
    fn the_index_finds_what_a_scan_of_all_webhooks_finds(
        mut webhooks in prop::collection::vec(any_webhook(), 0..30),
        account_id in prop::sample::select(vec!["default", "a", "none"]),
        event_type in prop::sample::select(EventType::ALL.to_vec()),
        code in 6..8,
    ) {
        for (i, webhook) in webhooks.iter_mut().enumerate() {
            webhook.id = id(&format!("wh_{i}"));
        }
        let mut event = event(format!(r#"{{"code":{code}}}"#));
        event.account = account(account_id);
        event.event_type = event_type;
        let scan = |status| -> Vec<&str> {
            let wanted = webhooks.iter().filter(|one| one.effective_status() == status && wants(one, &event, code == 6));
            wanted.map(|one| one.id.as_str()).collect()
        };
        let table = table(webhooks.clone());
        let matches = table.matches(&event);
        prop_assert_eq!(ids(&matches.deliverable), scan(WebhookStatus::Active));
        prop_assert_eq!(ids(&matches.disabled), scan(WebhookStatus::Disabled));
        let explained: Vec<String> = explain(&table, &event)
            .into_iter()
            .filter(|one| one.matches)
            .map(|one| one.webhook.to_string())
            .collect();
        prop_assert_eq!(explained, scan(WebhookStatus::Active));
        for webhook in &webhooks {
            let (_, refusal) = table.judge(&webhook.id, &event).unwrap();
            prop_assert_eq!(refusal.is_none(), scan(WebhookStatus::Active).contains(&webhook.id.as_str()));
        }
    }
}
