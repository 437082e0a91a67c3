//! The address table at both ends of every block, and laws over whole blocks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;

use super::{Blocked, vet, vet_literal};
use crate::egress::{Config, Policy};

fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let config = Config {
        allow: owned(allow),
        deny: owned(deny),
        ..Config::default()
    };
    Policy::from_config(&config).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Written independently of the table: network, reason, and whether the addresses beside it are public.
#[rustfmt::skip]
const BLOCKS: [(&str, &str, &[&str]); 32] = [
    ("0.0.0.0/8", "unspecified", &["1.0.0.0"]),
    ("10.0.0.0/8", "private", &["9.255.255.255", "11.0.0.0"]),
    ("100.64.0.0/10", "cgnat", &["100.63.255.255", "100.128.0.0"]),
    ("127.0.0.0/8", "loopback", &["126.255.255.255", "128.0.0.0"]),
    ("168.63.129.16/32", "cloud_service", &["168.63.129.15", "168.63.129.17"]),
    ("169.254.0.0/16", "link_local", &["169.253.255.255", "169.255.0.0"]),
    ("172.16.0.0/12", "private", &["172.15.255.255", "172.32.0.0"]),
    ("192.0.0.0/24", "reserved", &["191.255.255.255", "192.0.1.0"]),
    ("192.0.2.0/24", "documentation", &["192.0.1.255", "192.0.3.0"]),
    ("192.88.99.0/24", "reserved", &["192.88.98.255", "192.88.100.0"]),
    ("192.168.0.0/16", "private", &["192.167.255.255", "192.169.0.0"]),
    ("198.18.0.0/15", "benchmarking", &["198.17.255.255", "198.20.0.0"]),
    ("198.51.100.0/24", "documentation", &["198.51.99.255", "198.51.101.0"]),
    ("203.0.113.0/24", "documentation", &["203.0.112.255", "203.0.114.0"]),
    ("224.0.0.0/4", "multicast", &["223.255.255.255"]),
    ("240.0.0.0/5", "reserved", &[]),
    ("255.255.255.255/32", "broadcast", &[]),
    ("::/128", "unspecified", &[]),
    ("::1/128", "loopback", &[]),
    ("::2:0:0/96", "embedded_ipv4", &[]),
    ("64:ff9b:1::/48", "embedded_ipv4", &[]),
    ("100::/64", "reserved", &[]),
    ("2001::/32", "embedded_ipv4", &["2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
    ("2001:2::/48", "benchmarking", &[]),
    ("2001:100::/24", "reserved", &["2001:200::"]),
    ("2001:db8::/32", "documentation", &["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"]),
    ("2002::/16", "embedded_ipv4", &["2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"]),
    ("3fff::/20", "documentation", &["3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"]),
    ("4000::/2", "reserved", &["3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
    ("fc00::/7", "unique_local", &[]),
    ("fe80::/10", "link_local", &[]),
    ("ff00::/8", "multicast", &[]),
];

#[test]
fn every_block_is_refused_from_end_to_end_and_its_neighbours_are_not() {
    let policy = Policy::default();
    for (block, reason, neighbours) in BLOCKS {
        let net: IpNet = block.parse().unwrap();
        for end in [net.network(), net.broadcast()] {
            let judged = vet(end, &policy).map_err(Blocked::as_str);
            assert_eq!(judged, Err(reason), "{end} of {block}");
            assert!(vet_literal(end, &policy).is_err(), "{end} of {block}, literal");
        }
        for neighbour in neighbours {
            assert_eq!(vet(ip(neighbour), &policy), Ok(()), "{neighbour} beside {block}");
            assert_eq!(
                vet_literal(ip(neighbour), &policy),
                Ok(()),
                "{neighbour} beside {block}"
            );
        }
    }
}

#[test]
fn reasons_are_distinct_words() {
    let words: std::collections::HashSet<_> = Blocked::ALL.iter().map(|why| why.as_str()).collect();
    assert_eq!(words.len(), Blocked::ALL.len());
}

#[test]
fn a_written_address_that_hides_an_ipv4_address_is_refused_whatever_it_hides() {
    let policy = Policy::default();
    for hidden in [
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "2001:0:1:2:3:4:f7f7:f7f7",
        "::ffff:127.0.0.1",
    ] {
        assert_eq!(vet_literal(ip(hidden), &policy), Err(Blocked::EmbeddedIpv4), "{hidden}");
    }
}

#[test]
fn a_resolved_address_is_judged_by_the_ipv4_address_it_carries() {
    let policy = Policy::default();
    for (carried, verdict) in [
        ("::ffff:8.8.8.8", Ok(())),
        ("64:ff9b::8.8.8.8", Ok(())),
        ("::ffff:127.0.0.1", Err(Blocked::Loopback)),
        ("64:ff9b::169.254.169.254", Err(Blocked::LinkLocal)),
        ("64:ff9b::10.0.0.1", Err(Blocked::Private)),
        ("2002:808:808::1", Err(Blocked::EmbeddedIpv4)),
    ] {
        assert_eq!(vet(ip(carried), &policy), verdict, "{carried}");
    }
}

#[test]
fn deny_beats_allow_and_allow_beats_the_table() {
    let policy = policy(&["10.1.0.0/16", "::1/128", "::/0"], &["10.1.2.0/24", "8.8.8.8"]);
    assert_eq!(vet(ip("10.1.0.1"), &policy), Ok(()));
    assert_eq!(vet(ip("10.1.2.1"), &policy), Err(Blocked::Denied));
    assert_eq!(vet(ip("10.2.0.1"), &policy), Err(Blocked::Private));
    assert_eq!(vet_literal(ip("::1"), &policy), Ok(()));
    assert_eq!(vet(ip("8.8.8.8"), &policy), Err(Blocked::Denied));
    for disguised in ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "::ffff:10.1.2.9"] {
        assert_eq!(vet(ip(disguised), &policy), Err(Blocked::Denied), "{disguised}");
        assert_eq!(vet_literal(ip(disguised), &policy), Err(Blocked::Denied), "{disguised}");
    }
}

fn blocked_v4() -> Vec<Ipv4Net> {
    let blocks = BLOCKS.iter().filter_map(|(block, _, _)| block.parse().ok());
    // The table's 240/4 stands above in two parts, so that the broadcast address has its own row.
    blocks.chain(["240.0.0.0/4".parse().unwrap()]).collect()
}

proptest! {
    #[test]
    fn an_ipv4_address_is_refused_exactly_when_a_block_holds_it(bits: u32) {
        let ip = Ipv4Addr::from(bits);
        let held = blocked_v4().iter().any(|net| net.contains(&ip));
        prop_assert_eq!(vet(ip.into(), &Policy::default()).is_err(), held);
    }

    #[test]
    fn every_address_of_a_block_is_refused(block in 0..BLOCKS.len(), bits: u128) {
        let inside = match BLOCKS[block].0.parse::<IpNet>().unwrap() {
            IpNet::V4(net) => {
                let host = u32::try_from(bits & u128::from(u32::MAX)).unwrap() & u32::from(net.hostmask());
                IpAddr::from(Ipv4Addr::from(u32::from(net.network()) | host))
            }
            IpNet::V6(net) => IpAddr::from(Ipv6Addr::from(u128::from(net.network()) | (bits & u128::from(net.hostmask())))),
        };
        prop_assert!(vet(inside, &Policy::default()).is_err());
        prop_assert!(vet_literal(inside, &Policy::default()).is_err());
    }

    #[test]
    fn nothing_outside_global_unicast_is_dialled_unless_it_carries_public_ipv4(bits: u128) {
        let ip = Ipv6Addr::from(bits);
        prop_assume!(ip.segments()[0] >> 13 != 1);
        prop_assert!(vet_literal(ip.into(), &Policy::default()).is_err());
    }

    #[test]
    fn a_disguise_changes_no_verdict(bits: u32) {
        let plain = Ipv4Addr::from(bits);
        let policy = policy(&["10.0.0.0/8"], &["10.9.0.0/16"]);
        let mapped = IpAddr::from(plain.to_ipv6_mapped());
        prop_assert_eq!(vet(mapped, &policy), vet(plain.into(), &policy));
        prop_assert!(vet_literal(mapped, &policy).is_err());
    }
}
