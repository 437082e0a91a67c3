//! A name server that says of every name that its only address is 127.0.0.1, unless it was told to say something
//! else: to change its mind, to mix addresses, to be late or silent.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const HEAD: usize = 12;
const A: u16 = 1;
const CNAME: u16 = 5;
/// The question's name, as a pointer to it.
const ASKED: [u8; 2] = [0xc0, 0x0c];

/// What is said of a name.
#[derive(Debug, Clone)]
pub enum Says {
    /// These addresses, which nobody may remember.
    Addresses(Vec<Ipv4Addr>),
    /// It is another name, which has this address.
    Alias(String, Ipv4Addr),
    /// This address, but not at once.
    Late(Duration, Ipv4Addr),
    /// Nothing at all.
    Nothing,
}

#[derive(Debug, Default)]
struct Memory {
    asked: Vec<String>,
    says: HashMap<String, VecDeque<Says>>,
}

/// A name server on loopback. Dropping it closes it.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    serving: JoinHandle<()>,
}

impl NameServer {
    /// Starts one on a port of its own.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn start() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let memory = Arc::<Mutex<Memory>>::default();
        Ok(Self {
            address: socket.local_addr()?,
            memory: Arc::clone(&memory),
            serving: tokio::spawn(serve(Arc::new(socket), memory)),
        })
    }

    /// From now on, questions for the address of a name get these answers in turn, and the last one ever after.
    pub fn say(&self, name: &str, says: impl IntoIterator<Item = Says>) {
        let says = says.into_iter().collect();
        self.memory.lock().says.insert(name.to_owned(), says);
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names it was asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.memory.lock().asked.clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(socket: Arc<UdpSocket>, memory: Arc<Mutex<Memory>>) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query).await {
        let Some(question) = Question::read(&query[..length]) else {
            continue;
        };
        let says = said(&mut memory.lock(), &question);
        let wait = match &says {
            Says::Nothing => continue,
            Says::Late(wait, _) => *wait,
            Says::Addresses(_) | Says::Alias(..) => Duration::ZERO,
        };
        let (answer, socket) = (question.answer(&says), Arc::clone(&socket));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            // Who asked may be gone; then nobody misses the answer.
            let _ = socket.send_to(&answer, from).await;
        });
    }
}

fn said(memory: &mut Memory, question: &Question) -> Says {
    memory.asked.push(question.name.clone());
    let Some(says) = memory.says.get_mut(&question.name) else {
        return Says::Addresses(vec![Ipv4Addr::LOCALHOST]);
    };
    let first = says.front().cloned().unwrap_or(Says::Nothing);
    // A question for the other family takes nothing from the script.
    if question.kind == A && says.len() > 1 {
        says.pop_front();
    }
    first
}

/// A query that was read as far as it is answered.
struct Question {
    id: [u8; 2],
    name: String,
    kind: u16,
    /// The question as it came.
    raw: Vec<u8>,
}

impl Question {
    fn read(query: &[u8]) -> Option<Self> {
        let mut at = HEAD;
        let mut labels = Vec::new();
        while let length @ 1.. = usize::from(*query.get(at)?) {
            labels.push(String::from_utf8_lossy(query.get(at + 1..=at + length)?).into_owned());
            at += length + 1;
        }
        let kind = query.get(at + 1..at + 3)?;
        Some(Self {
            id: [*query.first()?, *query.get(1)?],
            name: labels.join(".").to_ascii_lowercase(),
            kind: u16::from_be_bytes([kind[0], kind[1]]),
            raw: query.get(HEAD..at + 5)?.to_vec(),
        })
    }

    fn answer(&self, says: &Says) -> Vec<u8> {
        let records = self.records(says);
        let count = u8::try_from(records.len()).expect("a few records");
        // The query's id; a recursive answer without error; one question and the answers, nothing else.
        let head = [0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
        [&self.id[..], &head, &self.raw, &records.concat()].concat()
    }

    fn records(&self, says: &Says) -> Vec<Vec<u8>> {
        let is_a = self.kind == A;
        let addresses = |addresses: &[Ipv4Addr]| -> Vec<Vec<u8>> {
            let all = addresses.iter().filter(|_| is_a);
            all.map(|ip| record(&ASKED, A, &ip.octets())).collect()
        };
        match says {
            Says::Addresses(ips) => addresses(ips),
            Says::Late(_, ip) => addresses(&[*ip]),
            Says::Alias(name, ip) => {
                let name = wire(name);
                let mut records = vec![record(&ASKED, CNAME, &name)];
                records.extend(is_a.then(|| record(&name, A, &ip.octets())));
                records
            }
            Says::Nothing => Vec::new(),
        }
    }
}

/// A record of class IN that must not be remembered.
fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short data").to_be_bytes();
    [owner, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 0], &length, data].concat()
}

/// A name as it stands in messages.
fn wire(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).expect("a short label")], label.as_bytes()].concat();
    let mut name: Vec<u8> = name.split('.').flat_map(label).collect();
    name.push(0);
    name
}
