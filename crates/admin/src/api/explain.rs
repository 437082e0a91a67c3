//! Everything known of one order, delivery or tracking number.

use axum::Json;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use postrider_types::{Fault, Timestamp};
use serde::Deserialize;
use utoipa::IntoParams;

use super::ask::Params;
use super::desk::Desk;
use super::openapi::schemas;
use crate::explained::{Question, Unexplained};
use crate::problem::Problem;

/// The longest subject: a delivery's id of the longest topic and webhook is shorter.
const LONGEST: usize = 512;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// A delivery's id, an event's id, an OrderID, a TransactionID or a tracking number.
    #[param(min_length = 1, max_length = 512)]
    subject: String,
    /// Records that are older are not looked at; seven days ago when it is not given.
    #[param(schema_with = schemas::moment)]
    from: Option<Timestamp>,
}

/// Tells everything known of one order, delivery or tracking number: where its events stand, which webhooks want them
/// and why not the others, every attempt, and what comes next. It reads the topics themselves, for up to 20 s.
#[utoipa::path(get, path = "/api/v1/explain", operation_id = "explain", tag = "routing", params(Asked),
    responses(
    (status = 200, description = "What is known.", body = ref("#/components/schemas/Explained")),
    (status = 422, description = "Some parameters cannot be taken."),
))]
pub(super) async fn explain(
    Extension(desk): Extension<Desk>,
    Params(asked): Params<Asked>,
) -> Result<Response, Problem> {
    if asked.subject.is_empty() || asked.subject.len() > LONGEST {
        let fault = Fault::new("subject", format!("must have 1 to {LONGEST} bytes"));
        return Err(Problem::faults(vec![fault]));
    }
    let question = Question {
        subject: asked.subject,
        from: asked.from,
        accounts: desk.caller.accounts(None).unwrap_or_default(),
    };
    let explained = desk.api.explainer.explain(question).await?;
    Ok(Json(explained).into_response())
}

impl From<Unexplained> for Problem {
    fn from(why: Unexplained) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string())
    }
}
