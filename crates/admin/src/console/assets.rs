//! The files of the pages, part of the program. Their address names what is in them, so a browser keeps them until
//! they are others.

use std::sync::LazyLock;

use aws_lc_rs::digest::{Context, SHA256};
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use postrider_types::hex;

use super::page::unknown;

/// Name, type and content.
const FILES: [(&str, &str, &str); 4] = [
    (
        "console.css",
        "text/css; charset=utf-8",
        include_str!("../../assets/console.css"),
    ),
    (
        "console.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/console.js"),
    ),
    (
        "htmx.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/htmx.min.js"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut context = Context::new(&SHA256);
    FILES
        .iter()
        .for_each(|(_, _, content)| context.update(content.as_bytes()));
    hex::of(&context.finish().as_ref()[..8])
});

/// What the files of this program are known by.
pub(crate) fn version() -> &'static str {
    &VERSION
}

/// A file. One that a page of another version asks for is not kept.
pub(super) async fn one(Path((asked, name)): Path<(String, String)>) -> Response {
    let Some((_, kind, content)) = FILES.iter().find(|(known, _, _)| *known == name) else {
        return unknown();
    };
    let kept = if asked == version() {
        "public, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static(kept)),
    ];
    (headers, *content).into_response()
}
