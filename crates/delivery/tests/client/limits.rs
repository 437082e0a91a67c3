//! Bounds on what comes back.

use std::time::Duration;

use postrider_types::ErrorKind;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::servers::{Caller, PATIENCE, Server, answered, failed, ok, read_request};

async fn flood(mut stream: TcpStream, begin: &'static str, again: Vec<u8>) {
    read_request(&mut stream).await;
    let mut written = stream.write_all(begin.as_bytes()).await;
    while written.is_ok() {
        written = stream.write_all(&again).await;
    }
}

fn fields(count: usize) -> String {
    let fields: String = (1..count).map(|n| format!("x-{n}: y\r\n")).collect();
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n")
}

#[tokio::test]
async fn a_head_within_the_limits_is_taken() {
    let server = Server::answering(fields(100)).await;
    assert_eq!(Caller::new().answer(&server.url()).await.status, 200);
    let long = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
        "y".repeat(30 << 10)
    );
    let server = Server::answering(long).await;
    assert_eq!(Caller::new().answer(&server.url()).await.status, 200);
}

#[tokio::test]
async fn a_head_over_the_limits_is_too_large() {
    let wide = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
        "y".repeat(40 << 10)
    );
    for head in [fields(101), fields(102), wide] {
        let server = Server::answering(head).await;
        let failure = Caller::new().failure(&server.url()).await;
        assert_eq!(failure.kind, ErrorKind::ResponseTooLarge);
        assert_eq!(server.accepted(), 1);
    }
}

#[tokio::test]
async fn a_head_without_end_is_too_large() {
    let server =
        Server::start(|stream| flood(stream, "HTTP/1.1 200 OK\r\n", b"x-y: zzzzzzzzzzzzzzzzzzzz\r\n".to_vec())).await;
    assert_eq!(
        Caller::new().failure(&server.url()).await.kind,
        ErrorKind::ResponseTooLarge
    );
}

#[tokio::test]
async fn ten_informational_answers_are_skipped_and_eleven_are_too_many() {
    for (count, expected) in [(10, Ok(200)), (11, Err(ErrorKind::ResponseTooLarge))] {
        let server = Server::start(move |mut stream| async move {
            read_request(&mut stream).await;
            for _ in 0..count {
                // One by one, so that none of them shares a read with the answer.
                stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.unwrap();
                stream.flush().await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if count == 10 {
                stream.write_all(ok("").as_bytes()).await.unwrap();
            }
            std::future::pending().await
        })
        .await;
        let reply = Caller::new().post(&server.url()).await;
        match expected {
            Ok(status) => assert_eq!(answered(reply).status, status),
            Err(kind) => assert_eq!(failed(reply).kind, kind),
        }
    }
}

#[tokio::test]
async fn informational_answers_without_end_are_too_many() {
    let hint = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n".repeat(50);
    let server = Server::start(move |stream| flood(stream, "", hint.clone())).await;
    assert_eq!(
        Caller::new().failure(&server.url()).await.kind,
        ErrorKind::ResponseTooLarge
    );
}

#[tokio::test]
async fn a_body_of_64_kib_is_read_and_its_connection_kept() {
    let server = Server::answering(ok(&"x".repeat(64 << 10))).await;
    let caller = Caller::new();
    let endpoint = caller.endpoint(&server.url());
    for _ in 0..3 {
        let sent = caller
            .client
            .send(&endpoint, hyper::HeaderMap::new, "{}".into(), Duration::from_secs(20));
        let received = sent.await.0.unwrap();
        assert_eq!((received.body.len(), received.complete), (64 << 10, true));
        // Kept for outcomes is less.
        assert_eq!(received.answer().response.body.len(), 1024);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_larger_body_is_a_truncated_answer_and_ends_its_connection() {
    let server = Server::answering(ok(&"x".repeat((64 << 10) + 1))).await;
    let caller = Caller::new();
    for expected in 1..=3 {
        let answer = caller.answer(&server.url()).await;
        assert_eq!((answer.status, answer.response.truncated), (200, true));
        assert_eq!(server.accepted(), expected);
    }
}

#[tokio::test]
async fn a_body_without_end_is_a_truncated_answer() {
    let server = Server::start(|stream| flood(stream, "HTTP/1.1 503 No\r\n\r\n", vec![b'x'; 8192])).await;
    let answer = Caller::new().answer(&server.url()).await;
    assert_eq!((answer.status, answer.response.truncated), (503, true));
    assert_eq!(answer.response.body, "x".repeat(1024));
}

#[tokio::test]
async fn framing_that_costs_more_than_the_body_ends_the_reading() {
    let begin = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let extension = format!("1;{}\r\nx\r\n", "e".repeat(4000)).into_bytes();
    let server = Server::start(move |stream| flood(stream, begin, extension.clone())).await;
    let answer = Caller::new().answer(&server.url()).await;
    assert_eq!((answer.status, answer.response.truncated), (200, true));
    assert!(answer.response.body.len() < 100);
    // Six bytes for each byte of a body that would fit.
    let chunks = "1\r\nx\r\n".repeat(60_000);
    let server = Server::answering_once(format!("{begin}{chunks}0\r\n\r\n")).await;
    let caller = Caller::new();
    let endpoint = caller.endpoint(&server.url());
    let sent = caller
        .client
        .send(&endpoint, hyper::HeaderMap::new, "{}".into(), PATIENCE);
    let received = sent.await.0.unwrap();
    assert!(!received.complete);
    assert!((1024..60_000).contains(&received.body.len()), "{}", received.body.len());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_truncated_answer() {
    for partial in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense",
    ] {
        let server = Server::answering_once(partial).await;
        let answer = Caller::new().answer(&server.url()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            (answer.response.body.as_str(), answer.response.truncated),
            ("half", true)
        );
    }
}

#[tokio::test]
async fn a_body_that_hangs_is_a_truncated_answer_at_the_deadline() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let caller = Caller::new();
    let endpoint = caller.endpoint(&server.url());
    let timeout = Duration::from_millis(500);
    for expected in 1..=2 {
        let timed = caller
            .client
            .post(&endpoint, hyper::HeaderMap::new, "{}".into(), timeout)
            .await;
        assert!(timed.spent >= timeout);
        let answer = answered(timed.reply);
        assert_eq!((answer.status, answer.response.body.as_str()), (200, "half"));
        assert!(answer.response.truncated);
        assert_eq!(
            server.accepted(),
            expected,
            "a connection with half an answer is not used again"
        );
    }
}

#[tokio::test]
async fn a_body_that_drips_ends_at_the_deadline() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        let mut written = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while written.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            written = stream.write_all(b"x").await;
        }
    })
    .await;
    let answer = answered(
        Caller::new()
            .post_within(&server.url(), Duration::from_millis(500))
            .await,
    );
    assert_eq!((answer.status, answer.response.truncated), (200, true));
}
