//! Who is let in. Every route is behind a door, which either leads to a [`Desk`] or says why it stays shut.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use super::ApiSlot;
use super::desk::Desk;
use crate::config::{Access, Token};
use crate::deadline::Deadline;
use crate::failures::Failures;
use crate::problem::Problem;
use crate::routes::Ends;
use crate::tokens::{Caller, Tokens};

/// Seconds after which asking again may help while postrider starts.
const STARTING_SECONDS: u64 = 2;
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

/// What all doors go by.
#[derive(Debug)]
pub(crate) struct Gate {
    tokens: Tokens,
    failures: Failures,
    slot: ApiSlot,
}

/// The door before the routes that need this access.
#[derive(Debug, Clone)]
pub(super) struct Door {
    gate: Arc<Gate>,
    access: Access,
}

/// Lets a request through to its route, with a desk to work at.
pub(super) async fn admit(State(door): State<Door>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let desk = door.desk(&request)?;
    request.extensions_mut().insert(desk);
    Ok(next.run(request).await)
}

impl Door {
    pub(super) fn new(gate: &Arc<Gate>, access: Access) -> Self {
        Self {
            gate: Arc::clone(gate),
            access,
        }
    }

    fn desk(&self, request: &Request) -> Result<Desk, Problem> {
        let peer = request.extensions().get::<Ends>().map(|ends| ends.peer.ip());
        let caller = self.gate.caller(request.headers(), peer)?;
        if !caller.may(self.access) {
            return Err(Problem::read_only());
        }
        if self.access == Access::Write && is_of_another_page(request.headers()) {
            let detail = "a page of another site may not change anything here";
            return Err(Problem::forbidden(detail));
        }
        self.gate.desk(caller, Deadline::of(request))
    }
}

impl Gate {
    pub(crate) fn new(tokens: &[Token], slot: ApiSlot) -> Arc<Self> {
        Arc::new(Self {
            tokens: Tokens::new(tokens),
            failures: Failures::default(),
            slot,
        })
    }

    /// The tokens there are. Without any only this machine can ask, and may.
    pub(crate) const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Whose token this is, or that it is nobody's or none. A peer that came with too many of nobody's is turned away
    /// with one more of them. Many share an address behind a proxy: a token that is somebody's always gets in, and a
    /// request without one counts against nobody.
    pub(crate) fn holder(&self, token: Option<&str>, peer: Option<IpAddr>) -> Result<Option<Caller>, Problem> {
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        if let Some(holder) = self.tokens.holder(token) {
            return Ok(Some(holder.clone()));
        }
        if let Some(wait) = peer.and_then(|peer| self.failures.wait(peer)) {
            let detail =
                "too many wrong tokens came from this address; wait before you try again, or give one that is right";
            let seconds = wait.as_secs() + 1;
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).with(header::RETRY_AFTER, seconds));
        }
        peer.iter().for_each(|peer| self.failures.count(*peer));
        Ok(None)
    }

    /// A desk for a caller, once postrider has started.
    pub(crate) fn desk(&self, caller: Caller, deadline: Deadline) -> Result<Desk, Problem> {
        let api = self.slot.api().ok_or_else(starting)?;
        Ok(Desk { api, caller, deadline })
    }

    /// Whose token a request carries.
    fn caller(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Caller, Problem> {
        if self.tokens.is_empty() {
            return Ok(Caller::anybody());
        }
        self.holder(bearer(headers), peer)?.ok_or_else(|| {
            let detail = "a valid token is needed: Authorization: Bearer <one of admin.tokens>";
            Problem::new(StatusCode::UNAUTHORIZED, detail).with(header::WWW_AUTHENTICATE, BEARER)
        })
    }
}

fn starting() -> Problem {
    let detail = "postrider is still starting: it has not read the webhooks yet; /readyz says what it waits for";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(header::RETRY_AFTER, STARTING_SECONDS)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(one), None) = (given.next(), given.next()) else {
        return None;
    };
    let (scheme, token) = one.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a browser sends this for a page that is not ours. A page can make it send requests without a body to any
/// address, loopback too, where no token is needed.
pub(crate) fn is_of_another_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let from_elsewhere = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    from_elsewhere
        || headers
            .get(header::ORIGIN)
            .is_some_and(|origin| !is_host(origin, headers))
}

fn is_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let named = origin.as_ref().and_then(Uri::authority);
    named
        .zip(host)
        .is_some_and(|(named, host)| named.as_str().eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let named = |(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        pairs.iter().map(named).collect()
    }

    #[test]
    fn a_token_comes_once_and_as_a_bearer() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
        ] {
            assert_eq!(bearer(&headers(&[("authorization", value)])), token, "{value}");
        }
        let mut twice = headers(&[("authorization", "Bearer abc")]);
        twice.append("authorization", "Bearer abc".parse().unwrap());
        assert_eq!(bearer(&twice), None);
    }

    #[test]
    fn what_a_browser_sends_for_another_page_is_told_apart() {
        let host = ("host", "127.0.0.1:8080");
        for ours in [
            vec![host],
            vec![host, ("origin", "http://127.0.0.1:8080")],
            vec![host, ("sec-fetch-site", "same-origin")],
            vec![host, ("sec-fetch-site", "none")],
        ] {
            assert!(!is_of_another_page(&headers(&ours)), "{ours:?}");
        }
        for theirs in [
            vec![host, ("origin", "http://127.0.0.1:3000")],
            vec![host, ("origin", "null")],
            vec![host, ("sec-fetch-site", "same-site")],
            vec![
                host,
                ("origin", "http://127.0.0.1:8080"),
                ("sec-fetch-site", "cross-site"),
            ],
        ] {
            assert!(is_of_another_page(&headers(&theirs)), "{theirs:?}");
        }
    }
}
