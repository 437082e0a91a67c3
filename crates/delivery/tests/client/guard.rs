//! The guard inside the connector: literal and resolved addresses, for every connection.

use std::time::Duration;

use postrider_delivery::client::Limits;
use postrider_delivery::egress::{Config, Policy};
use postrider_delivery::endpoint::Endpoint;
use postrider_types::ErrorKind;
use prometheus::Registry;

use crate::names::NameServer;
use crate::servers::{Caller, PATIENCE, Server, answered, failed, ok, open, post};

fn blocked(registry: &Registry, reason: &str) -> f64 {
    let families = registry.gather();
    let family = families
        .iter()
        .find(|family| family.name() == "postrider_blocked_total")
        .unwrap();
    let series = family
        .get_metric()
        .iter()
        .find(|series| series.get_label()[0].value() == reason);
    series.unwrap().get_counter().get_value()
}

/// An endpoint that was judged when more was allowed.
fn judged_elsewhere(url: &str) -> Endpoint {
    let wide = Config {
        allow: vec!["0.0.0.0/0".into(), "::/0".into()],
        ..Config::default()
    };
    Endpoint::parse(url, &Policy::from_config(&wide).unwrap()).unwrap()
}

#[tokio::test]
async fn a_forbidden_literal_is_refused_when_dialled_too() {
    let server = Server::answering(ok("{}")).await;
    let strict = Config {
        allow: vec![],
        ..open()
    };
    let caller = Caller::with(&strict, Limits::default());
    let failure = failed(post(&caller.client, &judged_elsewhere(&server.url()), PATIENCE).await);
    assert_eq!(failure.kind, ErrorKind::BlockedAddress);
    assert!(!failure.message.contains("127"), "{}", failure.message);
    assert_eq!(server.accepted(), 0);
    assert_eq!(blocked(&caller.registry, "loopback"), 1.0);
    assert_eq!(blocked(&caller.registry, "private"), 0.0);
}

#[tokio::test]
async fn a_mapped_literal_is_refused_even_where_its_ipv4_address_is_allowed() {
    let server = Server::answering(ok("{}")).await;
    let caller = Caller::new();
    let url = format!("http://[::ffff:127.0.0.1]:{}/", server.address.port());
    let failure = failed(post(&caller.client, &judged_elsewhere(&url), PATIENCE).await);
    assert_eq!(failure.kind, ErrorKind::BlockedAddress);
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_name_is_resolved_and_every_address_of_it_judged() {
    let server = Server::answering(ok("{}")).await;
    let names = NameServer::start(&[
        ("good.example", &["127.0.0.1"]),
        ("inside.example", &["10.0.0.1"]),
        ("mixed.example", &["127.0.0.1", "169.254.169.254"]),
        ("mixed6.example", &["127.0.0.1", "fd00::1"]),
    ])
    .await;
    let caller = Caller::with(&names.config(), Limits::default());
    let url = |name: &str| format!("http://{name}:{}/", server.address.port());
    assert_eq!(caller.answer(&url("good.example")).await.status, 200);
    for (name, reason) in [
        ("inside.example", "private"),
        ("mixed.example", "link_local"),
        ("mixed6.example", "unique_local"),
    ] {
        assert_eq!(
            caller.failure(&url(name)).await.kind,
            ErrorKind::BlockedAddress,
            "{name}"
        );
        assert_eq!(blocked(&caller.registry, reason), 1.0, "{name}");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_failure() {
    let names = NameServer::start(&[]).await;
    let caller = Caller::with(&names.config(), Limits::default());
    let failure = caller.failure("http://nobody.example/").await;
    assert_eq!(failure.kind, ErrorKind::Dns);
    assert_eq!(failure.message, "The endpoint's host name does not exist");
}

#[tokio::test]
async fn a_name_server_that_is_silent_is_a_dns_failure_within_its_budget() {
    let names = NameServer::start(&[("silent.example", &[])]).await;
    let caller = Caller::with(&names.config(), Limits::default());
    let endpoint = caller.endpoint("http://silent.example/");
    let timed = caller
        .client
        .post(&endpoint, hyper::HeaderMap::new, "{}".into(), PATIENCE)
        .await;
    assert_eq!(failed(timed.reply).kind, ErrorKind::Dns);
    assert!(timed.spent < Duration::from_secs(5), "{:?}", timed.spent);
}

#[tokio::test]
async fn an_internal_name_is_refused_when_dialled_too() {
    let names = NameServer::start(&[("printer.local", &["127.0.0.1"])]).await;
    let caller = Caller::with(&names.config(), Limits::default());
    let with_host = Config {
        allow_hosts: vec!["printer.local".into()],
        ..names.config()
    };
    let elsewhere = Policy::from_config(&with_host).unwrap();
    let server = Server::answering(ok("{}")).await;
    let url = format!("http://printer.local:{}/", server.address.port());
    let endpoint = Endpoint::parse(&url, &elsewhere).unwrap();
    let failure = failed(post(&caller.client, &endpoint, PATIENCE).await);
    assert_eq!(failure.kind, ErrorKind::BlockedAddress);
    let allowed = Caller::with(&with_host, Limits::default());
    assert_eq!(answered(post(&allowed.client, &endpoint, PATIENCE).await).status, 200);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn addresses_are_tried_in_turn() {
    let server = Server::answering(ok("{}")).await;
    let names = NameServer::start(&[("two.example", &["127.0.0.99", "127.0.0.1"])]).await;
    let caller = Caller::with(&names.config(), Limits::default());
    let url = format!("http://two.example:{}/", server.address.port());
    assert_eq!(caller.answer(&url).await.status, 200);
}

#[tokio::test]
async fn an_own_listener_is_refused_where_its_network_is_allowed() {
    let server = Server::answering(ok("{}")).await;
    let policy = Policy::from_config(&open())
        .unwrap()
        .with_own_listeners(vec![server.address]);
    let caller = Caller::of_policy(&open(), policy, Limits::default());
    let failure = failed(post(&caller.client, &judged_elsewhere(&server.url()), PATIENCE).await);
    assert_eq!(failure.kind, ErrorKind::BlockedAddress);
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn requests_come_from_the_source_address() {
    let server = Server::start(|mut stream| async move {
        let peer = stream.peer_addr().unwrap().ip().to_string();
        crate::servers::read_request(&mut stream).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, ok(&peer).as_bytes())
            .await
            .unwrap();
    })
    .await;
    let config = Config {
        source_address: Some("127.0.0.77".parse().unwrap()),
        ..open()
    };
    let caller = Caller::with(&config, Limits::default());
    assert_eq!(caller.answer(&server.url()).await.response.body, "127.0.0.77");
    let six = Config {
        allow: vec!["::1".into()],
        ..config
    };
    let failure = Caller::with(&six, Limits::default()).failure("http://[::1]:9/").await;
    assert_eq!(failure.kind, ErrorKind::ConnectFailed);
}
