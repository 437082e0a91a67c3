//! What a request says: its id, its parameters, its version, its document. Each is read strictly, and what cannot be
//! read is answered as a problem.

use std::fmt::Display;
use std::str::FromStr;

use axum::RequestExt;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use postrider_types::{Fault, WebhookId};
use postrider_webhooks::draft::unreadable;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::json;
use crate::problem::Problem;
use crate::routes::too_large;

/// The webhook's id in the path. A text that can be no id is the id of nothing.
#[derive(Debug)]
pub(super) struct Id(pub(super) WebhookId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let id = text.ok().and_then(|Path(text)| WebhookId::new(&text).ok());
        id.map(Self).ok_or_else(Problem::no_webhook)
    }
}

/// The query's parameters; those that a route does not know are refused. Each is read by itself, so that each that
/// cannot be taken is named.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

/// No parameters at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(pairs) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
        parameters(pairs).map(Self).map_err(Problem::parameters)
    }
}

fn parameters<T: DeserializeOwned>(pairs: Vec<(String, String)>) -> Result<T, Vec<Fault>> {
    let mut given = Map::new();
    let mut faults = Vec::new();
    for (name, text) in pairs {
        if given.contains_key(&name) {
            faults.push(Fault::new(name, "is given twice"));
            continue;
        }
        faults.extend(fault_of::<T>(&name, &text));
        given.insert(name, text.into());
    }
    if faults.is_empty() {
        read_as(given.into()).map_err(|fault| vec![fault])
    } else {
        Err(faults)
    }
}

/// What is wrong with one parameter. Another that is missing beside it is not.
fn fault_of<T: DeserializeOwned>(name: &str, text: &str) -> Option<Fault> {
    let fault = read_as::<T>(json!({ name: text })).err()?;
    (fault.path.is_empty() || fault.path == name).then(|| Fault::new(name, fault.reason))
}

/// A parameter that is not text, read from its text.
pub(super) fn from_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

/// The most entries of a page.
pub(super) const LARGEST_PAGE: usize = 1000;

/// How many entries a page has at most; 100 where no number is named.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit(pub(super) usize);

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (1..=LARGEST_PAGE).contains(number));
        number.map(Self).ok_or_else(|| format!("must be 1 to {LARGEST_PAGE}"))
    }
}

/// The version that a change is meant for, if it is meant for one: `If-Match: 3`, `"3"` or `*`.
#[derive(Debug)]
pub(super) struct IfMatch(pub(super) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let bad = || Problem::bad_request("If-Match must be a webhook's version, such as \"3\", or *");
        let mut given = parts.headers.get_all(header::IF_MATCH).iter();
        match (given.next(), given.next()) {
            (None, _) => Ok(Self(None)),
            (Some(one), None) => one.to_str().ok().and_then(version).map(Self).ok_or_else(bad),
            (Some(_), Some(_)) => Err(bad()),
        }
    }
}

/// `Some(None)` is any version.
fn version(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text == "*" {
        return Some(None);
    }
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let digits = quoted.unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(Some)).flatten()
}

/// The request's JSON document.
#[derive(Debug)]
pub(super) struct Document(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.method(), request.headers());
        let body = body(request).await?;
        if !is_json {
            let detail = "the body must be JSON and say so: Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        read(&body).map(Self)
    }
}

/// The request's JSON document, where none is as good as an empty one.
#[derive(Debug)]
pub(super) struct Optional(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for Optional {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, whole) = request.into_parts();
        let body = body(Request::from_parts(parts.clone(), whole)).await?;
        if body.is_empty() {
            return Ok(Self(Value::Object(serde_json::Map::new())));
        }
        let again = Request::from_parts(parts, body.into());
        Document::from_request(again, state)
            .await
            .map(|Document(value)| Self(value))
    }
}

async fn body(request: Request) -> Result<Bytes, Problem> {
    let body = request.extract::<Bytes, _>().await;
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Problem::bad_request("the body broke off"),
    })
}

fn is_json(method: &Method, headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok());
    let (kind, _) = given.map_or(("", ""), |given| given.split_once(';').unwrap_or((given, "")));
    let kind = kind.trim().to_ascii_lowercase();
    kind == "application/json" || (kind == "application/merge-patch+json" && method == Method::PATCH)
}

fn read(body: &[u8]) -> Result<Value, Problem> {
    json::read(body).map_err(|error| Problem::bad_request(format!("the body cannot be read as JSON: {error}")))
}

/// Reads a document as a type, or names the field that cannot be taken.
pub(crate) fn typed<T: DeserializeOwned>(document: Value) -> Result<T, Problem> {
    read_as(document).map_err(|fault| Problem::faults(vec![fault]))
}

fn read_as<T: DeserializeOwned>(document: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(document).map_err(|error| unreadable(&error, error.inner().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_with_or_without_quotes_or_a_star() {
        for (text, read) in [
            ("3", Some(Some(3))),
            ("\"3\"", Some(Some(3))),
            (" * ", Some(None)),
            ("\"3", None),
            ("W/\"3\"", None),
            ("\"3\", \"4\"", None),
            ("+3", None),
            ("-1", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(version(text), read, "{text}");
        }
    }

    #[test]
    fn a_merge_patch_is_json_for_a_patch_only() {
        let is_json = |method: Method, given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, given.parse().unwrap());
            is_json(&method, &headers)
        };
        assert!(is_json(Method::POST, "Application/JSON; charset=utf-8"));
        assert!(is_json(Method::PATCH, "application/merge-patch+json"));
        assert!(!is_json(Method::POST, "application/merge-patch+json"));
        assert!(!is_json(Method::POST, "text/plain"));
        assert!(!super::is_json(&Method::POST, &HeaderMap::new()));
    }
}
