//! The server as a peer sees it: real sockets, raw HTTP.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use postrider_admin::server::{HEAD_TIMEOUT, MAX_CONNECTIONS};
use postrider_admin::{ApiSlot, BindError, Config, Health, Server};
use prometheus::{IntCounter, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Running {
    address: SocketAddr,
    health: Health,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn loopback() -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        allowed_hosts: vec!["postrider.example".to_owned()],
        ..Config::default()
    }
}

async fn start() -> Running {
    let health = Health::new();
    let registry = Registry::new();
    let counter = IntCounter::new("postrider_things_total", "Things").unwrap();
    counter.inc_by(3);
    registry.register(Box::new(counter)).unwrap();
    let server = Server::bind(&loopback(), health.clone(), registry, ApiSlot::new())
        .await
        .unwrap();
    let stop = CancellationToken::new();
    Running {
        address: server.address(),
        health,
        stop: stop.clone(),
        task: tokio::spawn(server.run(stop)),
    }
}

impl Running {
    /// Sends a raw request and reads to the end of the connection.
    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        ))
        .await
    }
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let running = start().await;
    let kafka = running.health.condition("kafka");
    kafka.unmet("cannot reach 127.0.0.1:9092");
    let answer = running.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(
        body(&answer),
        r#"{"ready":false,"reasons":{"kafka":"cannot reach 127.0.0.1:9092"}}"#
    );
    kafka.met();
    let answer = running.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(body(&answer), r#"{"ready":true,"reasons":{}}"#);
}

#[tokio::test]
async fn health_and_its_alias_answer() {
    let running = start().await;
    running.health.heartbeat("poll").tick();
    for path in ["/healthz", "/livez"] {
        let answer = running.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(body(&answer), r#"{"alive":true,"reasons":{}}"#);
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let answer = start().await.get("/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(body(&answer).contains("\npostrider_things_total 3\n"), "{answer}");
}

#[tokio::test]
async fn errors_are_problems() {
    let running = start().await;
    let post = "POST /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let large = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 65537\r\n\r\n";
    let cases = [
        (running.get("/nothing").await, "404 Not Found"),
        (running.ask(post).await, "405 Method Not Allowed"),
        (running.ask(large).await, "413 Payload Too Large"),
    ];
    for (answer, status) in cases {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(
            answer.contains("content-type: application/problem+json\r\n"),
            "{answer}"
        );
        let problem: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
        assert_eq!(
            format!("{} {}", problem["status"], problem["title"].as_str().unwrap()),
            status
        );
        assert_eq!(problem["type"], "about:blank");
    }
    assert!(running.ask(post).await.contains("allow: GET,HEAD\r\n"));
}

#[tokio::test]
async fn a_foreign_host_is_misdirected() {
    let running = start().await;
    let ask = async |host: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        running.ask(&request).await
    };
    let answer = ask("evil.example").await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert!(ask("postrider.example:80").await.starts_with("HTTP/1.1 200 "));
    assert!(ask(&running.address.to_string()).await.starts_with("HTTP/1.1 200 "));
    let without = running.ask("GET /metrics HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(without.starts_with("HTTP/1.1 421 "), "{without}");
}

#[tokio::test]
async fn heads_that_never_end_do_not_keep_others_out() {
    let running = start().await;
    let mut slow = Vec::new();
    for at in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        if at % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: ").await.unwrap();
        }
        slow.push(stream);
    }
    let answer = tokio::time::timeout(HEAD_TIMEOUT * 6, running.get("/healthz")).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn stops_when_asked_although_a_connection_is_open() {
    let running = start().await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), running.task)
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let running = start().await;
    let config = Config {
        listen: running.address,
        ..loopback()
    };
    let error = Server::bind(&config, Health::new(), Registry::new(), ApiSlot::new())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {} (admin.listen)", running.address)
    );
    let BindError { source, .. } = error;
    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
}
