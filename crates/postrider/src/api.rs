//! A small client of the admin API: one request, one answer. It knows no redirects and no proxies, and both the time
//! an answer takes and its size have a bound.

mod answer;
mod call;
mod error;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MATCH, USER_AGENT};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use postrider_delivery::tls;
use postrider_types::Secret;
use rustls::ClientConfig;
use url::Url;

pub(crate) use answer::Answer;
pub(crate) use call::Call;
pub(crate) use error::ApiError;

/// How long a call may take: longer than the API itself gives a request.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// The address is none. It is not repeated: it may hold a password.
    #[error("the API's address must be like http://127.0.0.1:8080: http or https, without user, password, `?` and `#`")]
    Address,
    /// No header can carry the token.
    #[error("POSTRIDER_TOKEN holds characters that no header can carry; set it to one of admin.tokens")]
    Token,
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] tls::TlsSetupError),
}

/// The admin API at one address.
#[derive(Debug)]
pub(crate) struct Api {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: Url,
    /// The `authorization` header, marked as sensitive.
    token: Option<HeaderValue>,
}

impl Api {
    /// A client; nothing is dialled yet.
    pub(crate) fn new(address: &str, token: Option<&Secret>) -> Result<Self, SetupError> {
        let base = base(address).ok_or(SetupError::Address)?;
        let token = token.map(bearer).transpose()?;
        let client = Client::builder(TokioExecutor::new()).build(connector()?);
        Ok(Self { client, base, token })
    }

    /// Asks, and reads the whole answer. Anything but a 2xx is an error.
    pub(crate) async fn call(&self, call: Call) -> Result<Answer, ApiError> {
        let asking = tokio::time::timeout(PATIENCE, self.ask(call));
        let timed_out = |_| ApiError::TimedOut { api: self.name() };
        asking.await.map_err(timed_out)?
    }

    async fn ask(&self, call: Call) -> Result<Answer, ApiError> {
        let request = self.request(call).map_err(ApiError::Unsendable)?;
        let unreachable = |source| ApiError::Unreachable {
            api: self.name(),
            source,
        };
        let response = self.client.request(request).await.map_err(unreachable)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(ApiError::Redirected {
                api: self.name(),
                status,
            });
        }
        let body = self.read(response).await?;
        if status.is_success() {
            Answer::new(&body).ok_or_else(|| self.strange())
        } else {
            Err(ApiError::refused(status, &body))
        }
    }

    /// The answer cannot be the API's.
    pub(crate) fn strange(&self) -> ApiError {
        ApiError::Strange { api: self.name() }
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(call.url(&self.base).as_str())
            .header(USER_AGENT, concat!("postrider/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json, application/problem+json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(version) = call.if_match {
            request = request.header(IF_MATCH, format!("\"{version}\""));
        }
        if let Some(kind) = call.content_type() {
            request = request.header(CONTENT_TYPE, kind);
        }
        request.body(Full::new(call.bytes()))
    }

    #[expect(clippy::disallowed_methods, reason = "the body is limited")]
    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, ApiError> {
        let read = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        read.map(http_body_util::Collected::to_bytes).map_err(|source| {
            let api = self.name();
            if source.is::<LengthLimitError>() {
                ApiError::TooLarge { api }
            } else {
                ApiError::BrokenOff { api, source }
            }
        })
    }

    /// Its address, as it is shown.
    fn name(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }
}

fn base(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    let speaks = matches!(url.scheme(), "http" | "https");
    let plain = url.username().is_empty() && url.password().is_none();
    let whole = url.query().is_none() && url.fragment().is_none();
    (speaks && plain && whole).then_some(url)
}

fn bearer(token: &Secret) -> Result<HeaderValue, SetupError> {
    let header = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    let mut header = header.map_err(|_| SetupError::Token)?;
    header.set_sensitive(true);
    Ok(header)
}

fn connector() -> Result<HttpsConnector<HttpConnector>, SetupError> {
    let mut tls = ClientConfig::clone(&*tls::client_config(None)?);
    // The builder below states the protocols itself.
    tls.alpn_protocols.clear();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
    Ok(builder.https_or_http().enable_http1().wrap_connector(tcp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_or_https_and_holds_no_password() {
        for good in [
            "http://127.0.0.1:8080",
            "https://api.example/postrider/",
            "http://[::1]:8080",
        ] {
            assert!(Api::new(good, None).is_ok(), "{good}");
        }
        for bad in [
            "127.0.0.1:8080",
            "ftp://h",
            "http://u:hunter2@h",
            "http://u@h",
            "http://h/?a",
            "http://h/#a",
        ] {
            let error = Api::new(bad, None).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let api = Api::new("http://h", Some(&Secret::new("hunter2"))).unwrap();
        assert!(!format!("{api:?}").contains("hunter2"));
        let error = Api::new("http://h", Some(&Secret::new("hunter2\n"))).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_says_nothing_is_given_up() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Api::new(&format!("http://{}", silent.local_addr().unwrap()), None).unwrap();
        let error = api.call(Call::get(&["webhooks"])).await.unwrap_err();
        assert!(error.is_unreachable(), "{error:?}");
    }
}
