//! A name server of the test's own, which answers from a table.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use postrider_delivery::egress::{Config, Dns};
use tokio::net::UdpSocket;

use crate::servers::open;

/// A name server on loopback. What it has no row for does not exist; a row without addresses is never answered.
pub(crate) struct NameServer {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl NameServer {
    pub(crate) async fn start(rows: &[(&str, &[&str])]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let parsed = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let table: HashMap<String, Vec<IpAddr>> = rows
            .iter()
            .map(|(name, ips)| (format!("{name}."), parsed(ips)))
            .collect();
        let table = Arc::new(table);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                if let Some(reply) = reply(&buffer[..length], &table) {
                    socket.send_to(&reply, from).await.unwrap();
                }
            }
        });
        Self { address, task }
    }

    /// A section that asks this server and lets loopback be called.
    pub(crate) fn config(&self) -> Config {
        Config {
            dns: Dns::Many(vec![self.address.to_string()]),
            ..open()
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn reply(request: &[u8], table: &HashMap<String, Vec<IpAddr>>) -> Option<Vec<u8>> {
    let request = Message::from_vec(request).ok()?;
    let query = request.queries.first()?.clone();
    let mut reply = Message::new(request.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_desired = true;
    reply.metadata.recursion_available = true;
    reply.add_query(query.clone());
    let name = query.name().to_string().to_ascii_lowercase();
    match table.get(&name) {
        None => reply.metadata.response_code = ResponseCode::NXDomain,
        Some(ips) if ips.is_empty() => return None,
        Some(ips) => {
            for ip in ips {
                let rdata = match (ip, query.query_type()) {
                    (IpAddr::V4(ip), RecordType::A) => RData::A(A(*ip)),
                    (IpAddr::V6(ip), RecordType::AAAA) => RData::AAAA(AAAA(*ip)),
                    _ => continue,
                };
                reply.add_answer(Record::from_rdata(query.name().clone(), 3600, rdata));
            }
        }
    }
    reply.to_vec().ok()
}
