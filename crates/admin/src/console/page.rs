//! Pages, and what is shown in the place of one.

use askama::Template;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use tracing::error;

use super::text::Text;
use crate::config::Access;
use crate::problem::Problem;
use crate::tokens::Caller;

/// A page, or what is shown in its place.
pub(super) type Shown = Result<Response, Trouble>;

/// Who looks at a page.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    /// The token's name, where there are tokens.
    pub(super) name: Option<Text>,
    /// Whether the viewer may change anything.
    pub(super) writes: bool,
    /// Whether the viewer has webhooks of more than one account before them.
    pub(super) sees_accounts: bool,
    /// Where in the console the page is.
    pub(super) place: &'static str,
}

impl Viewer {
    pub(super) fn new(caller: &Caller, has_session: bool) -> Self {
        Self {
            name: has_session.then(|| Text::of(&caller.name)),
            writes: caller.may(Access::Write),
            sees_accounts: caller.sees_all() || caller.default_account().is_none(),
            place: "webhooks",
        }
    }

    /// The same, in another place of the console.
    pub(super) fn within(self, place: &'static str) -> Self {
        Self { place, ..self }
    }

    /// Someone who has not signed in.
    pub(super) const fn nobody() -> Self {
        Self {
            name: None,
            writes: false,
            sees_accounts: false,
            place: "",
        }
    }
}

/// Makes a page.
pub(super) fn page(template: &impl Template) -> Shown {
    Ok(Html(template.render()?).into_response())
}

/// The same, answered with another status.
pub(super) fn page_as(status: StatusCode, template: &impl Template) -> Shown {
    page(template).map(|page| (status, page).into_response())
}

/// What went wrong, as a page.
#[derive(Debug)]
pub(super) struct Trouble(Problem);

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<askama::Error> for Trouble {
    fn from(error: askama::Error) -> Self {
        error!(%error, "A page of the console could not be made");
        let detail = "the page could not be made; the log says why";
        Self(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
    }
}

#[derive(Debug, Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    viewer: Viewer,
    status: u16,
    title: Text,
    detail: Text,
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = problem.status();
        let shown = TroublePage {
            viewer: Viewer::nobody(),
            status: status.as_u16(),
            title: Text::of(heading(status)),
            detail: Text::of(problem.detail()),
        };
        // Without its page it is still said.
        let html = shown.render().unwrap_or_else(|_| heading(status).to_owned());
        (status, problem.header().map(|pair| [pair]), Html(html)).into_response()
    }
}

fn heading(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is nothing here",
        StatusCode::FORBIDDEN => "This is not allowed",
        StatusCode::SERVICE_UNAVAILABLE => "Not now",
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "This could not be done",
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => "This was not understood",
        _ => "Something went wrong",
    }
}

/// Whether whoever asks wants to look at the answer.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

/// The page of an address that is none.
pub(crate) fn unknown() -> Response {
    Trouble(Problem::new(StatusCode::NOT_FOUND, "no page has this address")).into_response()
}
