//! One plain HTTP/1.1 request, written by hand: the tests ask the admin API without the client under test.

use std::net::SocketAddr;

use anyhow::Context;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::patience::PATIENCE;

/// The answer to a GET: its status and its body, chunks included as they came.
///
/// # Errors
/// When nobody listens, or what comes back is no HTTP.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    timeout(PATIENCE, exchange(address, "GET", path, None, None)).await?
}

/// The answer to a request with or without a token and a JSON body: its status and its body; null when that is no
/// JSON.
///
/// # Errors
/// When nobody listens, or what comes back is no HTTP.
pub async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
    token: Option<&str>,
) -> anyhow::Result<(u16, Value)> {
    let (status, text) = timeout(PATIENCE, exchange(address, method, path, body, token)).await??;
    Ok((status, serde_json::from_str(&text).unwrap_or_default()))
}

async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
    token: Option<&str>,
) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    if let Some(token) = token {
        head.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        head.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        ));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("a head and a body")?;
    let status = head.split(' ').nth(1).context("a status line")?.parse()?;
    Ok((status, body.to_owned()))
}
