//! The API as its callers see it: the real server over loopback, the real editor over a journal in memory, and a
//! tester that sends nothing. Every answer is held against the OpenAPI document.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod access;
mod audit;
mod catalog;
mod changes;
mod console;
mod contract;
mod document;
mod explanations;
mod first_connections;
mod house;
mod lists;
mod logs;
mod refusals;
mod replays;
mod wire;
