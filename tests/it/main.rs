//! End-to-end tests: one file per promise. What needs Kafka runs on a real one, and fails where there is none.
// `cfg(test)` tells the lints that functions beside the tests are tests' too.

#[cfg(test)]
mod astray;
#[cfg(test)]
mod asyncapi;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod config;
#[cfg(test)]
mod console;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod leaderless;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod parked;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod secured;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod spread;
#[cfg(test)]
mod stall;
#[cfg(test)]
mod tracing;
#[cfg(test)]
mod webhooks;
