//! The connections of one webhook that wait for their next request.
//!
//! The one that was used last is given first, so that those beyond need end unused. They are looked through now and
//! then: what was idle for too long, or was closed by the peer, is closed here too.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::Uri;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::connection::{Connection, Exclusive, Shared};

/// How often idle connections are looked through.
const LOOK: Duration = Duration::from_secs(5);

/// A connection that waits.
#[derive(Debug)]
struct Idle<C> {
    connection: C,
    since: Instant,
}

impl<C> Idle<C> {
    fn new(connection: C) -> Self {
        let since = Instant::now();
        Self { connection, since }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    exclusive: Vec<Idle<Box<Exclusive>>>,
    /// The one that is open for longest first: as long as it has room, the others end unused.
    shared: Vec<Idle<Shared>>,
    is_looked_through: bool,
}

/// Keeps connections open between requests.
#[derive(Debug)]
pub(super) struct Pool {
    waiting: Arc<Mutex<Waiting>>,
    idle_timeout: Duration,
    max_idle: usize,
}

impl Pool {
    pub(super) fn new(idle_timeout: Duration, max_idle: usize) -> Self {
        Self {
            waiting: Arc::default(),
            idle_timeout,
            max_idle,
        }
    }

    /// A connection to the URL's host that is open as far as is known.
    pub(super) fn take(&self, uri: &Uri) -> Option<Connection> {
        let mut waiting = self.waiting.lock();
        let now = Instant::now();
        let has_room = |idle: &&mut Idle<Shared>| idle.connection.leads_to(uri) && idle.connection.has_room();
        if let Some(idle) = waiting.shared.iter_mut().find(has_room) {
            idle.since = now;
            return Some(Connection::Shared(idle.connection.clone()));
        }
        let idle = waiting.exclusive.pop()?;
        let fits = idle.connection.leads_to(uri) && now.duration_since(idle.since) < self.idle_timeout;
        fits.then_some(Connection::Exclusive(idle.connection))
    }

    /// Keeps an HTTP/1 connection for the next request, if it can take one and there is room.
    pub(super) fn keep(&self, mut connection: Box<Exclusive>) {
        if !connection.can_wait() {
            return;
        }
        let mut waiting = self.waiting.lock();
        if waiting.exclusive.len() < self.max_idle {
            waiting.exclusive.push(Idle::new(connection));
            self.look_through(&mut waiting);
        }
    }

    /// Has others use an HTTP/2 connection too, if there is room for one more.
    pub(super) fn share(&self, opened: &Shared) {
        let mut waiting = self.waiting.lock();
        waiting.shared.retain(|idle| !idle.connection.has_ended());
        if waiting.shared.len() < self.max_idle {
            waiting.shared.push(Idle::new(opened.clone()));
            self.look_through(&mut waiting);
        }
    }

    /// Lets no further request on an HTTP/2 connection.
    pub(super) fn part_with(&self, connection: &Shared) {
        let mut waiting = self.waiting.lock();
        waiting.shared.retain(|idle| !idle.connection.is_same(connection));
    }

    /// Begins to look through what waits, until nothing does.
    fn look_through(&self, waiting: &mut Waiting) {
        if std::mem::replace(&mut waiting.is_looked_through, true) {
            return;
        }
        let (shared, idle_timeout) = (Arc::downgrade(&self.waiting), self.idle_timeout);
        tokio::spawn(async move {
            while sweep(&shared, idle_timeout) {
                sleep(LOOK.min(idle_timeout)).await;
            }
        });
    }
}

/// Drops what has ended or was idle for too long. False when nothing is left to look after.
fn sweep(waiting: &Weak<Mutex<Waiting>>, idle_timeout: Duration) -> bool {
    let Some(waiting) = waiting.upgrade() else {
        return false;
    };
    let mut waiting = waiting.lock();
    let now = Instant::now();
    let is_fresh = |since: Instant| now.duration_since(since) < idle_timeout;
    waiting
        .exclusive
        .retain_mut(|idle| is_fresh(idle.since) && idle.connection.is_open());
    waiting
        .shared
        .retain(|idle| is_fresh(idle.since) && !idle.connection.has_ended());
    waiting.is_looked_through = !waiting.exclusive.is_empty() || !waiting.shared.is_empty();
    waiting.is_looked_through
}
