//! The console: what the API does, as pages for people. Made on the server, whole without scripts; htmx and one small
//! script of our own make them quicker.
//!
//! # Life of a page
//!
//! 1. A door looks for a session, made by signing in with one of `admin.tokens`; where there are no tokens only this
//!    machine can ask, and needs none. What would change something has to come from a page of ours.
//! 2. A handler works at the same [`Desk`](crate::api::Desk) as the API's, by the same rules. What was refused is shown
//!    beside the fields it is about.
//! 3. A template makes the page. Every text of somebody else's is a [`text::Text`], and the template escapes it.
//! 4. The policy that goes with it lets the browser load nothing but this program's own files.
//!
//! Reading order: `session`, `door`, `sign_in`, `page`, `text`, `hook`, `hooks`, `fields`, `form`, `errors`, `editor`, `trial`,
//! `attempt`, `logs`, `delivery`, `charts`, `picture`, `assets`.

pub(crate) mod assets;
mod attempt;
mod charts;
mod delivery;
mod door;
mod editor;
mod errors;
mod fields;
mod form;
mod hook;
mod hooks;
mod logs;
mod page;
mod picture;
mod session;
mod sign_in;
mod text;
mod trial;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use postrider_types::Clock;

use crate::api::Gate;
use session::Sessions;

pub(crate) use page::wants_page;

/// What the pages go by.
#[derive(Debug)]
struct Console {
    gate: Arc<Gate>,
    sessions: Sessions,
    clock: Clock,
}

/// The page of an address that is none.
pub(crate) fn unknown() -> Response {
    with_policy(page::unknown())
}

/// All pages.
pub(crate) fn router(gate: &Arc<Gate>) -> Router {
    let clock = Clock::system();
    let console = Arc::new(Console {
        gate: Arc::clone(gate),
        sessions: Sessions::new(gate.tokens(), clock),
        clock,
    });
    let open = Router::new()
        .route("/sign-in", get(sign_in::ask).post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route("/assets/{version}/{name}", get(assets::one))
        .with_state(Arc::clone(&console));
    let pages = webhooks()
        .merge(logs())
        .route_layer(from_fn_with_state(console, door::admit));
    open.merge(pages).layer(from_fn(guarded))
}

fn webhooks() -> Router {
    Router::new()
        .route("/", get(hooks::list))
        .route("/webhooks/new", get(editor::blank).post(editor::add))
        .route("/webhooks/{id}", get(hooks::one))
        .route("/webhooks/{id}/edit", get(editor::open).post(editor::edit))
        .route("/webhooks/{id}/test", get(trial::ask).post(trial::send))
        .route("/webhooks/{id}/enable", post(hooks::enable))
        .route("/webhooks/{id}/disable", post(hooks::disable))
        .route(
            "/webhooks/{id}/rotate-secret",
            get(hooks::ask_rotation).post(hooks::rotate),
        )
        .route("/webhooks/{id}/delete", get(hooks::ask_deletion).post(hooks::delete))
        .route("/webhooks/{id}/remove", get(hooks::ask_removal).post(hooks::remove))
}

async fn guarded(request: axum::extract::Request, next: Next) -> Response {
    with_policy(next.run(request).await)
}

fn logs() -> Router {
    Router::new()
        .route("/logs", get(logs::list))
        .route("/logs/rows", get(logs::rows))
        .route("/logs/charts", get(charts::show))
        .route("/deliveries/{id}", get(delivery::one))
        .route("/deliveries/{id}/peek", get(delivery::peek))
}

/// What a page may load and where it may send: nothing but to us. The referrer goes to our own pages only; with none at
/// all browsers would send forms without saying where they come from.
fn with_policy(mut answer: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
