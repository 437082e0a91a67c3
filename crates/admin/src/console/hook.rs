//! A webhook as pages show it. The values in its URL's query and its secrets are not among what is shown.

use postrider_types::webhook::WebhookStatus;
use postrider_types::{EventType, Webhook};
use postrider_webhooks::{Listed, Origin};

use super::text::{Moment, Text};

/// A webhook as pages show it.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) id: Text,
    pub(super) account: Text,
    pub(super) endpoint: Text,
    pub(super) description: Text,
    pub(super) events: Vec<EventType>,
    pub(super) filter: Option<Text>,
    pub(super) status: &'static str,
    /// Why postrider disabled it.
    pub(super) reason: Option<Text>,
    pub(super) is_managed: bool,
    /// Whether it is of the file, and postrider alone keeps it from being active.
    pub(super) is_held_back: bool,
    pub(super) username: Option<Text>,
    pub(super) header: Option<Text>,
    pub(super) retries: Retries,
    pub(super) signs: bool,
    pub(super) old_secret_until: Option<Moment>,
    pub(super) has_certificate: bool,
    pub(super) limits: Vec<(&'static str, String)>,
    pub(super) created: Option<Moment>,
    pub(super) updated: Option<Moment>,
    pub(super) version: u64,
}

/// How often a failed delivery is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retries {
    Off,
    Usual,
    AtMost(u32),
}

impl Hook {
    pub(super) fn of(listed: &Listed) -> Self {
        let webhook = &*listed.webhook;
        let signing = webhook.signing.as_ref();
        Self {
            id: Text::of(webhook.id.as_str()),
            account: Text::of(webhook.account_id.as_str()),
            endpoint: Text::of(&webhook.endpoint()),
            description: Text::of(&webhook.description),
            events: webhook.events.clone(),
            filter: webhook.filter.as_ref().map(|filter| Text::body(&filter.to_string())),
            status: webhook.effective_status().as_str(),
            reason: webhook.disabled_reason.as_deref().map(reason),
            is_managed: listed.origin == Origin::Managed,
            is_held_back: listed.origin == Origin::File && webhook.enabled && webhook.disabled_reason.is_some(),
            username: webhook.auth.as_ref().map(|auth| Text::of(&auth.username)),
            header: webhook.header.as_ref().map(|header| Text::of(&header.name)),
            retries: retries(webhook),
            signs: signing.is_some(),
            old_secret_until: signing
                .and_then(|signing| signing.previous.as_ref())
                .map(|old| Moment::of(old.expires_at)),
            has_certificate: webhook.tls.is_some(),
            limits: limits(webhook),
            created: webhook.created_at.map(Moment::of),
            updated: webhook.updated_at.map(Moment::of),
            version: webhook.version,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.status == WebhookStatus::Active.as_str()
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.status == WebhookStatus::Cancelled.as_str()
    }

    /// The status as a merchant calls it.
    pub(super) fn status_name(&self) -> &'static str {
        match self.status {
            "active" => "Active",
            "disabled" => "Disabled",
            _ => "Deleted",
        }
    }
}

fn reason(word: &str) -> Text {
    match word {
        "gone" => Text::of("The endpoint answered 410 Gone. Enable the webhook once it takes events again."),
        "failing" => Text::of("Nothing has reached the endpoint for days. Enable the webhook once it is mended."),
        "secrets_unreadable" => Text::of(
            "Its secrets cannot be opened with the keys of this installation. Enter them anew, or bring the key back.",
        ),
        other => Text::of(other),
    }
}

fn retries(webhook: &Webhook) -> Retries {
    match (webhook.retry.enabled, webhook.retry.max_retries) {
        (false, _) => Retries::Off,
        (true, None) => Retries::Usual,
        (true, Some(most)) => Retries::AtMost(most),
    }
}

fn limits(webhook: &Webhook) -> Vec<(&'static str, String)> {
    let limits = [
        ("Timeout", webhook.timeout_ms.map(|ms| format!("{ms} ms"))),
        ("Requests at once", webhook.max_in_flight.map(|most| most.to_string())),
        (
            "Requests per second",
            webhook.rate_limit_per_second.map(|most| most.to_string()),
        ),
    ];
    let set = limits.into_iter().filter_map(|(name, limit)| Some((name, limit?)));
    set.collect()
}
