//! A TCP connection that counts what it brings. TLS has records that carry nothing, such as session tickets: without
//! a bound below it, an endpoint could have them read without end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tap::{ANSWER_BUDGET, over_budget};

/// What a byte that comes out of TLS may have cost: a record of one byte has 22 more.
const RECORD: u64 = 32;

/// A TCP connection that counts what it brings.
#[derive(Debug)]
pub(crate) struct Metered {
    tcp: TcpStream,
    /// Bytes that it may still bring: a handshake, and what is of use.
    left: u64,
}

impl Metered {
    pub(super) const fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            left: ANSWER_BUDGET,
        }
    }

    pub(super) const fn socket(&self) -> &TcpStream {
        &self.tcp
    }

    /// So many bytes of what came were of use.
    pub(super) const fn used(&mut self, bytes: u64) {
        self.left = self.left.saturating_add(bytes.saturating_mul(RECORD));
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, buf);
        match self.left.checked_sub((buf.filled().len() - before) as u64) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(over_budget())),
        }
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Connection for Metered {
    fn connected(&self) -> Connected {
        self.tcp.connected()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::connector::OVER_BUDGET;

    #[tokio::test]
    async fn what_is_of_no_use_is_read_up_to_a_bound_and_what_is_of_use_without_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut other = listener.accept().await.unwrap().0;
        let flood = tokio::spawn(async move { while other.write_all(&[0; 4096]).await.is_ok() {} });
        let (mut metered, mut buffer) = (Metered::new(tcp), [0; 4096]);
        for _ in 0..10 * ANSWER_BUDGET / 4096 {
            let read = metered.read(&mut buffer).await.unwrap();
            metered.used(read as u64 / RECORD + 1);
        }
        let mut useless = 0;
        let ended = loop {
            match metered.read(&mut buffer).await {
                Ok(read) => useless += read as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(ended.kind(), OVER_BUDGET);
        assert!(
            (ANSWER_BUDGET - 4096..3 * ANSWER_BUDGET).contains(&useless),
            "{useless}"
        );
        drop(metered);
        flood.await.unwrap();
    }
}
