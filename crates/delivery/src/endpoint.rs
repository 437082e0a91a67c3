//! An endpoint: a URL that may be called. The raw text is judged before it is parsed, because a URL
//! parser repairs what it should refuse; what is stored, shown and dialled is the parsed form only.

use std::fmt;
use std::net::SocketAddr;

use hyper::Uri;
use hyper::header::HeaderValue;
use url::{Host, Url};

use crate::address::Blocked;
use crate::egress::Policy;

/// The longest URL that is taken, in bytes.
pub const MAX_LENGTH: usize = 4096;

/// A URL that the policy lets through. Its `Debug` shows neither path nor query.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    uri: Uri,
    path: Uri,
    host: HeaderValue,
}

/// Why a URL cannot be an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Over [`MAX_LENGTH`].
    #[error("is longer than 4096 bytes")]
    TooLong,
    /// White space, a control, a backslash, or a character that cannot be seen.
    #[error("holds a space, a backslash, a control or an invisible character")]
    ForbiddenCharacter,
    /// Not `http://…` or `https://…`.
    #[error("must begin with http:// or https:// and a host")]
    NotHttp,
    /// `user:password@`.
    #[error("must not hold a user or a password; use basic auth or a header")]
    Userinfo,
    /// `#…`.
    #[error("must not have a fragment (#)")]
    Fragment,
    /// The URL standard refuses it.
    #[error("is no valid URL")]
    Invalid,
    /// Port 0, or above 65535.
    #[error("must have a port from 1 to 65535")]
    Port,
    /// Not a name of letters, digits, `-`, `_` in labels of 1–63.
    #[error("has a host that is neither an address nor a host name")]
    Host,
    /// `egress.https_only`.
    #[error("must begin with https://; plain http is switched off here")]
    HttpsOnly,
    /// `egress.ports`.
    #[error("has a port that must not be called from here")]
    PortNotAllowed,
    /// A forbidden address or an internal name.
    #[error(transparent)]
    Blocked(Blocked),
}

impl BadUrl {
    /// Whether the guard forbids the host, rather than the text being wrong.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.blocked().is_some()
    }

    /// What the guard forbids.
    #[must_use]
    pub const fn blocked(&self) -> Option<Blocked> {
        match self {
            Self::Blocked(why) => Some(*why),
            _ => None,
        }
    }
}

impl Endpoint {
    /// Judges a URL.
    ///
    /// # Errors
    /// [`BadUrl`] with the first thing that is wrong.
    pub fn parse(raw: &str, policy: &Policy) -> Result<Self, BadUrl> {
        vet_raw(raw)?;
        let mut url = Url::parse(raw).map_err(|_| refused(raw))?;
        // Escapes make the normal form the longer one.
        if url.as_str().len() > MAX_LENGTH {
            return Err(BadUrl::TooLong);
        }
        drop_trailing_dot(&mut url)?;
        let port = url
            .port_or_known_default()
            .filter(|port| *port != 0)
            .ok_or(BadUrl::Port)?;
        if policy.https_only() && url.scheme() != "https" {
            return Err(BadUrl::HttpsOnly);
        }
        if !policy.allows_port(port) {
            return Err(BadUrl::PortNotAllowed);
        }
        vet_host(&url, port, policy)?;
        let uri = same_uri(&url)?;
        Ok(Self {
            path: uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from),
            host: host_and_port(&uri).ok_or(BadUrl::Host)?,
            url,
            uri,
        })
    }

    /// The normal form of the URL, with its query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The parsed URL.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The same URL as the HTTP client takes it.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Its path and query alone: what a request at HTTP/1 is for.
    pub(crate) const fn path(&self) -> &Uri {
        &self.path
    }

    /// The `Host` header: the host, with the port unless it is the scheme's own.
    pub(crate) const fn host(&self) -> &HeaderValue {
        &self.host
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.url.origin().ascii_serialization())
    }
}

fn vet_raw(raw: &str) -> Result<(), BadUrl> {
    if raw.len() > MAX_LENGTH {
        return Err(BadUrl::TooLong);
    }
    if raw.chars().any(is_forbidden) {
        return Err(BadUrl::ForbiddenCharacter);
    }
    let authority = authority(raw).ok_or(BadUrl::NotHttp)?;
    if authority.contains('@') {
        return Err(BadUrl::Userinfo);
    }
    if raw.contains('#') {
        return Err(BadUrl::Fragment);
    }
    Ok(())
}

// The URL standard drops tabs and line ends, turns `\` into `/`, and IDNA drops what cannot be seen:
// each lets a person read one host where the machine dials another.
fn is_forbidden(c: char) -> bool {
    matches!(c,
        '\0'..=' ' | '\\' | '\u{7f}'..='\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}'
        | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}')
}

/// What stands between `://` and the next `/`, `?` or `#`.
fn authority(raw: &str) -> Option<&str> {
    let (scheme, rest) = raw.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    (known && end > 0).then(|| &rest[..end])
}

/// Which part of an unparsable URL is to blame.
fn refused(raw: &str) -> BadUrl {
    let port = authority(raw).and_then(|authority| authority.rsplit_once(':'));
    match port {
        Some((_, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            match digits.parse::<u16>() {
                Ok(_) => BadUrl::Invalid,
                Err(_) => BadUrl::Port,
            }
        }
        _ => BadUrl::Invalid,
    }
}

// `example.com.` and `example.com` are one host; certificates and suffix rules know the second.
fn drop_trailing_dot(url: &mut Url) -> Result<(), BadUrl> {
    let Some(Host::Domain(name)) = url.host() else {
        return Ok(());
    };
    if let Some(name) = name.strip_suffix('.').map(str::to_owned) {
        url.set_host(Some(&name)).map_err(|_| BadUrl::Host)?;
    }
    Ok(())
}

fn vet_host(url: &Url, port: u16, policy: &Policy) -> Result<(), BadUrl> {
    let literal = |ip| policy.vet_literal(SocketAddr::new(ip, port)).map_err(BadUrl::Blocked);
    match url.host().ok_or(BadUrl::Host)? {
        Host::Ipv4(ip) => literal(ip.into()),
        Host::Ipv6(ip) => literal(ip.into()),
        Host::Domain(name) if is_host_name(name) => policy.vet_name(name).map_err(BadUrl::Blocked),
        Host::Domain(_) => Err(BadUrl::Host),
    }
}

fn is_host_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    name.len() <= 253 && name.split('.').all(is_label)
}

/// The URL for the HTTP client, which parses by other rules: both must mean the same host and port.
fn same_uri(url: &Url) -> Result<Uri, BadUrl> {
    let uri: Uri = url.as_str().parse().map_err(|_| BadUrl::Invalid)?;
    let same = uri.host() == url.host_str() && uri.port_u16() == url.port() && uri.scheme_str() == Some(url.scheme());
    if same { Ok(uri) } else { Err(BadUrl::Invalid) }
}

// The URL standard has dropped the scheme's own port already.
fn host_and_port(uri: &Uri) -> Option<HeaderValue> {
    HeaderValue::from_str(uri.authority()?.as_str()).ok()
}

#[cfg(test)]
mod tests;
