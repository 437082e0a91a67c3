//! How often a peer may come with a wrong token. What is remembered of peers is bounded.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

/// Failures a peer has within a window before it is turned away for the rest of it.
pub(crate) const MOST_FAILURES: u32 = 20;
/// How long failures count.
const WINDOW: Duration = Duration::from_secs(60);
/// Peers remembered at once.
const MOST_PEERS: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    failures: u32,
}

impl Window {
    fn left(&self) -> Duration {
        WINDOW.saturating_sub(self.since.elapsed())
    }
}

/// The failed authentications of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    windows: Mutex<HashMap<IpAddr, Window>>,
}

impl Failures {
    /// How long a peer has to wait; `None` when it need not.
    pub(crate) fn wait(&self, peer: IpAddr) -> Option<Duration> {
        let windows = self.windows.lock();
        let window = windows.get(&network(peer))?;
        let waits = window.failures >= MOST_FAILURES && !window.left().is_zero();
        waits.then(|| window.left())
    }

    /// One more failure of a peer.
    pub(crate) fn count(&self, peer: IpAddr) {
        let peer = network(peer);
        let mut windows = self.windows.lock();
        make_room(&mut windows, peer);
        let fresh = Window {
            since: Instant::now(),
            failures: 0,
        };
        let window = windows.entry(peer).or_insert(fresh);
        if window.left().is_zero() {
            *window = fresh;
        }
        window.failures += 1;
        if window.failures == MOST_FAILURES {
            warn!(%peer, "Too many wrong tokens for the admin API; the peer is turned away for a while, unless with a valid one");
        }
    }
}

/// Forgets windows that are over, and the oldest if that is not enough.
fn make_room(windows: &mut HashMap<IpAddr, Window>, peer: IpAddr) {
    if windows.len() < MOST_PEERS || windows.contains_key(&peer) {
        return;
    }
    windows.retain(|_, window| !window.left().is_zero());
    let oldest = windows
        .iter()
        .min_by_key(|(_, window)| window.since)
        .map(|(peer, _)| *peer);
    if let Some(oldest) = oldest.filter(|_| windows.len() >= MOST_PEERS) {
        windows.remove(&oldest);
    }
}

/// What counts as one peer: whoever has one IPv6 address has the 2^64 beside it.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_with_too_many_failures_waits_for_the_rest_of_the_minute() {
        let failures = Failures::default();
        for _ in 1..MOST_FAILURES {
            failures.count(peer("192.0.2.1"));
        }
        assert_eq!(failures.wait(peer("192.0.2.1")), None);
        tokio::time::advance(Duration::from_secs(20)).await;
        failures.count(peer("::ffff:192.0.2.1"));
        assert_eq!(failures.wait(peer("192.0.2.1")), Some(Duration::from_secs(40)));
        assert_eq!(failures.wait(peer("192.0.2.2")), None);
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(failures.wait(peer("192.0.2.1")), None);
        failures.count(peer("192.0.2.1"));
        assert_eq!(failures.wait(peer("192.0.2.1")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn neighbours_in_one_ipv6_network_are_one_peer() {
        let failures = Failures::default();
        for at in 0..MOST_FAILURES {
            failures.count(peer(&format!("2001:db8::{at:x}")));
        }
        assert!(failures.wait(peer("2001:db8::ffff")).is_some());
        assert!(failures.wait(peer("2001:db8:0:1::1")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_1024_peers_are_remembered() {
        let failures = Failures::default();
        for at in 0..3 * u32::try_from(MOST_PEERS).unwrap() {
            failures.count(IpAddr::from(at.to_be_bytes()));
            assert!(failures.windows.lock().len() <= MOST_PEERS);
        }
    }
}
