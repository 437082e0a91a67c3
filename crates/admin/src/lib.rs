//! The admin API, the console, health, readiness and metrics over HTTP.
//!
//! # Life of a request
//!
//! 1. [`Server`] takes a connection when fewer than 256 are open, and gives its head 5 s to arrive.
//! 2. A request whose Host is not one of ours is turned away with 421: a page of another site cannot
//!    reach this port by pointing its own name here.
//! 3. Under `/api/v1` a door looks at its token: without a valid one there is 401, and soon 429; with one that may not
//!    change anything a change is 403; the webhooks of other accounts are 404.
//! 4. A route answers within 30 s; a change that could not be answered by then is not begun. `/healthz` (also
//!    `/livez`): the process makes progress. `/readyz`: every [`Condition`] of [`Health`] is met. `/metrics`: the
//!    registry in Prometheus' text format. The API's routes work with the [`Api`] that was put into its [`ApiSlot`], and
//!    every change is told of in the log.
//! 5. What goes wrong is answered as `application/problem+json` (RFC 9457).
//!
//! Everything else is the console: pages for people, over the same [`Api`] and by the same rules.
//!
//! `/openapi.json` describes the API, written from the code; `/docs` is the same as a page.
//!
//! Reading order: `config`, `health`, `server`, `routes`, `deadline`, `host`, `problem`, `stall`, `tokens`, `failures`,
//! `api` and in it `door`, `desk`, `ask`, `json`, `answer`, `read`, `logs`, `work`, `change`, `transmit`, `what_if`, `explain`,
//! `openapi`; then `console`.

pub mod api;
pub mod config;
mod console;
mod deadline;
pub mod explained;
mod failures;
pub mod health;
mod host;
mod problem;
mod routes;
pub mod server;
mod stall;
mod tokens;

pub use api::{Api, ApiSlot, Bodies, Body, Reseal, Tester, Transmitted};
pub use config::Config;
pub use health::{Condition, Health, Heartbeat};
pub use server::{BindError, Server};
