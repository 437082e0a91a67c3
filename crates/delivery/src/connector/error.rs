//! Why there is no connection. The HTTP client finds these by type at the bottom of its own errors.

use std::io;

use postrider_types::ErrorKind;

use super::tunnel::TunnelError;
use crate::address::Blocked;
use crate::reply::Failure;
use crate::resolver::LookupError;
use crate::tls::Refusal;

/// What is said of a connection that the endpoint reset, whether anything was sent by then or not.
pub(crate) const RESET: &str = "The endpoint reset the connection before it answered";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The URL has no host or no port to dial.
    #[error("the URL has no host to call")]
    Url,
    /// The guard forbids the address or the name.
    #[error("the target is forbidden")]
    Blocked(#[source] Blocked),
    /// The name has no address.
    #[error("the name has no address")]
    Lookup(#[source] LookupError),
    /// No address of the right family.
    #[error("none of the addresses can be reached from the source address")]
    NoRoute,
    /// No connection in time.
    #[error("no connection in time")]
    TimedOut,
    /// Refused, unreachable, and others.
    #[error("the connection failed")]
    Socket(#[source] io::Error),
    /// The endpoint took the connection back as soon as it had made it.
    #[error("the connection was reset")]
    Reset(#[source] io::Error),
    /// The socket's peer is another than the one that was dialled.
    #[error("the peer is another than the one dialled")]
    Peer,
    /// The proxy did not connect us.
    #[error("the proxy failed")]
    Proxy(#[source] TunnelError),
    /// No TLS session.
    #[error("the TLS handshake failed")]
    Tls(#[source] Refusal),
}

impl ConnectError {
    /// The closed word and the sentence, without any address.
    pub(crate) fn failure(&self) -> Failure {
        let message = match self {
            Self::Url => "The endpoint's URL has no host to call".to_owned(),
            Self::Blocked(why) => why.to_string(),
            Self::Lookup(error) if error.is_absence() => "The endpoint's host name does not exist".to_owned(),
            Self::Lookup(_) => "The endpoint's host name could not be resolved".to_owned(),
            Self::NoRoute => "The endpoint has no address of the family that postrider calls from".to_owned(),
            Self::TimedOut => "The endpoint could not be connected in time".to_owned(),
            Self::Socket(error) => socket_sentence(error.kind()).to_owned(),
            Self::Reset(_) => RESET.to_owned(),
            Self::Peer => "The connection reached another machine than the endpoint".to_owned(),
            Self::Proxy(error) => error.to_string(),
            Self::Tls(refusal) => refusal.to_string(),
        };
        let kind = self.kind();
        Failure { kind, message }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url => ErrorKind::BadUrl,
            Self::Blocked(_) => ErrorKind::BlockedAddress,
            Self::Lookup(_) => ErrorKind::Dns,
            Self::TimedOut => ErrorKind::ConnectTimeout,
            Self::Socket(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => ErrorKind::ConnectRefused,
                io::ErrorKind::TimedOut => ErrorKind::ConnectTimeout,
                _ => ErrorKind::ConnectFailed,
            },
            Self::Reset(_) => ErrorKind::Reset,
            Self::NoRoute | Self::Peer => ErrorKind::ConnectFailed,
            Self::Proxy(_) => ErrorKind::ProxyFailed,
            Self::Tls(_) => ErrorKind::Tls,
        }
    }
}

const fn socket_sentence(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "The endpoint refused the connection",
        io::ErrorKind::TimedOut => "The endpoint could not be connected in time",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "The endpoint cannot be reached",
        _ => "The connection to the endpoint failed",
    }
}
