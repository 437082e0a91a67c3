//! The `egress` section: where requests may go, and how they get there.
//!
//! [`Config`] is what a person writes; [`Policy`] is the same, compiled, and asked for every endpoint
//! and every connection.

mod metrics;
mod policy;
mod proxy;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use postrider_types::{Fault, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use metrics::Metrics;
pub use policy::Policy;
pub use proxy::{BadProxy, Proxy};

/// The `egress` section.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Networks that may be called although they are not public, such as `10.1.0.0/16`.
    pub allow: Vec<String>,
    /// Internal names that may be used, such as `orders.internal` or `*.shop.svc`; their addresses still need `allow`.
    pub allow_hosts: Vec<String>,
    /// Networks that must not be called, even when `allow` lists them.
    pub deny: Vec<String>,
    /// Whether plain `http` is refused.
    pub https_only: bool,
    /// Ports that may be called; empty means every port.
    pub ports: Vec<u16>,
    /// `system`, or name servers as `address:port`.
    pub dns: Dns,
    /// An HTTP proxy, `http://user:password@host:port`; reached by CONNECT for every request.
    pub proxy: Option<Secret>,
    /// The local address of every connection.
    pub source_address: Option<IpAddr>,
    /// A PEM file with certificate authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Who resolves names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Dns {
    /// `system`, or one name server.
    One(String),
    /// Name servers, asked in turn.
    Many(Vec<String>),
}

impl Default for Dns {
    fn default() -> Self {
        Self::One("system".to_owned())
    }
}

impl Dns {
    /// The name servers; `None` means those of the system.
    ///
    /// # Errors
    /// The first text that is no `address:port`.
    pub fn servers(&self) -> Result<Option<Vec<SocketAddr>>, String> {
        let parse = |text: &String| text.parse().map_err(|_| text.clone());
        match self {
            Self::One(word) if word == "system" => Ok(None),
            Self::One(server) => Ok(Some(vec![parse(server)?])),
            Self::Many(servers) => Ok(Some(servers.iter().map(parse).collect::<Result<_, _>>()?)),
        }
    }
}

impl Config {
    /// What cannot be taken as it is, and what would follow from it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = network_faults("allow", &self.allow);
        faults.extend(network_faults("deny", &self.deny));
        faults.extend(self.host_faults());
        faults.extend(self.dns_fault());
        if self.ports.contains(&0) {
            faults.push(Fault::new("ports", "holds 0, a port that cannot be called"));
        }
        if let Some(Err(bad)) = self.proxy.as_ref().map(Proxy::parse) {
            faults.push(Fault::new("proxy", bad.to_string()));
        }
        if self.source_address.is_some_and(|ip| ip.is_multicast()) {
            faults.push(Fault::new(
                "source_address",
                "is a multicast address; no connection can start from it",
            ));
        }
        faults
    }

    fn host_faults(&self) -> Vec<Fault> {
        let wrong = |host: &str| {
            let name = host.strip_prefix("*.").unwrap_or(host);
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            name.is_empty() || !name.bytes().all(allowed) || name.starts_with('.') || name.ends_with('.')
        };
        let bad = self.allow_hosts.iter().enumerate().filter(|(_, host)| wrong(host));
        let fault = |(at, _)| {
            Fault::new(
                format!("allow_hosts[{at}]"),
                "is no host name; write it like orders.internal or *.shop.svc, without scheme and port",
            )
        };
        bad.map(fault).collect()
    }

    fn dns_fault(&self) -> Option<Fault> {
        match self.dns.servers() {
            Err(text) => Some(Fault::new(
                "dns",
                format!("`{text}` is neither `system` nor a name server; write one like 10.0.0.53:53"),
            )),
            Ok(Some(servers)) if servers.is_empty() => Some(Fault::new(
                "dns",
                "is an empty list, so no name could be resolved; write `system` or name a server",
            )),
            Ok(_) => None,
        }
    }
}

/// Reads `10.0.0.0/8`, or a single address.
fn network(text: &str) -> Option<IpNet> {
    let parsed = text.parse::<IpNet>().ok();
    parsed.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn network_faults(field: &str, networks: &[String]) -> Vec<Fault> {
    let fault = |(at, text): (usize, &String)| {
        let path = format!("{field}[{at}]");
        match network(text) {
            None => Some(Fault::new(
                path,
                format!("`{text}` is no network; write it like 10.1.0.0/16"),
            )),
            Some(net) if net.trunc() != net => Some(Fault::new(
                path,
                format!("`{text}` has bits set behind its prefix; write {}", net.trunc()),
            )),
            Some(_) => None,
        }
    };
    networks.iter().enumerate().filter_map(fault).collect()
}

#[cfg(test)]
mod tests;
