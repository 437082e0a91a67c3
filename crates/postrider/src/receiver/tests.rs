//! The receiver on a real socket.

use std::net::{IpAddr, Ipv4Addr};

use parking_lot::Mutex;
use postrider_delivery::signature::SigningKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Running {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Received>>>,
    stop: CancellationToken,
}

async fn start(secret: Option<&str>, statuses: &'static [u16]) -> Running {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let script = move |received: &Received| {
        log.lock().push(received.clone());
        let at = usize::try_from(received.number - 1).unwrap().min(statuses.len() - 1);
        Answer {
            status: StatusCode::from_u16(statuses[at]).unwrap(),
            delay: Duration::ZERO,
        }
    };
    let receiver = Receiver::bind(LOOPBACK, secret.map(Secret::new), script).await.unwrap();
    let stop = CancellationToken::new();
    let running = Running {
        address: receiver.address(),
        seen,
        stop: stop.clone(),
    };
    tokio::spawn(receiver.run(stop));
    running
}

impl Running {
    async fn post(&self, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "POST /hooks?x=1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn answers_as_its_script_says_with_json() {
    let running = start(None, &[503, 204, 200]).await;
    let answers = [
        running.post("", "{}").await,
        running.post("", "{}").await,
        running.post("", "{}").await,
    ];
    assert!(answers[0].starts_with("HTTP/1.1 503 ") && answers[0].ends_with(r#"{"received":false}"#));
    assert!(answers[1].starts_with("HTTP/1.1 204 ") && answers[1].ends_with("\r\n\r\n"));
    assert!(answers[2].starts_with("HTTP/1.1 200 ") && answers[2].ends_with(r#"{"received":true}"#));
    assert!(answers[2].contains("content-type: application/json"));
    let numbers: Vec<u64> = running.seen.lock().iter().map(|received| received.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn tells_right_signatures_from_wrong_ones() {
    let running = start(Some(SECRET), &[200]).await;
    let key = SigningKey::parse(&Secret::new(SECRET)).unwrap();
    let right = key.sign("msg_1", 1_700_000_000, b"{\"a\":1}");
    let headers = format!(
        "webhook-id: msg_1\r\nwebhook-timestamp: 1700000000\r\nwebhook-signature: {}\r\n",
        right.to_str().unwrap()
    );
    running.post(&headers, "{\"a\":1}").await;
    running.post(&headers, "{\"a\":2}").await;
    running.post("", "{\"a\":1}").await;
    let signed: Vec<Option<bool>> = running.seen.lock().iter().map(|received| received.signed).collect();
    assert_eq!(signed, [Some(true), Some(false), Some(false)]);
}

#[tokio::test]
async fn stops_when_asked() {
    let receiver = Receiver::bind(LOOPBACK, None, |_: &Received| Answer {
        status: StatusCode::OK,
        delay: Duration::ZERO,
    });
    let stop = CancellationToken::new();
    let task = tokio::spawn(receiver.await.unwrap().run(stop.clone()));
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn shows_what_came_without_credentials_or_control_characters() {
    let running = start(None, &[200]).await;
    let body = format!("{{\"a\":\"\u{1b}[2J\u{202e}\"}}{}", "x".repeat(3000));
    running
        .post("authorization: Basic dTpwYXNzd29yZA==\r\nx-key: k\r\n", &body)
        .await;
    let shown = running.seen.lock()[0].describe();
    assert!(shown.starts_with("#1 POST /hooks?x=1\n"), "{shown}");
    assert!(shown.contains("\n  authorization: Basic ********\n"), "{shown}");
    assert!(shown.contains("\n  x-key: k\n"), "{shown}");
    assert!(
        !shown.contains("dTpw") && !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
        "{shown}"
    );
    assert!(shown.contains(r#"{"a":"\u{1b}[2J\u{202e}"}"#), "{shown}");
    assert!(shown.ends_with("bytes more"), "{shown}");
    running.stop.cancel();
}
