//! What the section takes, and what it says about what it does not take.

use std::net::SocketAddr;

use postrider_types::Secret;
use url::Host;

use super::{BadProxy, Config, Dns, Policy, Proxy};
use crate::address::Blocked;

fn paths(config: &Config) -> Vec<String> {
    config.faults().into_iter().map(|fault| fault.path).collect()
}

#[test]
fn an_empty_section_is_the_default_and_has_no_faults() {
    let read: Config = serde_json::from_str("{}").unwrap();
    assert_eq!(read, Config::default());
    assert_eq!(read.faults(), []);
    assert_eq!(read.dns.servers(), Ok(None));
}

#[test]
fn every_fault_is_named_by_its_field() {
    let config: Config = serde_json::from_value(serde_json::json!({
        "allow": ["10.0.0.0/8", "10.0.0.1/8", "ten"],
        "deny": ["::1", "1.2.3.4/33"],
        "allow_hosts": ["orders.internal", "*.shop.svc", "http://x", "*.", "a:80"],
        "ports": [443, 0],
        "dns": ["10.0.0.53:53", "10.0.0.53"],
        "proxy": "https://u:hunter2@proxy.example:3128",
        "source_address": "224.0.0.1",
    }))
    .unwrap();
    let expected = [
        "allow[1]",
        "allow[2]",
        "deny[1]",
        "allow_hosts[2]",
        "allow_hosts[3]",
        "allow_hosts[4]",
        "dns",
        "ports",
        "proxy",
        "source_address",
    ];
    assert_eq!(paths(&config), expected);
    let shown = format!("{:?} {config:?}", config.faults());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(Policy::from_config(&config).unwrap_err(), config.faults());
}

#[test]
fn name_servers_are_one_or_many() {
    let one = Dns::One("127.0.0.1:5353".into());
    let many = Dns::Many(vec!["127.0.0.1:5353".into(), "[::1]:53".into()]);
    let server: SocketAddr = "127.0.0.1:5353".parse().unwrap();
    assert_eq!(one.servers(), Ok(Some(vec![server])));
    assert_eq!(many.servers().unwrap().unwrap().len(), 2);
    assert_eq!(Dns::One("sistem".into()).servers(), Err("sistem".into()));
    let none = Config {
        dns: Dns::Many(vec![]),
        ..Config::default()
    };
    assert_eq!(paths(&none), ["dns"]);
}

#[test]
fn a_proxy_is_read_with_its_credentials_and_never_shown() {
    let proxy = Proxy::parse(&Secret::new("http://us%40er:p%3Aw@proxy.example:3128")).unwrap();
    assert_eq!((&proxy.host, proxy.port), (&Host::Domain("proxy.example".into()), 3128));
    // base64 of `us@er:p:w`
    assert_eq!(proxy.authorization.as_ref().unwrap().expose(), "Basic dXNAZXI6cDp3");
    assert_eq!(format!("{proxy:?}"), "Proxy(proxy.example:3128)");
    let plain = Proxy::parse(&Secret::new("http://10.0.0.1")).unwrap();
    assert_eq!((plain.port, plain.authorization.is_none()), (80, true));
    for (text, why) in [
        ("proxy.example:3128", BadProxy::Scheme),
        ("nonsense", BadProxy::NoUrl),
        ("socks5://proxy.example", BadProxy::Scheme),
        ("http://proxy.example/path", BadProxy::Path),
        ("http://proxy.example:0", BadProxy::NoUrl),
    ] {
        assert_eq!(Proxy::parse(&Secret::new(text)).unwrap_err(), why, "{text}");
    }
}

#[test]
fn own_listeners_are_refused_whatever_is_allowed() {
    let config = Config {
        allow: vec![
            "127.0.0.0/8".into(),
            "::/0".into(),
            "10.0.0.0/8".into(),
            "0.0.0.0/8".into(),
        ],
        ..Config::default()
    };
    let listeners = vec!["127.0.0.1:8080".parse().unwrap(), "0.0.0.0:9090".parse().unwrap()];
    let policy = Policy::from_config(&config).unwrap().with_own_listeners(listeners);
    for (target, verdict) in [
        ("127.0.0.1:8080", Err(Blocked::OwnListener)),
        ("[::ffff:127.0.0.1]:8080", Err(Blocked::OwnListener)),
        ("0.0.0.0:8080", Err(Blocked::OwnListener)),
        ("127.0.0.2:9090", Err(Blocked::OwnListener)),
        ("127.0.0.1:8081", Ok(())),
        ("10.0.0.1:8080", Ok(())),
    ] {
        assert_eq!(policy.vet(target.parse().unwrap()), verdict, "{target}");
    }
}
