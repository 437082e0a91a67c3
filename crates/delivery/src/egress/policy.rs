//! The compiled policy: what an endpoint and an address are judged by.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use postrider_types::Fault;

use super::{Config, Proxy, network};
use crate::address::{self, Blocked};

/// Where requests may go. Made once from a [`Config`]; pure to ask.
#[derive(Debug, Default)]
pub struct Policy {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    allow_hosts: Vec<String>,
    https_only: bool,
    ports: Vec<u16>,
    own_listeners: Vec<SocketAddr>,
    pub(crate) dns: Option<Vec<SocketAddr>>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) source_address: Option<IpAddr>,
}

impl Policy {
    /// Compiles a section.
    ///
    /// # Errors
    /// The section's faults, when it has any.
    pub fn from_config(config: &Config) -> Result<Self, Vec<Fault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let networks = |texts: &[String]| texts.iter().filter_map(|text| network(text)).collect();
        Ok(Self {
            allow: networks(&config.allow),
            deny: networks(&config.deny),
            allow_hosts: config
                .allow_hosts
                .iter()
                .map(|host| host.to_ascii_lowercase())
                .collect(),
            https_only: config.https_only,
            ports: config.ports.clone(),
            own_listeners: Vec::new(),
            dns: config.dns.servers().unwrap_or_default(),
            proxy: config.proxy.as_ref().and_then(|url| Proxy::parse(url).ok()),
            source_address: config.source_address,
        })
    }

    /// Forbids postrider's own listeners, whatever `egress.allow` says.
    #[must_use]
    pub fn with_own_listeners(mut self, listeners: Vec<SocketAddr>) -> Self {
        self.own_listeners = listeners;
        self
    }

    /// Judges an address that a name resolved to, with the port it is dialled at.
    ///
    /// # Errors
    /// [`Blocked`] with the class of what is forbidden.
    pub fn vet(&self, target: SocketAddr) -> Result<(), Blocked> {
        self.vet_listener(target)?;
        address::vet(target.ip(), self)
    }

    /// Judges an address that stands in a URL, with the port it is dialled at.
    ///
    /// # Errors
    /// [`Blocked`] with the class of what is forbidden.
    pub fn vet_literal(&self, target: SocketAddr) -> Result<(), Blocked> {
        self.vet_listener(target)?;
        address::vet_literal(target.ip(), self)
    }

    /// Judges a lower-case name without a trailing dot.
    ///
    /// # Errors
    /// [`Blocked::InternalName`] for a name that can only be internal and is not in `egress.allow_hosts`.
    pub fn vet_name(&self, name: &str) -> Result<(), Blocked> {
        if is_internal(name) && !self.allows_host(name) {
            return Err(Blocked::InternalName);
        }
        Ok(())
    }

    /// Whether `egress.allow_hosts` lists the name.
    #[must_use]
    pub fn allows_host(&self, name: &str) -> bool {
        let listed = |host: &String| match host.strip_prefix('*') {
            Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
            None => name == host,
        };
        self.allow_hosts.iter().any(listed)
    }

    /// Whether plain `http` is refused.
    #[must_use]
    pub const fn https_only(&self) -> bool {
        self.https_only
    }

    /// Whether the port may be called.
    #[must_use]
    pub fn allows_port(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.contains(&port)
    }

    pub(crate) fn denies(&self, ip: IpAddr) -> bool {
        self.deny.iter().any(|net| net.contains(&ip))
    }

    pub(crate) fn allows(&self, ip: IpAddr) -> bool {
        self.allow.iter().any(|net| net.contains(&ip))
    }

    // A listener on the unspecified address is reached through every local one. Loopback is the local
    // one that can be known here; the others are private or public addresses of this machine.
    fn vet_listener(&self, target: SocketAddr) -> Result<(), Blocked> {
        let ip = target.ip().to_canonical();
        let is_own = |listener: &SocketAddr| {
            let own = listener.ip().to_canonical();
            listener.port() == target.port()
                && (own == ip || ip.is_unspecified() || (own.is_unspecified() && ip.is_loopback()))
        };
        match self.own_listeners.iter().any(is_own) {
            true => Err(Blocked::OwnListener),
            false => Ok(()),
        }
    }
}

/// Whether a name can only mean something inside a network.
fn is_internal(name: &str) -> bool {
    const SUFFIXES: [&str; 7] = [
        "localhost",
        "localdomain",
        "local",
        "internal",
        "svc",
        "cluster.local",
        "home.arpa",
    ];
    let under = |suffix: &str| name == suffix || name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    !name.contains('.') || SUFFIXES.into_iter().any(under)
}
