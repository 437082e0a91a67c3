//! A way through an HTTP proxy, RFC 9110 9.3.6. The proxy resolves the name; we have judged it before.

use std::io;

use postrider_types::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer to CONNECT that is read.
const MAX_HEAD: usize = 8 * 1024;
/// Informational answers before it.
const MAX_INFORMATIONAL: usize = 10;

/// Why the proxy did not connect us. The sentences name neither the proxy nor its credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    /// The proxy's name has no address, or no connection came about.
    #[error("The proxy could not be reached")]
    Unreachable,
    /// No tunnel in time.
    #[error("The proxy did not connect in time")]
    TimedOut,
    /// 407.
    #[error("The proxy refused its credentials")]
    Credentials,
    /// Another status than 2xx.
    #[error("The proxy answered with status {0}")]
    Status(u16),
    /// Something else than an answer to CONNECT.
    #[error("The proxy's answer is not HTTP")]
    Answer,
    /// The connection to the proxy broke.
    #[error("The connection to the proxy broke off")]
    Broken(#[source] io::Error),
}

/// Asks the proxy at the other end for a tunnel to `authority`.
pub(super) async fn open(
    stream: &mut TcpStream,
    authority: &str,
    authorization: Option<&Secret>,
) -> Result<(), TunnelError> {
    let request = request(authority, authorization);
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(TunnelError::Broken)?;
    match answered(stream).await? {
        200..=299 => Ok(()),
        407 => Err(TunnelError::Credentials),
        other => Err(TunnelError::Status(other)),
    }
}

fn request(authority: &str, authorization: Option<&Secret>) -> String {
    let credentials = authorization.map_or_else(String::new, |value| {
        format!("proxy-authorization: {}\r\n", value.expose())
    });
    format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{credentials}\r\n")
}

/// The status of the proxy's final answer.
async fn answered(stream: &mut TcpStream) -> Result<u16, TunnelError> {
    for _ in 0..=MAX_INFORMATIONAL {
        let head = read_head(stream).await?;
        match status(&head).ok_or(TunnelError::Answer)? {
            100..=199 => {}
            last => return Ok(last),
        }
    }
    Err(TunnelError::Answer)
}

// One byte at a time, so that nothing behind the head is taken from the tunnel. The head is short, and
// comes once per connection.
async fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>, TunnelError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(TunnelError::Answer);
        }
        head.push(stream.read_u8().await.map_err(TunnelError::Broken)?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|b| *b == b'\r').next()?;
    let rest = std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?;
    let code = rest.split(' ').nth(1)?;
    code.parse().ok().filter(|code| (100..=999).contains(code))
}
