//! Signing in with a token, and out again. The token comes in a form's body and is never part of an address.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::Console;
use super::door::{COOKIE, from_ours};
use super::fields::{Asked, Fields, percent_encoded};
use super::page::{Shown, Trouble, Viewer, page};
use super::session::LIFETIME;
use super::text::Text;
use crate::problem::Problem;
use crate::routes::Ends;

#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    viewer: Viewer,
    next: String,
    refused: Option<Text>,
}

/// The address that asks to sign in and then goes on to a page.
pub(super) fn path(next: &str) -> String {
    format!("/sign-in?next={}", percent_encoded(next))
}

/// A page of ours, or the first one.
fn ours(next: &str) -> &str {
    let inside = next.starts_with('/') && !next.starts_with("//");
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if inside && plain { next } else { "/" }
}

pub(super) async fn ask(State(console): State<Arc<Console>>, Asked(asked): Asked) -> Shown {
    let next = ours(asked.text("next"));
    if console.gate.tokens().is_empty() {
        return Ok(Redirect::to(next).into_response());
    }
    page(&SignIn {
        viewer: Viewer::nobody(),
        next: next.to_owned(),
        refused: None,
    })
}

pub(super) async fn enter(
    State(console): State<Arc<Console>>,
    Extension(ends): Extension<Ends>,
    headers: HeaderMap,
    fields: Fields,
) -> Shown {
    from_ours(&headers)?;
    let (token, next) = (fields.text("token").trim(), ours(fields.text("next")));
    let refused = match console.gate.holder(Some(token), Some(ends.peer.ip())) {
        Ok(Some(_)) => {
            let cookie = cookie(&console.sessions.sealed(token), LIFETIME.as_secs(), &headers);
            return Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response());
        }
        Ok(None) => Problem::new(
            StatusCode::UNAUTHORIZED,
            "This token is not known. Check that it was copied whole.",
        ),
        Err(problem) => problem,
    };
    let shown = page(&SignIn {
        viewer: Viewer::nobody(),
        next: next.to_owned(),
        refused: Some(Text::of(&sentence(refused.detail()))),
    })?;
    Ok((refused.status(), refused.header().map(|pair| [pair]), shown).into_response())
}

pub(super) async fn leave(headers: HeaderMap) -> Result<Response, Trouble> {
    from_ours(&headers)?;
    Ok((
        [(header::SET_COOKIE, cookie("", 0, &headers))],
        Redirect::to("/sign-in"),
    )
        .into_response())
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The cookie's header. Where the browser came over TLS, it sends the cookie over TLS only.
fn cookie(value: &str, seconds: u64, headers: &HeaderMap) -> HeaderValue {
    let came_by = |name: &str, begins: &[u8]| {
        headers
            .get(name)
            .is_some_and(|value| value.as_bytes().starts_with(begins))
    };
    let is_secure = came_by("origin", b"https://") || came_by("x-forwarded-proto", b"https");
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    let mut header = HeaderValue::try_from(text).expect("base64 is visible");
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_comes_back_to_a_page_of_ours_only() {
        for fine in ["/", "/logs?event=tracking_update&cursor=a%20b"] {
            assert_eq!(ours(fine), fine);
        }
        for other in [
            "",
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "/a\r\nb",
            "logs",
        ] {
            assert_eq!(ours(other), "/", "{other:?}");
        }
    }

    #[test]
    fn an_address_is_one_parameter() {
        assert_eq!(
            path("/logs?a=b&c=%20é"),
            "/sign-in?next=/logs%3Fa%3Db%26c%3D%2520%C3%A9"
        );
    }

    #[test]
    fn the_cookie_is_for_tls_only_where_there_is_tls() {
        let mut headers = HeaderMap::new();
        let plain = cookie("x", 1, &headers);
        assert_eq!(
            plain,
            "postrider_session=x; Path=/; HttpOnly; SameSite=Strict; Max-Age=1"
        );
        headers.insert("origin", "https://postrider.example".parse().unwrap());
        assert!(cookie("x", 1, &headers).to_str().unwrap().ends_with("; Secure"));
    }
}
