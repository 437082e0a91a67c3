//! TCP connections to vetted addresses. Every address is judged here, literal or resolved, for every
//! connection, and the socket connects to the very address that was judged.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;
use url::Host;

use super::error::ConnectError;
use super::metered::Metered;
use super::tunnel::{self, TunnelError};
use crate::address::Blocked;
use crate::egress::{Metrics, Policy, Proxy};
use crate::resolver::Names;

/// Addresses of one name that are tried for one connection.
const MAX_TRIED: usize = 8;

/// Makes TCP connections for the TLS layer above it.
#[derive(Debug, Clone)]
pub(crate) struct Dialer(Arc<Parts>);

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) policy: Arc<Policy>,
    pub(super) names: Names,
    pub(super) metrics: Metrics,
    pub(super) connect_timeout: Duration,
}

/// What a URL asks to be dialled.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    host: Host<String>,
    port: u16,
}

impl Target {
    fn of(uri: &Uri) -> Option<Self> {
        let default = match uri.scheme_str()? {
            "https" => 443,
            _ => 80,
        };
        Some(Self {
            host: Host::parse(uri.host()?).ok()?,
            port: uri.port_u16().unwrap_or(default),
        })
    }

    const fn literal(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ipv4(ip) => Some(SocketAddr::new(IpAddr::V4(ip), self.port)),
            Host::Ipv6(ip) => Some(SocketAddr::new(IpAddr::V6(ip), self.port)),
            Host::Domain(_) => None,
        }
    }
}

impl Dialer {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    async fn dial(self, uri: Uri) -> Result<TokioIo<Metered>, ConnectError> {
        let parts = &self.0;
        let target = Target::of(&uri).ok_or(ConnectError::Url)?;
        let stream = match &parts.policy.proxy {
            Some(proxy) => parts.through_proxy(proxy, &target).await,
            None => parts.directly(&target).await,
        };
        if let Err(ConnectError::Blocked(why)) = &stream {
            parts.metrics.blocked(*why);
        }
        stream.map(|tcp| TokioIo::new(Metered::new(tcp)))
    }
}

impl Parts {
    async fn directly(&self, target: &Target) -> Result<TcpStream, ConnectError> {
        let connect = async {
            let addresses = self.vetted(target).await?;
            self.reach(&addresses).await
        };
        let connected = timeout(self.connect_timeout, connect).await;
        connected.map_err(|_| ConnectError::TimedOut)?
    }

    /// The addresses of a target; none when any of them is forbidden.
    async fn vetted(&self, target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
        self.vet_as_written(target).map_err(ConnectError::Blocked)?;
        let addresses = self.resolved(&target.host, target.port).await?;
        if target.literal().is_none() {
            let verdict = addresses.iter().try_for_each(|address| self.policy.vet(*address));
            verdict.map_err(ConnectError::Blocked)?;
        }
        Ok(addresses)
    }

    fn vet_as_written(&self, target: &Target) -> Result<(), Blocked> {
        match (&target.host, target.literal()) {
            (Host::Domain(name), _) => self.policy.vet_name(name),
            (_, Some(address)) => self.policy.vet_literal(address),
            (_, None) => Ok(()),
        }
    }

    async fn resolved(&self, host: &Host<String>, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let ips = match host {
            Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
            Host::Domain(name) => self.names.addresses(name).await.map_err(ConnectError::Lookup)?,
        };
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// Tries the addresses in turn; each gets an equal part of the time that is left.
    async fn reach(&self, addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
        let deadline = Instant::now() + self.connect_timeout;
        let source = self.policy.source_address;
        let same_family = |address: &&SocketAddr| source.is_none_or(|ip| ip.is_ipv4() == address.is_ipv4());
        let tried: Vec<_> = addresses.iter().filter(same_family).take(MAX_TRIED).collect();
        let mut last = ConnectError::NoRoute;
        for (at, address) in tried.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let part = left / u32::try_from(tried.len() - at).unwrap_or(1);
            match timeout(part, connect(**address, source)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = ConnectError::TimedOut,
            }
        }
        Err(last)
    }

    // The proxy's own address is the operator's word and not judged; the target is, as far as it is known.
    async fn through_proxy(&self, proxy: &Proxy, target: &Target) -> Result<TcpStream, ConnectError> {
        self.vet_as_written(target).map_err(ConnectError::Blocked)?;
        let deadline = Instant::now() + self.connect_timeout;
        let tunnel = async {
            let addresses = self.resolved(&proxy.host, proxy.port).await;
            let addresses = addresses.map_err(|_| TunnelError::Unreachable)?;
            let reached = self.reach(&addresses).await;
            let mut stream = reached.map_err(|_| TunnelError::Unreachable)?;
            let authority = format!("{}:{}", target.host, target.port);
            tunnel::open(&mut stream, &authority, proxy.authorization.as_ref()).await?;
            Ok(stream)
        };
        let opened = timeout_at(deadline, tunnel).await;
        opened
            .unwrap_or(Err(TunnelError::TimedOut))
            .map_err(ConnectError::Proxy)
    }
}

async fn connect(address: SocketAddr, source: Option<IpAddr>) -> Result<TcpStream, ConnectError> {
    let socket = bound(address, source).map_err(ConnectError::Socket)?;
    let stream = socket.connect(address).await.map_err(not_connected)?;
    // A socket that is connected takes both, until the other end takes the connection back.
    stream.set_nodelay(true).map_err(ConnectError::Reset)?;
    let peer = stream.peer_addr().map_err(ConnectError::Reset)?;
    if peer.ip().to_canonical() == address.ip().to_canonical() && peer.port() == address.port() {
        Ok(stream)
    } else {
        Err(ConnectError::Peer)
    }
}

/// An endpoint that takes no connections refuses them. One that resets them has taken them.
fn not_connected(error: std::io::Error) -> ConnectError {
    match error.kind() {
        std::io::ErrorKind::ConnectionReset => ConnectError::Reset(error),
        _ => ConnectError::Socket(error),
    }
}

fn bound(address: SocketAddr, source: Option<IpAddr>) -> std::io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Metered>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}
