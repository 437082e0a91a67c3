//! A name server that says of every name that its only address is 127.0.0.1.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const HEAD: usize = 12;
const A: [u8; 2] = [0, 1];

/// A name server on loopback. Dropping it closes it.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl NameServer {
    /// Starts one on a port of its own.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn start() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let asked = Arc::<Mutex<Vec<String>>>::default();
        Ok(Self {
            address: socket.local_addr()?,
            asked: Arc::clone(&asked),
            serving: tokio::spawn(serve(socket, asked)),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names it was asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(socket: UdpSocket, asked: Arc<Mutex<Vec<String>>>) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query).await {
        if let Some((name, answer)) = answer(&query[..length]) {
            asked.lock().push(name);
            // Who asked may be gone; then nobody misses the answer.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// Reads the question's name and answers it: one A record, and no record of another type.
fn answer(query: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut at = HEAD;
    let mut labels = Vec::new();
    while let length @ 1.. = usize::from(*query.get(at)?) {
        labels.push(String::from_utf8_lossy(query.get(at + 1..=at + length)?).into_owned());
        at += length + 1;
    }
    let question = query.get(HEAD..at + 5)?;
    let is_a = query.get(at + 1..at + 3)? == A;
    // The query's id; a recursive answer without error; one question, one answer or none, nothing else.
    let mut answer = [
        query.get(..2)?,
        &[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0],
        question,
    ]
    .concat();
    if is_a {
        // The question's name, type A, class IN, a minute to live, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some((labels.join("."), answer))
}
