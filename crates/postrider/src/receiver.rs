//! The sample receiver: a server that a merchant could have written. It tells what came, checks the
//! signature, and answers as its script says.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use postrider_delivery::signature;
use postrider_types::{Secret, secret};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The largest body that is read.
const MAX_BODY_BYTES: usize = 8 << 20;
/// How much of a body is shown.
const MAX_SHOWN_BYTES: usize = 2 << 10;
/// How long requests in flight may go on after the stop.
const GRACE: Duration = Duration::from_secs(2);

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The request's number at this receiver, from 1.
    pub(crate) number: u64,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the signature is right; `None` when nothing was checked.
    pub(crate) signed: Option<bool>,
}

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// How long to wait before.
    pub(crate) delay: Duration,
}

/// Decides the answer to each request, and is told of it.
pub(crate) trait Script: Send + Sync + 'static {
    /// The answer to a request.
    fn answer(&self, received: &Received) -> Answer;
}

impl<F: Fn(&Received) -> Answer + Send + Sync + 'static> Script for F {
    fn answer(&self, received: &Received) -> Answer {
        self(received)
    }
}

/// A bound receiver, not yet serving.
pub(crate) struct Receiver {
    listener: TcpListener,
    address: SocketAddr,
    desk: Arc<Desk>,
}

struct Desk {
    script: Box<dyn Script>,
    secret: Option<Secret>,
    count: std::sync::atomic::AtomicU64,
}

impl Receiver {
    /// Binds an address; port 0 takes a free one.
    pub(crate) async fn bind(address: SocketAddr, secret: Option<Secret>, script: impl Script) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk {
            script: Box::new(script),
            secret,
            count: std::sync::atomic::AtomicU64::new(0),
        });
        Ok(Self {
            listener,
            address,
            desk,
        })
    }

    /// The address it listens on, with the port it was given.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` fires.
    pub(crate) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let routes = Router::new().fallback(receive).with_state(self.desk);
        let stopped = stop.clone();
        let serving = axum::serve(self.listener, routes).with_graceful_shutdown(stopped.cancelled_owned());
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = serving.into_future() => ended,
            () = overdue => Ok(()),
        }
    }
}

async fn receive(State(desk): State<Arc<Desk>>, request: Request) -> Result<Response, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    };
    let received = Received {
        number: desk.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1,
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        signed: desk
            .secret
            .as_ref()
            .map(|secret| is_signed(secret, &parts.headers, &body)),
        headers: parts.headers,
        body,
    };
    let answer = desk.script.answer(&received);
    tokio::time::sleep(answer.delay).await;
    Ok(respond(answer.status))
}

/// A JSON body, where the status may have one.
fn respond(status: StatusCode) -> Response {
    let bodiless = [
        StatusCode::NO_CONTENT,
        StatusCode::RESET_CONTENT,
        StatusCode::NOT_MODIFIED,
    ];
    if bodiless.contains(&status) || status.is_informational() {
        return status.into_response();
    }
    let body = serde_json::json!({ "received": status.is_success() });
    (status, axum::Json(body)).into_response()
}

/// Whether the three headers of Standard Webhooks fit the body.
fn is_signed(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let parts = (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"));
    let (Some(id), Some(timestamp), Some(signatures)) = parts else {
        return false;
    };
    timestamp
        .parse()
        .is_ok_and(|timestamp| signature::verify(secret, id, timestamp, body, signatures))
}

impl Received {
    /// The request in words, several lines. What could move the terminal's cursor is escaped.
    pub(crate) fn describe(&self) -> String {
        let mut lines = vec![format!("#{} {} {}", self.number, self.method, self.path.escape_debug())];
        for (name, value) in &self.headers {
            lines.push(format!("  {name}: {}", shown_header(name, value)));
        }
        match self.signed {
            Some(true) => lines.push("  signature: right".to_owned()),
            Some(false) => lines.push("  signature: WRONG or missing".to_owned()),
            None => {}
        }
        lines.push(format!("  {}", shown_body(&self.body)));
        lines.join("\n")
    }
}

fn shown_header(name: &header::HeaderName, value: &header::HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    if *name != header::AUTHORIZATION {
        return text.escape_debug().to_string();
    }
    let scheme = text.split_once(' ').map_or("", |(scheme, _)| scheme);
    format!("{} {}", scheme.escape_debug(), secret::MASK)
        .trim_start()
        .to_owned()
}

fn shown_body(body: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(MAX_SHOWN_BYTES)]);
    let escaped: String = shown.chars().flat_map(escape_controls).collect();
    match body.len().saturating_sub(MAX_SHOWN_BYTES) {
        0 => escaped,
        more => format!("{escaped}… and {more} bytes more"),
    }
}

/// Quotes stay readable; controls, and marks that turn the direction of text, do not pass.
fn escape_controls(c: char) -> impl Iterator<Item = char> {
    let hidden = c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let escaped = hidden.then(|| c.escape_default());
    let plain = (!hidden).then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests;
