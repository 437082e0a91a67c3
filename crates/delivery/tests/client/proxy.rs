//! Through a proxy: CONNECT, its credentials, and its failures, which are not the endpoint's.

use std::net::SocketAddr;

use postrider_delivery::client::Limits;
use postrider_delivery::egress::Config;
use postrider_types::{ErrorKind, Secret};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use crate::servers::{Caller, Server, ok, open, read_request};

/// A proxy that wants the password `hunter2` and connects everything to one server.
async fn proxy_to(target: SocketAddr) -> Server {
    Server::start(move |mut stream| async move {
        let (head, _) = read_request(&mut stream).await.unwrap();
        // base64 of `u:hunter2`
        if !head.contains("proxy-authorization: Basic dTpodW50ZXIy\r\n") {
            let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
            return stream.write_all(refusal).await.unwrap();
        }
        assert!(head.starts_with("CONNECT shop.example:8080 HTTP/1.1\r\n"), "{head}");
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\nx: y\r\n\r\n")
            .await
            .unwrap();
        let mut target = TcpStream::connect(target).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut target).await;
    })
    .await
}

fn through(proxy: SocketAddr, credentials: &str) -> Caller {
    let config = Config {
        proxy: Some(Secret::new(format!("http://{credentials}{proxy}"))),
        allow: vec![],
        ..open()
    };
    Caller::with(&config, Limits::default())
}

#[tokio::test]
async fn requests_go_through_the_proxy_with_its_credentials() {
    let server = Server::answering(ok("{}")).await;
    let proxy = proxy_to(server.address).await;
    let caller = through(proxy.address, "u:hunter2@");
    for _ in 0..3 {
        assert_eq!(caller.answer("http://shop.example:8080/hooks").await.status, 200);
    }
    assert_eq!((proxy.accepted(), server.accepted()), (1, 1));
}

#[tokio::test]
async fn a_proxys_failure_is_not_the_endpoints() {
    let refusing = proxy_to("127.0.0.1:9".parse().unwrap()).await;
    let failure = through(refusing.address, "u:wrong-secret@")
        .failure("http://shop.example:8080/")
        .await;
    assert_eq!(failure.kind, ErrorKind::ProxyFailed);
    assert_eq!(failure.message, "The proxy refused its credentials");
    for answer in [
        "HTTP/1.1 502 Bad Gateway\r\n\r\n",
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200",
    ] {
        let proxy = Server::answering_once(answer).await;
        let failure = through(proxy.address, "u:hunter2@")
            .failure("http://shop.example:8080/")
            .await;
        assert_eq!(failure.kind, ErrorKind::ProxyFailed, "{answer:?}");
        assert!(!failure.message.contains("hunter2"));
    }
    let nobody = through("127.0.0.1:9".parse().unwrap(), "")
        .failure("http://shop.example:8080/")
        .await;
    assert_eq!(nobody.kind, ErrorKind::ProxyFailed);
}

#[tokio::test]
async fn an_endless_answer_of_the_proxy_is_cut_off() {
    let proxy = Server::answering_once("HTTP/1.1 200 OK\r\n".to_owned() + &"x: y\r\n".repeat(10_000)).await;
    let failure = through(proxy.address, "").failure("http://shop.example:8080/").await;
    assert_eq!(failure.message, "The proxy's answer is not HTTP");
}

#[tokio::test]
async fn a_target_is_judged_before_the_proxy_is_asked() {
    let proxy = Server::answering_once("HTTP/1.1 200 OK\r\n\r\n").await;
    let caller = through(proxy.address, "");
    let wide = postrider_delivery::egress::Policy::from_config(&Config {
        allow: vec!["10.0.0.0/8".into()],
        allow_hosts: vec!["intranet".into()],
        ..Config::default()
    })
    .unwrap();
    for url in ["http://10.0.0.1/", "http://intranet/"] {
        let endpoint = postrider_delivery::endpoint::Endpoint::parse(url, &wide).unwrap();
        let reply = crate::servers::post(&caller.client, &endpoint, crate::servers::PATIENCE).await;
        assert_eq!(crate::servers::failed(reply).kind, ErrorKind::BlockedAddress, "{url}");
    }
    assert_eq!(proxy.accepted(), 0);
}
