//! The harness of the end-to-end tests: a real Kafka, the real binary, and receivers that remember everything.
//!
//! # Life of a test
//!
//! 1. A [`Scene`] gives it names of its own on the [`Broker`] that all tests of a run share.
//! 2. [`Receiver`]s stand for the merchants: they answer as scripted and keep every request's bytes. [`Hostile`] ones
//!    mean harm.
//! 3. The scene's configuration, changed as the test needs it, starts a [`Daemon`].
//! 4. Records go into a [`Topic`]; what comes out is read as a `read_committed` reader sees it, and every
//!    outcome and dead letter has to fit its schema before the test looks at it.
//!
//! Whatever a test started ends with it, and with the test process however that ends: the broker hangs on a
//! pipe, daemons on the kernel's parent-death signal. A test that needs the broker fails without it.
//!
//! # Life of a long run
//!
//! 1. A [`Load`] produces at a steady rate; [`Endpoints`] answer by rules and keep what the laws need.
//! 2. Daemons are killed, frozen and replaced, brokers too; a [`Proxy`] breaks the way between them.
//! 3. A [`Prometheus`] looks on with the rules of `deploy/`, where what an operator sees is part of it.
//! 4. What all of that leaves behind is a [`history::History`], and [`laws`] judge it: pure, and held
//!    themselves against histories that break each law.
//!
//! Reading order: `scene`, `broker`, `topic`, `receiver`, `daemon`, `contract`; then `history`, `laws`,
//! `load`, `endpoints`, `watch`, `proxy`, `wire`.

pub mod binary;
pub mod broker;
pub mod browser;
pub mod collector;
pub mod contract;
pub mod daemon;
pub mod dns;
pub mod endpoints;
pub mod history;
pub mod hostile;
pub mod laws;
pub mod load;
pub mod patience;
pub mod port;
pub mod prometheus;
pub mod promise;
pub mod proxy;
pub mod receiver;
pub mod request;
pub mod scene;
pub mod schema_change;
pub mod secured;
pub mod seed;
pub mod topic;
pub mod watch;
pub mod wire;

pub use broker::Broker;
pub use contract::{DeadLetter, Schema};
pub use daemon::Daemon;
pub use endpoints::Endpoints;
pub use hostile::{Behaviour, Fate, Hostile};
pub use load::Load;
pub use prometheus::Prometheus;
pub use proxy::Proxy;
pub use receiver::{Answer, Gate, Receiver};
pub use scene::Scene;
pub use seed::Seed;
pub use topic::{Received, Sent, Topic, Upstream};
