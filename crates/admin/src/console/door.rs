//! Who is let in, and what a request to change something has to show. A door leads to a [`Visit`].

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use postrider_types::Timestamp;

use super::Console;
use super::page::{Trouble, Viewer};
use super::sign_in;
use crate::api::{Desk, is_of_another_page};
use crate::config::Access;
use crate::deadline::Deadline;
use crate::problem::Problem;
use crate::tokens::Caller;

/// The session's cookie.
pub(super) const COOKIE: &str = "postrider_session";

/// A caller of the console at their desk.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) desk: Desk,
    pub(super) viewer: Viewer,
    pub(super) now: Timestamp,
}

/// Lets a request through to its page.
pub(super) async fn admit(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    let Some(caller) = console.caller(request.headers()) else {
        return to_sign_in(&request);
    };
    match console.visit(&request, caller) {
        Ok(visit) => {
            request.extensions_mut().insert(visit);
            next.run(request).await
        }
        Err(problem) => Trouble::from(problem).into_response(),
    }
}

impl Console {
    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let tokens = self.gate.tokens();
        if tokens.is_empty() {
            return Some(Caller::anybody());
        }
        let token = cookie(headers).and_then(|value| self.sessions.token(value))?;
        tokens.holder(&token).cloned()
    }

    fn visit(&self, request: &Request, caller: Caller) -> Result<Visit, Problem> {
        if changes(request.method()) {
            if !caller.may(Access::Write) {
                return Err(Problem::read_only());
            }
            from_ours(request.headers())?;
        }
        let viewer = Viewer::new(&caller, !self.gate.tokens().is_empty());
        let desk = self.gate.desk(caller, Deadline::of(request))?;
        let now = self.clock.now();
        Ok(Visit { desk, viewer, now })
    }
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// A browser says of every form and script where it comes from; what does not say so is not taken.
pub(super) fn from_ours(headers: &HeaderMap) -> Result<(), Problem> {
    let says = headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN);
    if says && !is_of_another_page(headers) {
        return Ok(());
    }
    Err(Problem::forbidden(
        "this does not come from a page of the console; open it and try again",
    ))
}

/// Where a page asks to sign in. What a script of ours asked for cannot be shown a page in its place: the whole page is
/// loaded again.
fn to_sign_in(request: &Request) -> Response {
    if request.headers().contains_key("hx-request") {
        let refresh = [("hx-refresh", HeaderValue::from_static("true"))];
        return (StatusCode::UNAUTHORIZED, refresh).into_response();
    }
    let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
    let wanted = if changes(request.method()) { "/" } else { wanted };
    Redirect::to(&sign_in::path(wanted)).into_response()
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter();
    let pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    values.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(cookie(&headers), None);
        headers.append("cookie", "a=1; postrider_session_old=2".parse().unwrap());
        assert_eq!(cookie(&headers), None);
        headers.append("cookie", "b=3;  postrider_session=x_-9".parse().unwrap());
        assert_eq!(cookie(&headers), Some("x_-9"));
    }

    #[test]
    fn a_change_has_to_say_that_it_comes_from_here() {
        let ours = |pairs: &[(&'static str, &str)]| {
            let named = |(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
            from_ours(&pairs.iter().map(named).collect()).is_ok()
        };
        let host = ("host", "127.0.0.1:8080");
        assert!(ours(&[host, ("origin", "http://127.0.0.1:8080")]));
        assert!(ours(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(!ours(&[host]));
        assert!(!ours(&[host, ("origin", "null")]));
        assert!(!ours(&[host, ("sec-fetch-site", "cross-site")]));
    }
}
