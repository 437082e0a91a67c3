//! Every kind of failure, from a server that causes it.

use std::time::Duration;

use postrider_delivery::client::Limits;
use postrider_types::ErrorKind;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

use crate::servers::{Caller, PATIENCE, Server, answered, failed, open, read_request};

#[tokio::test]
async fn a_closed_port_refuses_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let failure = Caller::new().failure(&url).await;
    assert_eq!(failure.kind, ErrorKind::ConnectRefused);
    assert!(!failure.message.contains("127.0.0.1"), "{}", failure.message);
}

/// A listener whose queue is full drops what asks to connect.
async fn deaf() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    (listener, waiting)
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_in_time_is_a_connect_timeout() {
    let (listener, _waiting) = deaf().await;
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let limits = Limits {
        connect_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let caller = Caller::with(&open(), limits);
    assert_eq!(caller.failure(&url).await.kind, ErrorKind::ConnectTimeout);
    let hasty = Caller::new().post_within(&url, Duration::from_millis(300)).await;
    assert_eq!(failed(hasty).kind, ErrorKind::ConnectTimeout);
}

#[tokio::test]
async fn an_end_before_the_status_is_closed_before_response() {
    for partial in ["", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let server = Server::answering_once(partial).await;
        let failure = Caller::new().failure(&server.url()).await;
        assert_eq!(failure.kind, ErrorKind::ClosedBeforeResponse, "{partial:?}");
        assert_eq!(server.accepted(), 1, "a request that was seen is not sent again");
    }
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_closed_before_response() {
    let server = Server::start(|stream| async move { drop(stream) }).await;
    let failure = Caller::new().failure(&server.url()).await;
    let closed = [ErrorKind::ClosedBeforeResponse, ErrorKind::Reset];
    assert!(closed.contains(&failure.kind), "{failure:?}");
    assert!(server.accepted() <= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_reset_as_soon_as_it_is_made_was_made() {
    let server = Server::start(|stream| async move {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    for _ in 0..300 {
        let failure = Caller::new().failure(&server.url()).await;
        let ended = [ErrorKind::ClosedBeforeResponse, ErrorKind::Reset];
        assert!(ended.contains(&failure.kind), "{failure:?}");
    }
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    assert_eq!(Caller::new().failure(&server.url()).await.kind, ErrorKind::Reset);
}

#[tokio::test]
async fn what_is_not_http_is_a_bad_response() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/3.7 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\ncontent-length: minus\r\n\r\n",
    ] {
        let server = Server::answering_once(nonsense).await;
        let failure = Caller::new().failure(&server.url()).await;
        assert_eq!(failure.kind, ErrorKind::BadResponse, "{nonsense:?}");
    }
}

#[tokio::test]
async fn silence_after_the_request_is_a_timeout() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        std::future::pending().await
    })
    .await;
    let start = Instant::now();
    let reply = Caller::new()
        .post_within(&server.url(), Duration::from_millis(400))
        .await;
    assert_eq!(failed(reply).kind, ErrorKind::Timeout);
    assert!(start.elapsed() >= Duration::from_millis(400));
    assert!(start.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn a_drip_does_not_extend_the_deadline() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        for byte in b"HTTP/1.1 200 OK\r\n".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let start = Instant::now();
    let reply = Caller::new()
        .post_within(&server.url(), Duration::from_millis(400))
        .await;
    assert_eq!(failed(reply).kind, ErrorKind::Timeout);
    assert!(start.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn an_upload_that_nobody_reads_ends_at_the_deadline() {
    let server = Server::start(|stream| async move {
        let _kept_open = stream;
        std::future::pending().await
    })
    .await;
    let caller = Caller::new();
    let endpoint = caller.endpoint(&server.url());
    let body = bytes::Bytes::from(vec![b'x'; 32 << 20]);
    let timeout = Duration::from_millis(400);
    let timed = caller
        .client
        .post(&endpoint, hyper::HeaderMap::new, body, timeout)
        .await;
    assert_eq!(failed(timed.reply).kind, ErrorKind::Timeout);
    assert!(timed.spent >= timeout);
}

#[tokio::test]
async fn the_request_is_a_post_with_the_body_and_nothing_is_decompressed() {
    let server = Server::start(|mut stream| async move {
        let (head, body) = read_request(&mut stream).await.unwrap();
        assert_eq!(body, b"{\"code\":6}");
        let echo = format!("HTTP/1.1 202 Accepted\r\nretry-after: 7\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n{head}", head.len());
        stream.write_all(echo.as_bytes()).await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let answer = Caller::new().answer(&server.url()).await;
    assert_eq!((answer.status, answer.retry_after.as_deref()), (202, Some("7")));
    assert_eq!(answer.response.content_type.as_deref(), Some("text/plain"));
    assert!(!answer.response.truncated);
    let head = answer.response.body;
    assert!(head.starts_with("POST /hooks?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", server.address)), "{head}");
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
}

#[tokio::test]
async fn redirects_are_answers_and_are_not_followed() {
    let elsewhere = Server::answering(crate::servers::ok("")).await;
    for status in [301, 302, 303, 307, 308] {
        let location = elsewhere.url();
        let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::answering(answer).await;
        assert_eq!(Caller::new().answer(&server.url()).await.status, status);
    }
    assert_eq!(elsewhere.accepted(), 0);
}

#[tokio::test]
async fn switching_protocols_is_a_final_answer() {
    let server =
        Server::answering("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
    let answer = answered(Caller::new().post_within(&server.url(), Duration::from_secs(3)).await);
    assert_eq!(answer.status, 101);
}
