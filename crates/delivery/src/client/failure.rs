//! What the HTTP client's errors mean. Every answer comes from a type somewhere in the chain of causes,
//! never from a text.

use std::error::Error;
use std::io;

use postrider_types::ErrorKind;

use crate::causes;
use crate::connector::{ConnectError, OVER_BUDGET, OverBudget, RESET, Stale};
use crate::reply::Failure;
use crate::tls::Refusal;

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Not a byte of it was written, because the connection it was given to had ended before; or the endpoint says
    /// that it did nothing with it.
    NotSent(Failure),
    /// It may have been seen by the endpoint, or there was no connection at all.
    Failed(Failure),
}

impl Unanswered {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let failure = meaning(error);
        if is_unsent(error) {
            Self::NotSent(failure)
        } else {
            Self::Failed(failure)
        }
    }

    /// The same, where TLS ended the connection: that is why there is no answer.
    pub(super) fn because(self, refusal: Option<Refusal>) -> Self {
        match (self, refusal) {
            (Self::Failed(_), Some(refusal)) => Self::Failed(refused(refusal)),
            (unanswered, _) => unanswered,
        }
    }

    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::NotSent(failure) | Self::Failed(failure) => failure,
        }
    }
}

/// Whether the request certainly never left or was not looked at: hyper gave it back, the tap held it back, or the
/// endpoint refused it.
fn is_unsent(error: &(dyn Error + 'static)) -> bool {
    let canceled = causes::find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled);
    canceled || causes::find::<Stale>(error).is_some() || causes::find(error).is_some_and(is_unprocessed)
}

/// Whether an endpoint says of a stream that it did nothing with it (RFC 9113 6.8, 8.7). A connection that goes away
/// ends only those of its streams with that error which came after the last that is answered.
fn is_unprocessed(error: &h2::Error) -> bool {
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || is_refused)
}

pub(super) fn failure(kind: ErrorKind, message: &str) -> Failure {
    let message = message.to_owned();
    Failure { kind, message }
}

pub(super) fn too_large() -> Failure {
    failure(
        ErrorKind::ResponseTooLarge,
        "The endpoint's response head is larger than 32 KiB or 100 fields, or came with too much before it",
    )
}

fn meaning(error: &(dyn Error + 'static)) -> Failure {
    if let Some(refused) = causes::find::<ConnectError>(error) {
        return refused.failure();
    }
    if causes::find::<OverBudget>(error).is_some() {
        return too_large();
    }
    if let Some(tls) = causes::find::<rustls::Error>(error) {
        return refused(Refusal::of(tls));
    }
    let in_http = causes::find::<hyper::Error>(error).and_then(meaning_of_http);
    let in_http2 = || causes::find::<h2::Error>(error).and_then(meaning_of_http2);
    let in_socket = || causes::find::<io::Error>(error).map(meaning_of_socket);
    in_http
        .or_else(in_http2)
        .or_else(in_socket)
        .unwrap_or_else(bad_response)
}

fn meaning_of_http(error: &hyper::Error) -> Option<Failure> {
    if error.is_parse_too_large() {
        return Some(too_large());
    }
    if error.is_parse() {
        return Some(bad_response());
    }
    let ended = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    ended.then(closed)
}

/// What ended a stream of HTTP/2, as far as the endpoint did it: what we end ourselves is ended for what it answered.
fn meaning_of_http2(error: &h2::Error) -> Option<Failure> {
    let by_endpoint = error.is_remote();
    if by_endpoint && error.is_go_away() {
        return Some(closed());
    }
    (by_endpoint && error.is_reset()).then(reset)
}

fn meaning_of_socket(error: &io::Error) -> Failure {
    match error.kind() {
        OVER_BUDGET => too_large(),
        // The second is also what the reader of HTTP/2's frames calls the end of its input.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => closed(),
        // What a protocol layer wraps without a type of its own.
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => bad_response(),
        _ => reset(),
    }
}

fn refused(refusal: Refusal) -> Failure {
    failure(ErrorKind::Tls, &refusal.to_string())
}

fn reset() -> Failure {
    failure(ErrorKind::Reset, RESET)
}

pub(super) fn closed() -> Failure {
    failure(
        ErrorKind::ClosedBeforeResponse,
        "The endpoint closed the connection before it answered",
    )
}

fn bad_response() -> Failure {
    failure(ErrorKind::BadResponse, "The endpoint's response is not valid HTTP")
}
