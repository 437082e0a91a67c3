//! The routes that change webhooks.

use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer;
use super::ask::{Document, Id, IfMatch, Nothing, Params, from_text};
use super::desk::Desk;
use crate::problem::Problem;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Rehearsal {
    /// Judges the change as if it were the only one, and makes none: the answer is what would become of the webhook.
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<bool>, default = false)]
    dry_run: Option<bool>,
}

/// Adds a webhook.
///
/// Its first connection is made before the answer comes, and does not stop the adding when it fails. `{"signing":
/// {"generate": true}}` makes a signing secret, which this answer alone shows.
#[utoipa::path(post, path = "/api/v1/webhooks", operation_id = "add_webhook", tag = "webhooks",
    params(Rehearsal),
    request_body = ref("#/components/schemas/NewWebhook"),
    responses(
    (status = 200, description = "What the webhook would be; nothing was added.",
     body = ref("#/components/schemas/Webhook"), headers(("ETag" = String, description = "The version it would have."))),
    (status = 201, description = "The webhook, with its first connection.", body = ref("#/components/schemas/Webhook"),
     headers(("ETag" = String, description = "Its version, for If-Match."),
             ("Location" = String, description = "Where it is read."))),
    (status = 409, description = "The account has as many webhooks as it may have, or the id is taken."),
    (status = 422, description = "Some fields cannot be taken."),
))]
pub(super) async fn add(
    Extension(desk): Extension<Desk>,
    Params(ask): Params<Rehearsal>,
    Document(document): Document,
) -> Result<Response, Problem> {
    if ask.dry_run == Some(true) {
        return desk.would_add(document).await.map(|done| answer::done(&done));
    }
    let done = desk.add(document).await?;
    Ok(answer::created(&done.changed.webhook, answer::done(&done)))
}

/// Edits a webhook by a merge patch (RFC 7396).
///
/// null clears a field, `"********"` keeps a secret. Another scheme, host or port of the URL clears credentials that
/// are not sent again. Another URL gets a first connection.
#[utoipa::path(patch, path = "/api/v1/webhooks/{id}", operation_id = "edit_webhook", tag = "webhooks",
    params(Rehearsal, ("If-Match" = Option<String>, Header, description = "The version that the change is meant for.")),
    request_body(content(
        (ref("#/components/schemas/WebhookPatch") = "application/merge-patch+json"),
        (ref("#/components/schemas/WebhookPatch") = "application/json"),
    )),
    responses(
    (status = 200, description = "The webhook as it is now.", body = ref("#/components/schemas/Webhook"),
     headers(("ETag" = String, description = "Its version, for If-Match."))),
    (status = 409, description = "The webhook is in the configuration file, or was cancelled."),
    (status = 412, description = "The webhook is at another version."),
    (status = 422, description = "Some fields cannot be taken."),
))]
pub(super) async fn edit(
    Extension(desk): Extension<Desk>,
    Id(id): Id,
    IfMatch(version): IfMatch,
    Params(ask): Params<Rehearsal>,
    Document(patch): Document,
) -> Result<Response, Problem> {
    let done = if ask.dry_run == Some(true) {
        desk.would_edit(id, patch, version).await
    } else {
        desk.edit(id, patch, version).await
    };
    done.map(|done| answer::done(&done))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Removal {
    /// Removes it for good, and frees its place.
    #[serde(default, deserialize_with = "from_text")]
    #[param(value_type = Option<bool>, default = false)]
    purge: Option<bool>,
}

/// Cancels a webhook, or removes it for good.
///
/// A cancelled webhook gets nothing more and keeps its place in the account; cancelling it again changes nothing.
#[utoipa::path(delete, path = "/api/v1/webhooks/{id}", operation_id = "remove_webhook", tag = "webhooks",
    params(Removal, ("If-Match" = Option<String>, Header, description = "The version that the change is meant for.")),
    responses(
    (status = 200, description = "The cancelled webhook.", body = ref("#/components/schemas/Webhook"),
     headers(("ETag" = String, description = "Its version."))),
    (status = 204, description = "It was removed."),
    (status = 409, description = "The webhook is in the configuration file."),
    (status = 412, description = "The webhook is at another version."),
))]
pub(super) async fn remove(
    Extension(desk): Extension<Desk>,
    Id(id): Id,
    IfMatch(version): IfMatch,
    Params(ask): Params<Removal>,
) -> Result<Response, Problem> {
    if ask.purge == Some(true) {
        desk.purge(id, version).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    desk.cancel(id, version).await.map(|done| answer::done(&done))
}

/// Switches a webhook on.
///
/// Of the webhooks of the configuration file, those that postrider itself disabled.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/enable", operation_id = "enable_webhook", tag = "webhooks",
    params(("If-Match" = Option<String>, Header, description = "The version that the change is meant for.")),
    responses(
    (status = 200, description = "The webhook as it is now.", body = ref("#/components/schemas/Webhook"),
     headers(("ETag" = String, description = "Its version, for If-Match."))),
    (status = 409, description = "The webhook is in the configuration file and postrider did not disable it, or it was cancelled."),
    (status = 412, description = "The webhook is at another version."),
))]
pub(super) async fn enable(
    Extension(desk): Extension<Desk>,
    Id(id): Id,
    IfMatch(version): IfMatch,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    desk.switch(id, true, version).await.map(|done| answer::done(&done))
}

/// Switches a webhook off.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/disable", operation_id = "disable_webhook", tag = "webhooks",
    params(("If-Match" = Option<String>, Header, description = "The version that the change is meant for.")),
    responses(
    (status = 200, description = "The webhook as it is now.", body = ref("#/components/schemas/Webhook"),
     headers(("ETag" = String, description = "Its version, for If-Match."))),
    (status = 409, description = "The webhook is in the configuration file, or was cancelled."),
    (status = 412, description = "The webhook is at another version."),
))]
pub(super) async fn disable(
    Extension(desk): Extension<Desk>,
    Id(id): Id,
    IfMatch(version): IfMatch,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    desk.switch(id, false, version).await.map(|done| answer::done(&done))
}

/// Gives a webhook another signing secret.
///
/// This answer alone shows it. The old one signs too for `delivery.secret_overlap`.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/rotate-secret", operation_id = "rotate_secret", tag = "webhooks",
    params(("If-Match" = Option<String>, Header, description = "The version that the change is meant for.")),
    responses(
    (status = 200, description = "The webhook with its new secret.", body = ref("#/components/schemas/Webhook"),
     headers(("ETag" = String, description = "Its version, for If-Match."))),
    (status = 409, description = "The webhook does not sign, is in the configuration file, or was cancelled."),
    (status = 412, description = "The webhook is at another version."),
    (status = 422, description = "There is no key to store the secret with."),
))]
pub(super) async fn rotate_secret(
    Extension(desk): Extension<Desk>,
    Id(id): Id,
    IfMatch(version): IfMatch,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    desk.rotate_secret(id, version).await.map(|done| answer::done(&done))
}
