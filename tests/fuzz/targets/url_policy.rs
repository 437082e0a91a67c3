//! A webhook's URL: what the default policy takes has one meaning, which both parsers share, and no address in it that
//! is not public.

#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use postrider_delivery::egress::Policy;
use postrider_delivery::endpoint::{Endpoint, MAX_LENGTH};
use url::{Host, Position, Url};

fuzz_target!(|raw: &str| {
    let policy = Policy::default();
    let Ok(endpoint) = Endpoint::parse(raw, &policy) else {
        return;
    };
    assert!(raw.len() <= MAX_LENGTH);
    let again = Endpoint::parse(endpoint.as_str(), &policy);
    assert_eq!(again.as_ref(), Ok(&endpoint), "the normal form is taken unchanged");
    check_url(endpoint.url());
    check_uri(&endpoint);
});

fn check_url(url: &Url) {
    assert!(matches!(url.scheme(), "http" | "https"));
    assert_eq!((url.username(), url.password(), url.fragment()), ("", None, None));
    assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
    assert_ne!(url.port(), Some(0));
    match url.host().expect("an endpoint has a host") {
        Host::Ipv4(ip) => check_ipv4(ip),
        Host::Ipv6(ip) => check_ipv6(ip),
        Host::Domain(name) => check_name(name),
    }
}

fn check_ipv4(ip: Ipv4Addr) {
    let [a, b, ..] = ip.octets();
    let carrier = a == 100 && (64..128).contains(&b);
    let benchmarking = a == 198 && matches!(b, 18 | 19);
    assert!(!ip.is_loopback() && !ip.is_private() && !ip.is_link_local(), "{ip}");
    assert!(!ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(), "{ip}");
    assert!(
        !ip.is_documentation() && !carrier && !benchmarking && (1..224).contains(&a),
        "{ip}"
    );
}

fn check_ipv6(ip: Ipv6Addr) {
    assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(), "{ip}");
    assert!(!ip.is_unicast_link_local() && !ip.is_unique_local(), "{ip}");
    assert!(ip.to_ipv4().is_none(), "{ip} is IPv4 in disguise");
    let [first, second, ..] = ip.segments();
    assert!(
        (0x2000..0x4000).contains(&first) && first != 0x2002,
        "{ip} is not global unicast"
    );
    assert!(
        first != 0x2001 || (second >= 0x200 && second != 0xdb8),
        "{ip} is a protocol's"
    );
}

fn check_name(name: &str) {
    assert!(
        name.parse::<Ipv4Addr>().is_err() && name.parse::<Ipv6Addr>().is_err(),
        "{name} is an address"
    );
    assert_eq!(name.to_ascii_lowercase(), name);
    assert!(name.contains('.') && !name.ends_with('.'), "{name} is internal");
    let last = name.rsplit('.').next().unwrap_or_default();
    let internal = ["localhost", "localdomain", "local", "internal", "svc"];
    assert!(
        !internal.contains(&last) && !name.ends_with(".home.arpa"),
        "{name} is internal"
    );
}

/// The HTTP client means the same host, port and resource.
fn check_uri(endpoint: &Endpoint) {
    let (url, uri) = (endpoint.url(), endpoint.uri());
    assert_eq!(uri.scheme_str(), Some(url.scheme()));
    assert_eq!((uri.host(), uri.port_u16()), (url.host_str(), url.port()));
    let resource = uri.path_and_query().expect("a URI with a host has a path");
    assert_eq!(resource.as_str(), &url[Position::BeforePath..]);
    let authority = uri.authority().expect("a URI with a host has an authority");
    assert!(!authority.as_str().contains('@'));
}
