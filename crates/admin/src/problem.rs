//! An error as RFC 9457 has it: `application/problem+json`.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_types::Fault;
use postrider_webhooks::Refusal;
use serde::Serialize;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What went wrong with a request.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    /// `about:blank`: the status says it all.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    /// The fields or parameters that cannot be taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    #[serde(skip)]
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    /// A problem whose title is the status' own.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Unknown Status"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            header: None,
        }
    }

    /// A request that is not understood.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no such webhook, or none that the caller may know of.
    pub(crate) fn no_webhook() -> Self {
        Refusal::NotFound.into()
    }

    /// A change that a token for reading asks for.
    pub(crate) fn read_only() -> Self {
        Self::forbidden("this token may only read; changes need one with `access: write`")
    }

    /// The status, as an HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).expect("a problem is made from a status")
    }

    /// What went wrong, in words.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The fields that cannot be taken.
    pub(crate) fn errors(&self) -> &[Fault] {
        &self.errors
    }

    /// The header that goes with it.
    pub(crate) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        self.header.as_deref().cloned()
    }

    /// Something the token does not allow.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// Fields that cannot be taken.
    pub(crate) fn faults(errors: Vec<Fault>) -> Self {
        let names: Vec<&str> = errors
            .iter()
            .map(|fault| &*fault.path)
            .filter(|path| !path.is_empty())
            .collect();
        let detail = if names.is_empty() {
            "the document cannot be taken".to_owned()
        } else {
            format!("some fields cannot be taken: {}", names.join(", "))
        };
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        }
    }

    /// Parameters that cannot be taken.
    pub(crate) fn parameters(errors: Vec<Fault>) -> Self {
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Self {
            errors,
            ..Self::bad_request(format!("some parameters cannot be taken: {}", told.join("; ")))
        }
    }

    /// The same, with a header that goes with it.
    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.header = Some(Box::new((name, value.into())));
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let status = match refusal {
            Refusal::Faults(faults) => return Self::faults(faults),
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::OfTheFile | Refusal::Cancelled | Refusal::Full(_) | Refusal::Taken | Refusal::NotSigning => {
                StatusCode::CONFLICT
            }
            Refusal::Stale(_) => StatusCode::PRECONDITION_FAILED,
            Refusal::Unavailable(_) | Refusal::Uncertain(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = self.status();
        let header = self.header.take();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        if let Some((name, value)) = header.map(|header| *header) {
            headers.insert(name, value);
        }
        response
    }
}
