//! The status catalog: every status that can be shown, in the product's own words.
//! `schemas/status-catalog.json` is the same list as a file.

use std::borrow::Cow;
use std::fmt;

/// Every status of the catalog with its meaning, in ascending order.
pub const CATALOG: [(u16, &str); 63] = [
    (100, "Continue"),
    (101, "Switching Protocols"),
    (102, "Processing"),
    (200, "OK"),
    (201, "Created"),
    (202, "Accepted"),
    (203, "Non-authoritative Information"),
    (204, "No Content"),
    (205, "Reset Content"),
    (206, "Partial Content"),
    (207, "Multi-Status"),
    (208, "Already Reported"),
    (226, "IM Used"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Found"),
    (303, "See Other"),
    (304, "Not Modified"),
    (305, "Use Proxy"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (409, "Conflict"),
    (410, "Gone"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Payload Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Requested Range Not Satisfiable"),
    (417, "Expectation Failed"),
    (418, "I'm a teapot"),
    (421, "Misdirected Request"),
    (422, "Unprocessable Entity"),
    (423, "Locked"),
    (424, "Failed Dependency"),
    (426, "Upgrade Required"),
    (428, "Precondition Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (444, "Connection Closed Without Response"),
    (451, "Unavailable For Legal Reasons"),
    (499, "Client Closed Request"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Gateway Timeout"),
    (505, "HTTP Version Not Supported"),
    (506, "Variant Also Negotiates"),
    (507, "Insufficient Storage"),
    (508, "Loop Detected"),
    (510, "Not Extended"),
    (511, "Network Authentication Required"),
    (599, "Network Connect Timeout Error"),
];

/// The meaning of a status; one outside the catalog is shown as its number with its class's name.
#[must_use]
pub fn meaning(code: u16) -> Cow<'static, str> {
    match CATALOG.iter().find(|(known, _)| *known == code) {
        Some((_, meaning)) => Cow::Borrowed(meaning),
        None => Cow::Owned(format!("{code} {}", class(code))),
    }
}

/// A status as people read it: its number and what it means, which outside the catalog begins with the number.
#[must_use]
pub fn line(code: impl fmt::Display, meaning: &str) -> String {
    let number = code.to_string();
    if meaning.starts_with(&number) {
        return meaning.to_owned();
    }
    format!("{number} {meaning}").trim_end().to_owned()
}

const fn class(code: u16) -> &'static str {
    match code {
        100..=199 => "Informational",
        200..=299 => "Success",
        300..=399 => "Redirection",
        400..=499 => "Client Error",
        500..=599 => "Server Error",
        _ => "Unknown Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_outside_the_catalog_shows_its_number_and_class() {
        assert_eq!(meaning(299), "299 Success");
        assert_eq!(meaning(520), "520 Server Error");
        assert_eq!(meaning(999), "999 Unknown Status");
        assert_eq!(meaning(418), "I'm a teapot");
    }

    #[test]
    fn a_line_has_the_number_once() {
        assert_eq!(line(503, &meaning(503)), "503 Service Unavailable");
        assert_eq!(line(520, &meaning(520)), "520 Server Error");
        assert_eq!(line(520, ""), "520");
    }

    #[test]
    fn the_catalog_is_ascending_and_without_doubles() {
        assert!(CATALOG.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
