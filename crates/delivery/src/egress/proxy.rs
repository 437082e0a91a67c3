//! The outbound proxy: where it is, and what it is told. Its credentials are never shown.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_types::Secret;
use url::{Host, Url};

/// An HTTP proxy reached by CONNECT.
pub struct Proxy {
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    /// The value of `proxy-authorization`.
    pub(crate) authorization: Option<Secret>,
}

/// The text is no proxy that postrider can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProxy {
    /// It does not parse.
    #[error("is no URL; write it like http://user:password@proxy.example:3128")]
    NoUrl,
    /// TLS to the proxy, SOCKS and others.
    #[error("must begin with http://; only plain HTTP proxies with CONNECT are supported")]
    Scheme,
    /// There is more than an authority.
    #[error("must be scheme, host and port only")]
    Path,
}

impl Proxy {
    /// Reads `http://user:password@host:port`.
    ///
    /// # Errors
    /// [`BadProxy`]; it never repeats the text, which may hold a password.
    pub fn parse(text: &Secret) -> Result<Self, BadProxy> {
        let url = Url::parse(text.expose()).map_err(|_| BadProxy::NoUrl)?;
        if url.scheme() != "http" {
            return Err(BadProxy::Scheme);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(BadProxy::Path);
        }
        let host = url.host().ok_or(BadProxy::NoUrl)?.to_owned();
        let port = url.port_or_known_default().filter(|port| *port != 0);
        Ok(Self {
            host,
            port: port.ok_or(BadProxy::NoUrl)?,
            authorization: authorization(&url),
        })
    }
}

fn authorization(url: &Url) -> Option<Secret> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair = decoded(url.username());
    pair.push(b':');
    pair.extend(decoded(url.password().unwrap_or_default()));
    Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
}

/// Undoes percent-encoding, which a password with `@` or `:` needs inside a URL.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| first == b'%');
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}
