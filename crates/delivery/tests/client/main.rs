//! The HTTP client against real servers on loopback, among them every misbehaving one that it has a
//! bound for.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod errors;
mod guard;
mod identity;
mod limits;
mod names;
mod pool;
mod proxy;
mod servers;
mod tls;
