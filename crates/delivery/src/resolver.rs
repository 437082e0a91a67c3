//! Names to addresses. Always over DNS, never through the system's hosts file or search domains: a name
//! in a merchant's URL means what it means in public.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{TokioResolver, system_conf};

/// The whole time of one lookup, A and AAAA together.
const BUDGET: Duration = Duration::from_secs(3);
/// One query to one server; two of them fit into the budget.
const QUERY: Duration = Duration::from_secs(1);
const RETRIES: usize = 1;
/// The longest that an answer is remembered, so that a changed address is found within a minute.
const MAX_TTL: Duration = Duration::from_secs(60);
/// The longest that a missing name is remembered: merchants mend their DNS.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// Answers remembered.
const CACHE: u64 = 4096;
/// Queries at once to one name server.
const QUERIES_AT_ONCE: usize = 1024;

/// Resolves names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    resolver: TokioResolver,
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// No answer within the budget.
    #[error("the name servers did not answer in time")]
    TimedOut,
    /// The answer is that there is none, or there was no answer.
    #[error("the name could not be resolved")]
    Failed(#[source] NetError),
}

impl LookupError {
    /// Whether the name servers said that there is no such name or no address for it.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_no_records_found())
    }
}

impl Names {
    /// Asks the given name servers, or the system's.
    pub(crate) fn new(servers: Option<&[SocketAddr]>) -> Result<Self, NetError> {
        let servers = match servers {
            Some(servers) => servers.iter().copied().map(name_server).collect(),
            None => system_conf::read_system_conf()?.0.name_servers,
        };
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options();
        Ok(Self {
            resolver: builder.build()?,
        })
    }

    /// Every address of a name, IPv4 first.
    pub(crate) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        // The final dot makes the name complete, so nothing is appended to it.
        let name = Name::from_ascii(format!("{name}.")).map_err(|error| LookupError::Failed(error.into()))?;
        let lookup = tokio::time::timeout(BUDGET, self.resolver.lookup_ip(name));
        let found = lookup.await.map_err(|_| LookupError::TimedOut)?;
        let mut addresses: Vec<IpAddr> = found.map_err(LookupError::Failed)?.iter().collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        Ok(addresses)
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let at_port = connections.map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, at_port.to_vec())
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = QUERY;
    options.attempts = RETRIES;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = CACHE;
    options.use_hosts_file = ResolveHosts::Never;
    options.positive_max_ttl = Some(MAX_TTL);
    options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
    options.max_active_requests = QUERIES_AT_ONCE;
    options
}
