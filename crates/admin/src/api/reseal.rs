//! Sealing all secrets with the first key of the key file.

use axum::Json;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::info;

use super::ask::{Nothing, Params};
use super::desk::Desk;
use super::work::to_the_end;
use crate::problem::Problem;

const ACTION: &str = "secrets.rotate";

/// Reads the key file again, and seals the secrets of all webhooks with its first key.
#[utoipa::path(post, path = "/api/v1/secrets/rotate", operation_id = "reseal_secrets", tag = "secrets", responses(
    (status = 200, description = "How many webhooks were sealed anew.", body = ref("#/components/schemas/Resealed")),
    (status = 422, description = "There is no key to seal with."),
))]
pub(super) async fn rotate(Extension(desk): Extension<Desk>, _: Params<Nothing>) -> Result<Response, Problem> {
    if !desk.caller.sees_all() {
        let detail = "this token is bound to accounts, and the keys are those of all accounts";
        return Err(Problem::forbidden(detail));
    }
    desk.deadline.require_time_to_write()?;
    to_the_end(async move {
        let read = std::sync::Arc::clone(&desk.api.reseal);
        let keys = match tokio::task::spawn_blocking(move || read()).await {
            Ok(read) => read.map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))?,
            Err(ended) => std::panic::resume_unwind(ended.into_panic()),
        };
        let resealed = desk.api.editor.reseal(keys).await;
        let resealed = resealed.inspect_err(|refusal| desk.note_uncertain(ACTION, None, refusal))?;
        info!(
            action = ACTION,
            webhook.id = "-",
            account = "-",
            token = &*desk.caller.name,
            resealed,
            "Secrets were sealed anew through the API"
        );
        Ok(Json(json!({ "resealed": resealed })).into_response())
    })
    .await
}
