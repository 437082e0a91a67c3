//! Whether a Test passed, in the product's own sentences, and what may help where it did not. Pure.

use hyper::header::CONTENT_TYPE;
use postrider_types::ErrorKind;
use serde::de::IgnoredAny;

use crate::reply::Failure;
use crate::response::Received;

const NO_JSON: &str = "HTTP response must be in JSON format. Please Retry";
/// How far into a body a firewall's words are looked for, in bytes.
const LOOKED_AT: usize = 4096;

/// What came of a request.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    Answered(&'a Received),
    Failed(&'a Failure),
}

/// What a person is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) passed: bool,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

pub(super) fn judge(seen: &Seen<'_>) -> Verdict {
    let failed = |message: String, hint| Verdict {
        passed: false,
        message,
        hint,
    };
    match seen {
        Seen::Failed(failure) => failed(failure.message.clone(), hint_of_error(failure.kind)),
        Seen::Answered(received) => match received.status.as_u16() {
            code @ 200..=299 if is_good(received) => Verdict {
                passed: true,
                message: format!("The endpoint answered {code} as it should"),
                hint: None,
            },
            200..=299 => failed(NO_JSON.to_owned(), hint_of_body(received)),
            code => failed(
                format!("HTTP response code is {code}, it must be 200. Please Retry!"),
                hint_of_status(code, received),
            ),
        },
    }
}

/// A body of JSON that says so, or none at all with 204.
fn is_good(received: &Received) -> bool {
    received.status.as_u16() == 204 && received.body.is_empty() || says_json(received) && is_json(received)
}

fn says_json(received: &Received) -> bool {
    let value = received.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json" || essence.contains('/') && essence.ends_with("+json")
}

fn is_json(received: &Received) -> bool {
    // What is skimmed is not looked at closely enough to see that it is no text.
    let text = std::str::from_utf8(&received.body).ok();
    received.complete && text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn hint_of_error(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::BlockedAddress => Some(
            "Webhooks are not sent to internal or reserved addresses; use an address that is public, or ask the operator \
             to allow this one",
        ),
        ErrorKind::BadUrl => Some("Correct the URL and save it again"),
        ErrorKind::Tls => Some(
            "Check that the endpoint's certificate is valid for this host, not expired, and sent with its whole chain; \
             an endpoint that asks for a client certificate needs one in the webhook's tls",
        ),
        ErrorKind::Dns => Some("Check the host's name; it could not be found"),
        ErrorKind::ConnectRefused | ErrorKind::ConnectTimeout | ErrorKind::ConnectFailed => {
            Some("Check that the server is running and that its firewall lets this address in")
        }
        ErrorKind::Timeout => Some("Answer first and work afterwards: the endpoint took too long"),
        _ => None,
    }
}

fn hint_of_status(code: u16, received: &Received) -> Option<&'static str> {
    match code {
        300..=399 => Some("Redirects are not followed; enter the address that it leads to"),
        401 | 407 => Some("The endpoint wants credentials; check the username and password, or the custom header"),
        403 => Some("A firewall or the application is blocking the webhook; let it in, without a CSRF check"),
        404 => Some("Check the URL's path; the endpoint knows no such page"),
        500 => Some("The endpoint is unreachable: its server met an error of its own"),
        _ => hint_of_body(received),
    }
}

/// A firewall's page, whatever its status.
fn hint_of_body(received: &Received) -> Option<&'static str> {
    const WORDS: [&str; 4] = ["csrf", "forgery", "captcha", "firewall"];
    let looked_at = &received.body[..received.body.len().min(LOOKED_AT)];
    let text = String::from_utf8_lossy(looked_at).to_ascii_lowercase();
    let blocked = WORDS.iter().any(|word| text.contains(word));
    blocked.then_some("A firewall is blocking the webhook; let it in, without a CSRF check")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, content_type: &str, body: &str) -> Received {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        Received {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
            complete: true,
        }
    }

    fn told(received: &Received) -> (bool, String, bool) {
        let Verdict { passed, message, hint } = judge(&Seen::Answered(received));
        (passed, message, hint.is_some())
    }

    #[test]
    fn it_passes_with_json_that_says_so_or_with_204_and_nothing() {
        for (status, content_type, body) in [
            (200, "application/json", "{}"),
            (201, "Application/JSON; charset=utf-8", "[1]"),
            (200, "application/problem+json", "null"),
            (204, "text/plain", ""),
        ] {
            let (passed, message, hint) = told(&answer(status, content_type, body));
            assert!(passed && !hint, "{status} {content_type}: {message}");
        }
        for (status, content_type, body) in [
            (200, "text/html", "{}"),
            (200, "application/json", "{"),
            (200, "application/json", ""),
            (205, "text/plain", ""),
            (200, "+json", "{}"),
        ] {
            let (passed, message, _) = told(&answer(status, content_type, body));
            assert_eq!((passed, &*message), (false, NO_JSON), "{status} {content_type}");
        }
        let no_text = Received {
            body: Bytes::from_static(b"\"\xff\""),
            ..answer(200, "application/json", "")
        };
        assert!(!told(&no_text).0);
        let broken_off = Received {
            complete: false,
            ..answer(200, "application/json", "{}")
        };
        assert!(!told(&broken_off).0);
    }

    #[test]
    fn any_other_status_is_named() {
        for (status, hint) in [
            (302, true),
            (401, true),
            (403, true),
            (500, true),
            (407, true),
            (418, false),
        ] {
            let expected = format!("HTTP response code is {status}, it must be 200. Please Retry!");
            assert_eq!(told(&answer(status, "text/html", "")), (false, expected, hint));
        }
    }

    #[test]
    fn a_firewalls_page_is_recognised_by_its_words() {
        for status in [200, 419] {
            let (_, _, hint) = told(&answer(status, "text/html", "<h1>CSRF verification failed</h1>"));
            assert!(hint, "{status}");
        }
    }

    #[test]
    fn without_an_answer_the_error_speaks() {
        let failure = Failure {
            kind: ErrorKind::Tls,
            message: "the certificate is self-signed".into(),
        };
        let verdict = judge(&Seen::Failed(&failure));
        assert_eq!(
            (verdict.passed, &*verdict.message),
            (false, "the certificate is self-signed")
        );
        assert!(verdict.hint.unwrap().contains("certificate"));
    }

    proptest! {
        #[test]
        fn nothing_but_a_2xx_passes(status in 100..=999_u16, body in ".{0,40}") {
            let verdict = judge(&Seen::Answered(&answer(status, "application/json", &body)));
            prop_assert!(!verdict.passed || (200..300).contains(&status));
        }
    }
}
