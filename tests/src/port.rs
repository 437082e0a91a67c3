//! Free ports on loopback, below the range that the kernel gives out for outgoing connections, so that
//! nothing takes one between its choice and its use.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 9_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on; never the same twice within a process.
///
/// # Panics
/// When all of the range is taken.
#[must_use]
pub fn free() -> u16 {
    let start = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).unwrap_or(0);
    (0..COUNT)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("some port between 10000 and 19000 is free")
}
