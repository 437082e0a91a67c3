//! Which addresses may be dialled. Pure: a table of networks with the reason each is forbidden.
//!
//! The order is `egress.deny`, then `egress.allow`, then the table. An IPv4 address inside an IPv6 one
//! is judged by the IPv4 address when a name resolved to it, and refused when somebody wrote it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::egress::Policy;

/// Why an address or a name may not be dialled. Closed, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.sentence())]
pub enum Blocked {
    /// `127.0.0.0/8`, `::1`
    Loopback,
    /// RFC 1918
    Private,
    /// `169.254.0.0/16`, `fe80::/10`: cloud metadata lives there.
    LinkLocal,
    /// `100.64.0.0/10`
    Cgnat,
    /// `224.0.0.0/4`, `ff00::/8`
    Multicast,
    /// `255.255.255.255`
    Broadcast,
    /// `0.0.0.0/8`, `::`
    Unspecified,
    /// The networks of examples.
    Documentation,
    /// `198.18.0.0/15`, `2001:2::/48`
    Benchmarking,
    /// Assigned to protocols or to nothing.
    Reserved,
    /// `fc00::/7`, `fec0::/10`
    UniqueLocal,
    /// Mapped, compatible, 6to4, Teredo or NAT64.
    EmbeddedIpv4,
    /// `168.63.129.16`
    CloudService,
    /// Listed in `egress.deny`.
    Denied,
    /// One of postrider's own listeners.
    OwnListener,
    /// A name that can only be internal.
    InternalName,
}

impl Blocked {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Loopback,
        Self::Private,
        Self::LinkLocal,
        Self::Cgnat,
        Self::Multicast,
        Self::Broadcast,
        Self::Unspecified,
        Self::Documentation,
        Self::Benchmarking,
        Self::Reserved,
        Self::UniqueLocal,
        Self::EmbeddedIpv4,
        Self::CloudService,
        Self::Denied,
        Self::OwnListener,
        Self::InternalName,
    ];

    /// The label's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link_local",
            Self::Cgnat => "cgnat",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Unspecified => "unspecified",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Reserved => "reserved",
            Self::UniqueLocal => "unique_local",
            Self::EmbeddedIpv4 => "embedded_ipv4",
            Self::CloudService => "cloud_service",
            Self::Denied => "denied",
            Self::OwnListener => "own_listener",
            Self::InternalName => "internal_name",
        }
    }

    // One sentence for all addresses: a merchant learns the class, never what a name resolved to.
    const fn sentence(self) -> &'static str {
        match self {
            Self::InternalName => "The host name is internal; an endpoint needs a public name",
            _ => "The endpoint's address is in a network that must not be called",
        }
    }
}

/// Judges an address that a name resolved to.
///
/// # Errors
/// [`Blocked`] with the network's class.
pub fn vet(ip: IpAddr, policy: &Policy) -> Result<(), Blocked> {
    let judged = carried_by_resolver(ip).map_or(ip, IpAddr::V4);
    if policy.denies(ip) || policy.denies(judged) {
        return Err(Blocked::Denied);
    }
    if policy.allows(ip) || policy.allows(judged) {
        return Ok(());
    }
    by_table(judged)
}

/// Judges an address that stands in a URL: one that hides an IPv4 address is refused whatever it hides.
///
/// # Errors
/// [`Blocked`] with the network's class.
pub fn vet_literal(ip: IpAddr, policy: &Policy) -> Result<(), Blocked> {
    let inner = embedded(ip).map(IpAddr::V4);
    if policy.denies(ip) || inner.is_some_and(|inner| policy.denies(inner)) {
        return Err(Blocked::Denied);
    }
    if policy.allows(ip) {
        return Ok(());
    }
    if inner.is_some() {
        return Err(Blocked::EmbeddedIpv4);
    }
    by_table(ip)
}

fn by_table(ip: IpAddr) -> Result<(), Blocked> {
    let found = match ip {
        IpAddr::V4(ip) => V4.iter().find(|row| row.holds(ip)).map(|row| row.why),
        IpAddr::V6(ip) => V6.iter().find(|row| row.holds(ip)).map(|row| row.why),
    };
    match (found, ip) {
        (Some(why), _) => Err(why),
        // Only 2000::/3 is global unicast; what IANA has not handed out is no merchant's.
        (None, IpAddr::V6(ip)) if ip.segments()[0] >> 13 != 1 => Err(Blocked::Reserved),
        (None, _) => Ok(()),
    }
}

struct Net4 {
    base: Ipv4Addr,
    bits: u32,
    why: Blocked,
}

impl Net4 {
    fn holds(&self, ip: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
        u32::from(ip) & mask == u32::from(self.base)
    }
}

struct Net6 {
    base: Ipv6Addr,
    bits: u32,
    why: Blocked,
}

impl Net6 {
    fn holds(&self, ip: Ipv6Addr) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
        u128::from(ip) & mask == u128::from(self.base)
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u32, why: Blocked) -> Net4 {
    let base = Ipv4Addr::new(a, b, c, d);
    Net4 { base, bits, why }
}

const fn v6(a: u16, b: u16, c: u16, bits: u32, why: Blocked) -> Net6 {
    let base = Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0);
    Net6 { base, bits, why }
}

// The first row that holds the address gives the reason: narrow rows stand before wide ones.
#[rustfmt::skip]
const V4: [Net4; 17] = [
    v4(0, 0, 0, 0, 8, Blocked::Unspecified),
    v4(10, 0, 0, 0, 8, Blocked::Private),
    v4(100, 64, 0, 0, 10, Blocked::Cgnat),
    v4(127, 0, 0, 0, 8, Blocked::Loopback),
    v4(168, 63, 129, 16, 32, Blocked::CloudService),
    v4(169, 254, 0, 0, 16, Blocked::LinkLocal),
    v4(172, 16, 0, 0, 12, Blocked::Private),
    v4(192, 0, 0, 0, 24, Blocked::Reserved),
    v4(192, 0, 2, 0, 24, Blocked::Documentation),
    v4(192, 88, 99, 0, 24, Blocked::Reserved),
    v4(192, 168, 0, 0, 16, Blocked::Private),
    v4(198, 18, 0, 0, 15, Blocked::Benchmarking),
    v4(198, 51, 100, 0, 24, Blocked::Documentation),
    v4(203, 0, 113, 0, 24, Blocked::Documentation),
    v4(224, 0, 0, 0, 4, Blocked::Multicast),
    v4(255, 255, 255, 255, 32, Blocked::Broadcast),
    v4(240, 0, 0, 0, 4, Blocked::Reserved),
];

#[rustfmt::skip]
const V6: [Net6; 15] = [
    Net6 { base: Ipv6Addr::UNSPECIFIED, bits: 128, why: Blocked::Unspecified },
    Net6 { base: Ipv6Addr::LOCALHOST, bits: 128, why: Blocked::Loopback },
    v6(0, 0, 0, 80, Blocked::EmbeddedIpv4),
    v6(0x64, 0xff9b, 0, 96, Blocked::EmbeddedIpv4),
    v6(0x64, 0xff9b, 1, 48, Blocked::EmbeddedIpv4),
    v6(0x2001, 0, 0, 32, Blocked::EmbeddedIpv4),
    v6(0x2001, 2, 0, 48, Blocked::Benchmarking),
    v6(0x2001, 0, 0, 23, Blocked::Reserved),
    v6(0x2001, 0xdb8, 0, 32, Blocked::Documentation),
    v6(0x2002, 0, 0, 16, Blocked::EmbeddedIpv4),
    v6(0x3fff, 0, 0, 20, Blocked::Documentation),
    v6(0xfc00, 0, 0, 7, Blocked::UniqueLocal),
    v6(0xfec0, 0, 0, 10, Blocked::UniqueLocal),
    v6(0xfe80, 0, 0, 10, Blocked::LinkLocal),
    v6(0xff00, 0, 0, 8, Blocked::Multicast),
];

/// The IPv4 address that a resolver may hand out inside an IPv6 one: mapped, or behind NAT64.
fn carried_by_resolver(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(joined(high, low)),
        _ => None,
    }
}

/// The IPv4 address that stands inside an IPv6 one in any of the known ways.
fn embedded(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = ip else { return None };
    let teredo = |high: u16, low: u16| joined(!high, !low);
    carried_by_resolver(ip).or(match v6.segments() {
        // `::` and `::1` are themselves, not IPv4-compatible addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(joined(high, low)),
        [0x2001, 0, _, _, _, _, high, low] => Some(teredo(high, low)),
        _ => None,
    })
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests;
