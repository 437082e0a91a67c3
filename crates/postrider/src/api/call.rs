//! One request, before it is sent.

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use url::Url;

/// What is asked of the API.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(super) method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    pub(super) if_match: Option<u64>,
}

impl Call {
    /// Reads what is under `/api/v1/` and these segments.
    pub(crate) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path, None)
    }

    /// Adds or does something.
    pub(crate) fn post(path: &[&str], body: Option<Value>) -> Self {
        Self::new(Method::POST, path, body)
    }

    /// Lays a merge patch over something.
    pub(crate) fn patch(path: &[&str], patch: Value) -> Self {
        Self::new(Method::PATCH, path, Some(patch))
    }

    /// Takes something away.
    pub(crate) fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    fn new(method: Method, path: &[&str], body: Option<Value>) -> Self {
        Self {
            method,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            query: Vec::new(),
            body,
            if_match: None,
        }
    }

    /// Adds a parameter, if it has a value.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Does it to this version only.
    #[must_use]
    pub(crate) fn meant_for(mut self, version: Option<u64>) -> Self {
        self.if_match = version;
        self
    }

    /// Where it goes. An address may have a path of its own, as behind a proxy.
    pub(super) fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(&self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }

    pub(super) fn content_type(&self) -> Option<&'static str> {
        self.body.as_ref().map(|_| match self.method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        })
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.body
            .as_ref()
            .map(|body| body.to_string().into())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_below_the_address_with_its_parameters_encoded() {
        let call = Call::get(&["webhooks", "a/../b"])
            .with("cursor", Some("a b&c"))
            .with("status", None::<&str>);
        for (base, url) in [
            ("http://h", "http://h/api/v1/webhooks/a%2F..%2Fb?cursor=a+b%26c"),
            (
                "https://h/pr/",
                "https://h/pr/api/v1/webhooks/a%2F..%2Fb?cursor=a+b%26c",
            ),
        ] {
            assert_eq!(call.url(&Url::parse(base).unwrap()).as_str(), url);
        }
        let plain = Call::delete(&["webhooks"]).url(&Url::parse("http://h:1/x").unwrap());
        assert_eq!(plain.as_str(), "http://h:1/x/api/v1/webhooks");
    }
}
