//! Why a call brought nothing. What others wrote is escaped here, so that it can be shown.

use std::error::Error;
use std::fmt;

use hyper::StatusCode;
use serde::Deserialize;

use crate::visible::visible;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Nobody is there.
    #[error("the API cannot be reached at {api}; start `postrider run`, or name its address with --api")]
    Unreachable {
        /// Its address.
        api: String,
        /// Why.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// No answer came in time.
    #[error("the API at {api} did not answer in time; look before you repeat it, it may have been done")]
    TimedOut {
        /// Its address.
        api: String,
    },
    /// The answer ended early.
    #[error("the answer of the API at {api} broke off; look before you repeat it, it may have been done")]
    BrokenOff {
        /// Its address.
        api: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer is too large.
    #[error("the answer of the API at {api} is larger than 4 MiB")]
    TooLarge {
        /// Its address.
        api: String,
    },
    /// The API, or what stands before it, points elsewhere.
    #[error("{api} answered {status}; redirects are not followed, name the API's own address with --api")]
    Redirected {
        /// Its address.
        api: String,
        /// The status.
        status: StatusCode,
    },
    /// The answer is not what the API would say.
    #[error("{api} answered something that is not the API's; name postrider's admin API with --api")]
    Strange {
        /// Its address.
        api: String,
    },
    /// The request cannot be written.
    #[error("the request cannot be written")]
    Unsendable(#[source] hyper::http::Error),
    /// The API says no.
    #[error("{0}")]
    Refused(Problem),
}

impl ApiError {
    /// Reads why the API says no.
    pub(super) fn refused(status: StatusCode, body: &[u8]) -> Self {
        let mut problem: Problem = serde_json::from_slice(body).unwrap_or_default();
        problem.status = status;
        Self::Refused(problem)
    }

    /// Whether the API was not there, or not there for long enough.
    pub(crate) const fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::BrokenOff { .. }
        )
    }

    /// Whether the API says: not now.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE)
    }

    /// Whether the API does not know what was asked for.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == StatusCode::NOT_FOUND && problem.is_told())
    }

    /// The fields that the API does not take, each as a line.
    pub(crate) fn fields(&self) -> Vec<String> {
        match self {
            Self::Refused(problem) => problem.errors.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }
}

/// What the API says of an error, as RFC 9457 has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    title: String,
    #[serde(skip)]
    status: StatusCode,
    detail: String,
    errors: Vec<Field>,
}

impl Problem {
    /// Whether it says anything: others than postrider may have answered.
    fn is_told(&self) -> bool {
        !self.title.is_empty() || !self.detail.is_empty()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match [&self.detail, &self.title].into_iter().find(|text| !text.is_empty()) {
            Some(told) => f.write_str(&visible(told))?,
            None => write!(f, "the API answered {} and did not say why", self.status)?,
        }
        if self.status == StatusCode::UNAUTHORIZED {
            f.write_str("; set the variable POSTRIDER_TOKEN to one of admin.tokens")?;
        }
        Ok(())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Field {
    path: String,
    reason: String,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "document" } else { &self.path };
        write!(f, "{}: {}", visible(path), visible(&self.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> ApiError {
        ApiError::refused(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn the_detail_is_told_before_the_title_and_an_unknown_body_never() {
        assert_eq!(
            refused(409, r#"{"title":"Conflict","detail":"full"}"#).to_string(),
            "full"
        );
        assert_eq!(refused(409, r#"{"title":"Conflict"}"#).to_string(), "Conflict");
        for other in ["<html>secret</html>", "[1]", "", "{\"detail\":1}"] {
            let told = refused(502, other).to_string();
            assert_eq!(told, "the API answered 502 Bad Gateway and did not say why");
        }
    }

    #[test]
    fn fields_are_told_each_on_its_line_without_control_characters() {
        let error = refused(
            422,
            "{\"detail\":\"no\",\"errors\":[{\"path\":\"url\",\"reason\":\"is\\u001b[2J bad\\n\"},{\"reason\":\"x\"}]}",
        );
        assert_eq!(error.fields(), ["url: is\\u{1b}[2J bad\\n", "document: x"]);
    }

    #[test]
    fn without_a_token_the_variable_is_named() {
        let told = refused(401, r#"{"detail":"a token is needed"}"#).to_string();
        assert!(told.contains("POSTRIDER_TOKEN"), "{told}");
    }

    #[test]
    fn only_the_apis_own_404_means_that_something_is_missing() {
        assert!(refused(404, r#"{"title":"Not Found","detail":"there is no such webhook"}"#).is_not_found());
        assert!(!refused(404, "<html>not found</html>").is_not_found());
    }
}
