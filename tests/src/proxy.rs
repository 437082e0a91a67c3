//! A way between a client and one broker that can be broken: cut, slowed, made to swallow everything, or to
//! swallow one reply. It knows of Kafka's protocol how a frame is delimited, what kind of request it is, and
//! which reply belongs to it; nothing more.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::patience::{PATIENCE, until};

/// The request that ends a transaction.
pub const END_TXN: i16 = 26;

/// The largest frame that is taken: more than any client here asks for.
const MAX_FRAME: usize = 128 << 20;

/// What becomes of bytes on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They pass.
    Open,
    /// They pass, each frame after a wait.
    Slow(Duration),
    /// They are taken and kept until the way is another; connections stay open.
    Swallowing,
    /// There are no connections.
    Cut,
}

#[derive(Debug, Default)]
struct Trap {
    /// The kind of request whose next reply is swallowed.
    armed: Option<i16>,
    swallowed: usize,
}

/// The way to one broker. Dropping it cuts it for good.
#[derive(Debug)]
pub struct Proxy {
    way: Arc<watch::Sender<Way>>,
    trap: Arc<Mutex<Trap>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Listens on `port` of loopback and leads to `broker`.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn open(port: u16, broker: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let way = Arc::new(watch::Sender::new(Way::Open));
        let trap = Arc::<Mutex<Trap>>::default();
        let serving = tokio::spawn(serve(listener, broker, Arc::clone(&way), Arc::clone(&trap)));
        Ok(Self { way, trap, serving })
    }

    /// Changes the way.
    pub fn make(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// The reply to the next request of this kind does not arrive; the request does.
    pub fn swallow_reply(&self, kind: i16) {
        self.trap.lock().armed = Some(kind);
    }

    /// Waits until as many replies were swallowed.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn swallowed(&self, count: usize) -> anyhow::Result<()> {
        let ask = || async { Ok((self.trap.lock().swallowed >= count).then_some(())) };
        until("a reply to be swallowed", PATIENCE, ask).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, broker: SocketAddr, way: Arc<watch::Sender<Way>>, trap: Arc<Mutex<Trap>>) {
    // Ends with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (way, trap) = (way.subscribe(), Arc::clone(&trap));
        connections.spawn(async move {
            // Whatever ends a connection ends it for both sides, and the client makes another.
            let _ = connect(client, broker, way, trap).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(
    client: TcpStream,
    broker: SocketAddr,
    way: watch::Receiver<Way>,
    trap: Arc<Mutex<Trap>>,
) -> anyhow::Result<()> {
    let mut cut = way.clone();
    tokio::select! {
        cut = cut.wait_for(|way| *way == Way::Cut) => cut.map(drop)?,
        ended = pass(client, broker, way, trap) => ended?,
    }
    Ok(())
}

async fn pass(
    client: TcpStream,
    broker: SocketAddr,
    way: watch::Receiver<Way>,
    trap: Arc<Mutex<Trap>>,
) -> anyhow::Result<()> {
    let broker = TcpStream::connect(broker).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let awaited = Arc::<Mutex<HashSet<[u8; 4]>>>::default();
    let noted = Arc::clone(&awaited);
    let requests = frames(from_client, to_broker, way.clone(), |frame| {
        note(frame, &trap, &noted);
        true
    });
    let replies = frames(from_broker, to_client, way, |frame| {
        let swallow = frame.first_chunk().is_some_and(|id| awaited.lock().remove(id));
        trap.lock().swallowed += usize::from(swallow);
        !swallow
    });
    tokio::select! {
        ended = requests => ended,
        ended = replies => ended,
    }
}

/// Notes the correlation id of a request whose reply is to be swallowed: kind, version, correlation id.
fn note(frame: &[u8], trap: &Mutex<Trap>, awaited: &Mutex<HashSet<[u8; 4]>>) {
    let Some(([kind @ .., _, _], rest)) = frame.split_first_chunk::<4>() else {
        return;
    };
    let Some(id) = rest.first_chunk() else { return };
    let mut trap = trap.lock();
    if trap.armed == Some(i16::from_be_bytes(*kind)) {
        trap.armed = None;
        awaited.lock().insert(*id);
    }
}

async fn frames(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    mut passes: impl FnMut(&[u8]) -> bool,
) -> anyhow::Result<()> {
    loop {
        let size = from.read_u32().await?;
        let length = usize::try_from(size)?;
        ensure!(length <= MAX_FRAME, "a frame of {length} bytes");
        let mut frame = vec![0; length];
        from.read_exact(&mut frame).await?;
        let now = *way.wait_for(|way| *way != Way::Swallowing).await?;
        if let Way::Slow(wait) = now {
            tokio::time::sleep(wait).await;
        }
        if passes(&frame) {
            to.write_u32(size).await?;
            to.write_all(&frame).await?;
        }
    }
}
