//! One plain HTTP/1.1 request, written by hand: the tests ask the admin API without the client under test.

use std::net::SocketAddr;

use anyhow::Context;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::patience::PATIENCE;

/// The answer to a GET: its status and its body.
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
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.context("a head and a body")?);
    let (head, body) = (std::str::from_utf8(head)?, &body[4..]);
    let status = head.split(' ').nth(1).context("a status line")?.parse()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body)? } else { body.to_vec() };
    Ok((status, String::from_utf8(body)?))
}

fn unchunked(mut body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|bytes| bytes == b"\r\n");
        let line = line.context("a chunk's size")?;
        let size = usize::from_str_radix(std::str::from_utf8(&body[..line])?, 16)?;
        if size == 0 {
            return Ok(whole);
        }
        let start = line + 2;
        whole.extend(body.get(start..start + size).context("a whole chunk")?);
        body = body.get(start + size + 2..).context("a chunk's end")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_and_cut_ones_are_refused() {
        assert_eq!(
            unchunked(b"2\r\nab\r\na\r\n0123456789\r\n0\r\n\r\n").unwrap(),
            b"ab0123456789"
        );
        for cut in [&b"2\r\nab"[..], b"9\r\nab\r\n0\r\n\r\n", b""] {
            assert!(unchunked(cut).is_err());
        }
    }
}
