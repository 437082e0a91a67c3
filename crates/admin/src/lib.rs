//! Health, readiness and metrics over HTTP.
//!
//! # Life of a request
//!
//! 1. [`Server`] takes a connection when fewer than 256 are open, and gives its head 5 s to arrive.
//! 2. A request whose Host is not one of ours is turned away with 421: a page of another site cannot
//!    reach this port by pointing its own name here.
//! 3. A route answers within 30 s. `/healthz` (also `/livez`): the process makes progress. `/readyz`:
//!    every [`Condition`] of [`Health`] is met. `/metrics`: the registry in Prometheus' text format.
//! 4. What goes wrong is answered as `application/problem+json` (RFC 9457).
//!
//! Reading order: `config`, `health`, `server`, `routes`, `host`, `problem`, `stall`.

pub mod config;
pub mod health;
mod host;
mod problem;
mod routes;
pub mod server;
mod stall;

pub use config::Config;
pub use health::{Condition, Health, Heartbeat};
pub use server::{BindError, Server};
