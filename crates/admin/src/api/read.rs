//! Reading webhooks.

use axum::extract::Extension;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_types::webhook::WebhookStatus;
use postrider_types::{AccountId, EventType, WebhookId};
use postrider_webhooks::Listed;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::answer;
use super::ask::{Id, Limit, Nothing, Params, from_text};
use super::desk::Desk;
use super::openapi::schemas;
use crate::problem::Problem;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Listing {
    /// Only webhooks of this account.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9._-]{1,128}$")]
    account: Option<AccountId>,
    /// Only webhooks of this status.
    #[param(schema_with = schemas::statuses)]
    status: Option<WebhookStatus>,
    /// Only webhooks that want this event.
    #[param(schema_with = schemas::events)]
    event: Option<EventType>,
    /// The most webhooks to answer with.
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<Limit>,
    /// The `next_cursor` of the page before.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

impl Listing {
    fn wants(&self, one: &Listed) -> bool {
        let webhook = &one.webhook;
        self.account
            .as_ref()
            .is_none_or(|account| *account == webhook.account_id)
            && self.status.is_none_or(|status| status == webhook.effective_status())
            && self.event.is_none_or(|event| webhook.events.contains(&event))
    }

    /// What comes after the cursor's webhook.
    fn rest(&self, mut all: Vec<Listed>) -> Result<Vec<Listed>, Problem> {
        let Some(cursor) = &self.cursor else {
            return Ok(all);
        };
        let last = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
        let at = all.iter().position(|one| one.webhook.id.as_str().as_bytes() == last);
        let at = at.ok_or_else(|| {
            Problem::bad_request("cursor is of no list, or its webhook is gone; start again without one")
        })?;
        Ok(all.split_off(at + 1))
    }
}

fn cursor(last: &WebhookId) -> String {
    URL_SAFE_NO_PAD.encode(last.as_str())
}

impl Desk {
    /// A page of the webhooks that the caller sees, and the cursor of the next.
    pub(crate) fn page(&self, ask: &Listing) -> Result<(Vec<Listed>, Option<String>), Problem> {
        let Limit(limit) = ask.limit.unwrap_or_default();
        let mut page = ask.rest(self.webhooks())?;
        page.retain(|one| ask.wants(one));
        let has_more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| has_more).map(|one| cursor(&one.webhook.id));
        Ok((page, next))
    }
}

/// Lists webhooks.
///
/// Those of the configuration file come first, then the managed ones by their ids.
#[utoipa::path(get, path = "/api/v1/webhooks", operation_id = "list_webhooks", tag = "webhooks", params(Listing), responses(
    (status = 200, description = "A page of the list.", body = ref("#/components/schemas/WebhookList")),
))]
pub(super) async fn list(Extension(desk): Extension<Desk>, Params(ask): Params<Listing>) -> Result<Response, Problem> {
    let (page, next) = desk.page(&ask)?;
    let items: Vec<Value> = page
        .iter()
        .map(|one| answer::document(&one.webhook, one.origin))
        .collect();
    Ok(answer::list(items, next))
}

/// Reads a webhook.
#[utoipa::path(get, path = "/api/v1/webhooks/{id}", operation_id = "read_webhook", tag = "webhooks", responses(
    (status = 200, description = "The webhook.", body = ref("#/components/schemas/Webhook"),
     headers(("ETag" = String, description = "Its version, for If-Match."))),
))]
pub(super) async fn one(Extension(desk): Extension<Desk>, Id(id): Id, _: Params<Nothing>) -> Result<Response, Problem> {
    desk.webhook(&id).map(|listed| answer::one(&listed))
}
