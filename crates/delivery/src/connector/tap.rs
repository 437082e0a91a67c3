//! A connection that watches its own bytes, above TLS and below HTTP.
//!
//! It knows four things that the HTTP client does not ask: how many bytes an answer has cost, how many
//! informational ones came before it, whether anything came in before a request was written, and whether
//! the answer before was a success. An answer
//! that was there before its question belongs to another question, so such a connection writes nothing
//! more. Nor does one whose last answer was no 2xx: a server that says 200 unasked, a moment after its
//! failure, must not turn the next failure into a success.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::frames::Frames;
use super::heads::Heads;
use super::metered::Metered;
use crate::causes;
use crate::tls::Refusal;

/// Bytes that may be read for one answer: its body, its head, and what frames them.
pub(crate) const ANSWER_BUDGET: u64 = 256 * 1024;
/// Bytes that an HTTP/2 connection may bring beyond one budget for each answer's head: frames of many
/// answers arrive interleaved.
const SHARED_BUDGET: u64 = 1024 * 1024;

type Stream = MaybeHttpsStream<TokioIo<Metered>>;

/// The connection is not as it was left, bytes came unasked, or its other end closed it; or its last answer was
/// no success. Nothing of the request was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the idle connection cannot be used any more")]
pub(crate) struct Stale;

/// The kind of error that nothing but [`OverBudget`] is of.
pub(crate) const OVER_BUDGET: io::ErrorKind = io::ErrorKind::QuotaExceeded;

/// An answer cost more than its budget, or came after too many informational ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response is larger than can be read")]
pub(crate) struct OverBudget;

/// What the bytes of an HTTP/2 connection tell, and what it may still bring. Shared with those who send over it.
#[derive(Debug, Clone)]
pub(crate) struct Watch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    left: AtomicU64,
    streams: AtomicU32,
    refusal: OnceLock<Refusal>,
}

impl Watch {
    fn new() -> Self {
        Self(Arc::new(Watched {
            left: AtomicU64::new(SHARED_BUDGET),
            // Until the endpoint says how many it takes, it may be one.
            streams: AtomicU32::new(1),
            refusal: OnceLock::new(),
        }))
    }

    /// One more answer's head has come; its body may follow.
    pub(crate) fn grant(&self) {
        self.0.left.fetch_add(ANSWER_BUDGET, Ordering::Relaxed);
    }

    /// How many requests the endpoint takes at once.
    pub(crate) fn streams(&self) -> u32 {
        self.0.streams.load(Ordering::Relaxed)
    }

    /// Why TLS ended the connection, if it did. With TLS 1.3 an endpoint says only after the handshake that it wants
    /// another certificate, and HTTP/2 passes nothing of that on.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.0.refusal.get().copied()
    }

    fn note(&self, error: &io::Error) {
        if let Some(tls) = causes::find::<rustls::Error>(error) {
            self.0.refusal.get_or_init(|| Refusal::of(tls));
        }
    }

    fn spend(&self, bytes: u64) -> bool {
        let spend = |left: u64| left.checked_sub(bytes);
        let spent = self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
        spent.is_ok()
    }
}

/// Who counts, which differs as one exchange at a time does from many.
#[derive(Debug)]
enum Meter {
    /// HTTP/1: a request starts when its request line is written.
    Exchange(Exchange),
    /// HTTP/2
    Shared(Watch, Frames),
}

/// One request of HTTP/1 and its answer.
#[derive(Debug, Default)]
struct Exchange {
    requests: u64,
    read: u64,
    heads: Heads,
    /// The answer began with a 2xx. An informational answer before it does not count.
    succeeded: bool,
}

impl Exchange {
    /// Sees the answer's next bytes; tells whether the limits hold.
    fn note(&mut self, bytes: &[u8]) -> bool {
        if self.read == 0 {
            self.succeeded = begins_with_success(bytes);
        }
        self.read += bytes.len() as u64;
        self.heads.follow(bytes) && self.read <= ANSWER_BUDGET
    }
}

fn begins_with_success(answer: &[u8]) -> bool {
    let status = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..3));
    status == Some(b" 2")
}

/// A connection that watches its own bytes.
pub(crate) struct Tap {
    io: TokioIo<Stream>,
    meter: Meter,
}

impl Tap {
    pub(super) fn new(stream: Stream) -> Self {
        let meter = if stream.connected().is_negotiated_h2() {
            Meter::Shared(Watch::new(), Frames::default())
        } else {
            Meter::Exchange(Exchange::default())
        };
        let io = TokioIo::new(stream);
        Self { io, meter }
    }

    /// What is known of a connection that many use; `None` where answers come one at a time, at HTTP/1.
    pub(crate) fn watch(&self) -> Option<Watch> {
        match &self.meter {
            Meter::Exchange(_) => None,
            Meter::Shared(watch, _) => Some(watch.clone()),
        }
    }

    /// Sees what is about to be written.
    fn before_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Meter::Exchange(exchange) = &mut self.meter else {
            return Ok(());
        };
        if !is_request_line(bytes) {
            return Ok(());
        }
        if exchange.requests > 0 && (!exchange.succeeded || has_unread(socket(self.io.inner()))) {
            return Err(io::Error::other(Stale));
        }
        *exchange = Exchange {
            requests: exchange.requests + 1,
            ..Exchange::default()
        };
        Ok(())
    }

    fn after_read(&mut self, bytes: &[u8]) -> io::Result<()> {
        metered(self.io.inner_mut()).used(bytes.len() as u64);
        let within = match &mut self.meter {
            Meter::Exchange(exchange) => exchange.note(bytes),
            Meter::Shared(watch, frames) => {
                if let Some(streams) = frames.follow(bytes) {
                    watch.0.streams.store(streams, Ordering::Relaxed);
                }
                watch.spend(bytes.len() as u64)
            }
        };
        if within { Ok(()) } else { Err(over_budget()) }
    }
}

/// HTTP/2 passes the kind on, and not what it is an error of.
pub(super) fn over_budget() -> io::Error {
    io::Error::new(OVER_BUDGET, OverBudget)
}

/// Whether a write begins a request. A body cannot look like this: it is JSON, where a line end stands
/// in no string and a word stands nowhere else.
fn is_request_line(bytes: &[u8]) -> bool {
    if !bytes.starts_with(b"POST ") {
        return false;
    }
    let line = bytes.split(|b| *b == b'\r').next();
    line.is_some_and(|line| line.ends_with(b" HTTP/1.1"))
}

/// Whether the kernel holds bytes, an end or an error that nobody has read. The runtime learns of them
/// a little later, which is too late: hence the system call.
fn has_unread(socket: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    let peeked = SockRef::from(socket).peek(&mut byte);
    !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn socket(stream: &Stream) -> &TcpStream {
    match stream {
        MaybeHttpsStream::Http(tcp) => tcp.inner().socket(),
        MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner().socket(),
    }
}

fn metered(stream: &mut Stream) -> &mut Metered {
    match stream {
        MaybeHttpsStream::Http(tcp) => tcp.inner_mut(),
        MaybeHttpsStream::Https(tls) => tls.inner_mut().get_mut().0.inner_mut().inner_mut(),
    }
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => Poll::Ready(self.after_read(&buf.filled()[before..])),
            Poll::Ready(Err(error)) => {
                if let Meter::Shared(watch, _) = &self.meter {
                    watch.note(&error);
                }
                Poll::Ready(Err(error))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.before_write(buf)?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(first) = bufs.iter().find(|buf| !buf.is_empty()) {
            self.before_write(first)?;
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_begins_a_request_and_a_body_does_not() {
        assert!(is_request_line(b"POST /a?b=1 HTTP/1.1\r\nhost: m.example\r\n\r\n{}"));
        for other in [&b"{\"x\":\"POST / HTTP/1.1\"}"[..], b"POST / HTTP/1", b"POST x", b""] {
            assert!(!is_request_line(other));
        }
    }

    #[test]
    fn only_a_plain_success_lets_a_connection_be_used_again() {
        let mut exchange = Exchange::default();
        for (answer, succeeded) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], true),
            (b"HTTP/1.0 204 ", true),
            (b"HTTP/1.1 500 No\r\n\r\nHTTP/1.1 200 OK", false),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", false),
            (b"HTTP/1.", false),
            (b"", false),
        ] {
            exchange.read = 0;
            assert!(exchange.note(answer));
            assert_eq!(exchange.succeeded, succeeded, "{answer:?}");
        }
        exchange.read = 0;
        assert!(exchange.note(b"HTTP/1.1 200 OK\r\n") && exchange.note(b"\r\n"));
        assert!(exchange.succeeded, "what follows changes nothing");
    }

    #[test]
    fn what_is_granted_is_spent_once() {
        let watch = Watch::new();
        assert!(watch.spend(SHARED_BUDGET));
        assert!(!watch.spend(1));
        watch.grant();
        assert!(watch.spend(ANSWER_BUDGET));
        assert!(!watch.spend(1));
    }
}
