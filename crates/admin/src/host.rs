//! Which Host a request may carry. A page of another site can point its own name at this port, but
//! it cannot make the browser send another Host: refusing foreign names ends DNS rebinding.
//!
//! Ports are not compared, so that forwarded ports work; a rebinding attack is about the name.

use std::net::{IpAddr, SocketAddr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// The names and addresses requests may carry beside the listener's own.
#[derive(Debug)]
pub(crate) struct Hosts {
    allowed: Vec<String>,
}

impl Hosts {
    /// Takes `admin.allowed_hosts`.
    pub(crate) fn new(allowed: &[String]) -> Self {
        let lower = |host: &String| host.to_ascii_lowercase();
        Self {
            allowed: allowed.iter().map(lower).collect(),
        }
    }

    /// Whether a request that came in at `local` may carry what it carries.
    pub(crate) fn admits(&self, uri: &Uri, headers: &HeaderMap, local: SocketAddr) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let from_header = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let named = uri.authority().into_iter().chain(&from_header);
        from_header.is_some() && named.into_iter().all(|authority| self.knows(authority, local.ip()))
    }

    fn knows(&self, authority: &Authority, local: IpAddr) -> bool {
        let host = authority.host().to_ascii_lowercase();
        self.is_listed(&host, authority) || is_own(&host, local)
    }

    fn is_listed(&self, host: &str, authority: &Authority) -> bool {
        let whole = authority.as_str().to_ascii_lowercase();
        let bare = host.trim_matches(['[', ']']);
        self.allowed
            .iter()
            .any(|allowed| *allowed == host || *allowed == whole || *allowed == bare)
    }
}

/// Whether a host is the address the connection came in at, or another word for loopback.
fn is_own(host: &str, local: IpAddr) -> bool {
    let local = local.to_canonical();
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
    match literal {
        Ok(address) => address == local || (local.is_loopback() && address.is_loopback()),
        Err(_) => local.is_loopback() && host == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(allowed: &[&str], host: &str, local: &str) -> bool {
        let allowed: Vec<String> = allowed.iter().map(|host| (*host).to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        let local = SocketAddr::new(local.parse().unwrap(), 8080);
        Hosts::new(&allowed).admits(&"/readyz".parse().unwrap(), &headers, local)
    }

    #[test]
    fn the_listeners_own_address_is_known_at_any_port() {
        for host in [
            "127.0.0.1:8080",
            "127.0.0.1",
            "localhost:9999",
            "LOCALHOST",
            "[::1]:8080",
        ] {
            assert!(admits(&[], host, "127.0.0.1"), "{host}");
        }
        assert!(admits(&[], "10.1.2.3:8080", "10.1.2.3"));
        assert!(admits(&[], "10.1.2.3:8080", "::ffff:10.1.2.3"));
        assert!(admits(&[], "[2001:db8::1]:80", "2001:db8::1"));
    }

    #[test]
    fn a_foreign_name_is_refused() {
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "10.9.9.9",
            "user@127.0.0.1x",
            "",
            "a b",
        ] {
            assert!(!admits(&[], host, "127.0.0.1"), "{host:?}");
        }
        assert!(!admits(&[], "localhost", "10.1.2.3"));
    }

    #[test]
    fn allowed_hosts_bind_the_port_only_when_they_name_one() {
        let allowed = ["Postrider.example", "other.example:8443", "10.9.9.9"];
        for host in [
            "postrider.example",
            "POSTRIDER.example:1",
            "other.example:8443",
            "10.9.9.9:80",
        ] {
            assert!(admits(&allowed, host, "127.0.0.1"), "{host}");
        }
        assert!(!admits(&allowed, "other.example:1", "127.0.0.1"));
    }

    #[test]
    fn an_absolute_target_does_not_get_round_the_check() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1".parse().unwrap());
        let local = "127.0.0.1:8080".parse().unwrap();
        let hosts = Hosts::new(&[]);
        assert!(hosts.admits(&"http://localhost/metrics".parse().unwrap(), &headers, local));
        assert!(!hosts.admits(&"http://evil.example/metrics".parse().unwrap(), &headers, local));
        headers.append(header::HOST, "127.0.0.1".parse().unwrap());
        assert!(!hosts.admits(&"/metrics".parse().unwrap(), &headers, local));
        assert!(!hosts.admits(&"/metrics".parse().unwrap(), &HeaderMap::new(), local));
    }
}
