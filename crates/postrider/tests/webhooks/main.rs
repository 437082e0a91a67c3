//! The commands that speak to the admin API, against an API that writes down what it is asked: what is sent, what is
//! printed, and with which exit code each ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod applying;
mod changing;
mod fake;
mod listing;
mod logs;
mod refusing;
mod secure;
mod testing;
