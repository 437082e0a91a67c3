//! Endpoints that mean harm, or are broken in the ways that harm: each behaviour is a script over the bare
//! connection, and stands beside what has to become of an attempt that meets it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postrider_types::ErrorKind;
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The longest request that is read before it is answered.
const MAX_REQUEST: usize = 1 << 20;
/// Between two drops of what drips; eleven of them take far less than the 2 s that tests give an attempt, on a busy
/// machine too.
const DRIP: Duration = Duration::from_millis(25);

/// What has to become of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A status came, with its whole body or a part of it.
    Answered {
        /// The status.
        status: u16,
        /// Whether the body is not whole.
        truncated: bool,
    },
    /// No status came.
    Unanswered(ErrorKind),
    /// The connection broke before a status came; which way is up to the network.
    Broken,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// In good order.
    Close,
    /// By a reset.
    Reset,
    /// Never, on this side.
    Hang,
}

/// One way to be a bad endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// A word for it, fit for an id.
    pub name: &'static str,
    /// What has to become of an attempt.
    pub fate: Fate,
    reads: bool,
    says: &'static str,
    /// Said again and again after it, with a pause between where there is one.
    again: &'static str,
    pause: Option<Duration>,
    end: End,
}

/// The request itself, in what a behaviour says: `{request}` stands for it.
const REQUEST: &str = "{request}";
const WHOLE: bool = false;
const CUT: bool = true;

impl Behaviour {
    const fn says(name: &'static str, says: &'static str, end: End, fate: Fate) -> Self {
        Self {
            name,
            fate,
            reads: true,
            says,
            again: "",
            pause: None,
            end,
        }
    }

    const fn at_accept(name: &'static str, end: End, fate: Fate) -> Self {
        Self {
            reads: false,
            ..Self::says(name, "", end, fate)
        }
    }

    const fn floods(name: &'static str, says: &'static str, again: &'static str, fate: Fate) -> Self {
        Self {
            again,
            ..Self::says(name, says, End::Close, fate)
        }
    }

    const fn drips(name: &'static str, says: &'static str, again: &'static str, fate: Fate) -> Self {
        Self {
            pause: Some(DRIP),
            ..Self::floods(name, says, again, fate)
        }
    }

    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        [hanging(), flooding(), breaking(), lying(), injecting()].concat()
    }
}

const fn answered(status: u16, truncated: bool) -> Fate {
    Fate::Answered { status, truncated }
}

fn hanging() -> Vec<Behaviour> {
    let timeout = Fate::Unanswered(ErrorKind::Timeout);
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    vec![
        Behaviour::at_accept("hangs-at-accept", End::Hang, timeout),
        Behaviour::says("hangs-before-its-head", "", End::Hang, timeout),
        Behaviour::says("hangs-in-its-head", "HTTP/1.1 200 OK\r\nx: ", End::Hang, timeout),
        Behaviour::says("hangs-in-its-body", half, End::Hang, answered(200, CUT)),
        Behaviour::drips("drips-its-head", "HTTP/1.1 200 OK\r\nx: ", "y", timeout),
        Behaviour::drips("drips-its-body", "HTTP/1.1 200 OK\r\n\r\n", "y", answered(200, CUT)),
        Behaviour::drips(
            "drips-hints",
            "",
            "HTTP/1.1 103 Hints\r\nx: y\r\n\r\n",
            Fate::Unanswered(ErrorKind::ResponseTooLarge),
        ),
    ]
}

fn flooding() -> Vec<Behaviour> {
    let too_large = Fate::Unanswered(ErrorKind::ResponseTooLarge);
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let extension = "1;eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\r\nx\r\n";
    vec![
        Behaviour::floods(
            "floods-its-head",
            "HTTP/1.1 200 OK\r\n",
            "x-y: zzzzzzzzzzzzzzzzzzzz\r\n",
            too_large,
        ),
        Behaviour::floods("floods-hints", "", "HTTP/1.1 103 Hints\r\nx: y\r\n\r\n", too_large),
        Behaviour::floods(
            "floods-its-body",
            "HTTP/1.1 200 OK\r\n\r\n",
            "xxxxxxxxxxxxxxxx",
            answered(200, CUT),
        ),
        Behaviour::floods(
            "floods-its-trailers",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
            "x-y: zzzzzzzzzzzzzzzzzzzz\r\n",
            answered(200, CUT),
        ),
        Behaviour::floods("floods-chunk-extensions", chunked, extension, answered(200, CUT)),
        Behaviour::floods("floods-small-chunks", chunked, "1\r\nx\r\n", answered(200, CUT)),
    ]
}

fn breaking() -> Vec<Behaviour> {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    let chunked_half = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let closed = Fate::Unanswered(ErrorKind::ClosedBeforeResponse);
    let reset = Fate::Unanswered(ErrorKind::Reset);
    vec![
        Behaviour::at_accept("closes-at-accept", End::Close, Fate::Broken),
        Behaviour::at_accept("resets-at-accept", End::Reset, Fate::Broken),
        Behaviour::says("closes-unanswered", "", End::Close, closed),
        Behaviour::says("resets-unanswered", "", End::Reset, reset),
        Behaviour::says("closes-in-its-head", "HTTP/1.1 200 OK\r\nx: y\r\n", End::Close, closed),
        Behaviour::says("closes-in-its-body", half, End::Close, answered(200, CUT)),
        Behaviour::says("closes-in-its-chunks", chunked_half, End::Close, answered(200, CUT)),
    ]
}

fn lying() -> Vec<Behaviour> {
    let bad = Fate::Unanswered(ErrorKind::BadResponse);
    let page = |name, says, fate| Behaviour::says(name, says, End::Close, fate);
    vec![
        page(
            "has-two-lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
            bad,
        ),
        page(
            "has-a-negative-length",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            bad,
        ),
        page(
            "has-a-bad-chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n",
            answered(200, CUT),
        ),
        page(
            "has-a-chunk-without-bounds",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
            answered(200, CUT),
        ),
        page("says-20", "HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n", bad),
        page(
            "says-999",
            "HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
            answered(999, WHOLE),
        ),
        page(
            "says-599",
            "HTTP/1.1 599 Odd\r\ncontent-length: 2\r\n\r\n{}",
            answered(599, WHOLE),
        ),
        page("speaks-http-0-9", "<html>hello</html>\n", bad),
        page("speaks-garbage", "\u{1}\u{2}\u{3}\u{fffd}\r\n\r\n\u{0}", bad),
        page("speaks-tls", "\u{16}\u{3}\u{1}\u{0}\u{5}hello", bad),
        page(
            "says-it-is-zipped",
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\u{1f}\u{8}\u{8}\u{0}",
            answered(200, WHOLE),
        ),
        page(
            "redirects-to-metadata",
            "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/\r\ncontent-length: 0\r\n\r\n",
            answered(302, WHOLE),
        ),
    ]
}

fn injecting() -> Vec<Behaviour> {
    let page = |name, says| Behaviour::says(name, says, End::Close, answered(500, WHOLE));
    vec![
        page(
            "injects-lines",
            "HTTP/1.1 500 No\u{9}{\"level\":\"ERROR\"}\r\ncontent-type: text/plain;\u{9}{\"level\":\"ERROR\"}\r\n\r\n\
             \r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\r\n\u{1b}[31mred\u{7}\u{85}\u{2028}\u{202e}",
        ),
        page(
            "injects-script",
            "HTTP/1.1 500 No\r\ncontent-type: text/html\r\n\r\n<script>window.pwned=1</script><img src=x onerror=alert(1)>",
        ),
        page(
            "reflects",
            "HTTP/1.1 500 No\r\ncontent-type: text/plain\r\n\r\n{request}",
        ),
    ]
}

/// A server out of step: after each 500 that was asked for it says 200 unasked, in the same breath or `gap` later.
///
/// # Errors
/// When loopback has no free port.
pub async fn desyncing(gap: Option<Duration>) -> anyhow::Result<(String, JoinHandle<()>)> {
    const FAILURE: &[u8] = b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno";
    const UNASKED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let serving = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                stream.set_nodelay(true)?;
                while !read_request(&mut stream).await.is_empty() {
                    let Some(gap) = gap else {
                        stream.write_all(&[FAILURE, UNASKED].concat()).await?;
                        continue;
                    };
                    stream.write_all(FAILURE).await?;
                    if !gap.is_zero() {
                        tokio::time::sleep(gap).await;
                    }
                    stream.write_all(UNASKED).await?;
                }
                anyhow::Ok(())
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok((url, serving))
}

/// A listener of one behaviour. Dropping it closes it and all its connections.
#[derive(Debug)]
pub struct Hostile {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Hostile {
    /// Starts one on a port of its own.
    ///
    /// # Errors
    /// When loopback has no free port.
    pub async fn start(behaviour: Behaviour) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepted = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&accepted);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                connections.spawn(behave(stream, behaviour));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            accepted,
            serving,
        })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Connections so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

// Whatever fails here fails because the other side had enough, which is what it should do.
async fn behave(mut stream: TcpStream, behaviour: Behaviour) {
    let request = if behaviour.reads {
        read_request(&mut stream).await
    } else {
        String::new()
    };
    let says = behaviour.says.replace(REQUEST, &request);
    let mut said = stream.write_all(says.as_bytes()).await;
    // A flood of small writes would be a drip.
    let again = match behaviour.pause {
        Some(_) => behaviour.again.to_owned(),
        None => behaviour.again.repeat(256),
    };
    while said.is_ok() && !again.is_empty() {
        if let Some(pause) = behaviour.pause {
            tokio::time::sleep(pause).await;
        }
        said = stream.write_all(again.as_bytes()).await;
    }
    end(stream, behaviour.end).await;
}

async fn end(mut stream: TcpStream, end: End) {
    match end {
        End::Close => drop(stream.shutdown().await),
        End::Reset => drop(set_socket_linger(&stream, Some(Duration::ZERO))),
        End::Hang => {
            // Until the other side leaves.
            let mut rest = [0; 1024];
            while stream.readable().await.is_ok() && matches!(stream.read(&mut rest).await, Ok(1..)) {}
        }
    }
}

/// One request, head and body, as text.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while request.len() < MAX_REQUEST && !is_whole(&request) {
        match stream.read(&mut piece).await {
            Ok(count @ 1..) => request.extend_from_slice(&piece[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_behaviour_has_a_name_of_its_own() {
        let all = Behaviour::all();
        let names: HashSet<&str> = all.iter().map(|behaviour| behaviour.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.len() > 30);
    }

    #[tokio::test]
    async fn a_behaviour_says_what_it_is_for() -> anyhow::Result<()> {
        let reflects = injecting().pop().expect("one reflects");
        let hostile = Hostile::start(reflects).await?;
        let mut stream = TcpStream::connect(hostile.address).await?;
        stream.write_all(b"POST / HTTP/1.1\r\nx: 1\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        assert!(answer.ends_with("POST / HTTP/1.1\r\nx: 1\r\n\r\n"), "{answer}");
        assert_eq!(hostile.accepted(), 1);
        Ok(())
    }
}
