//! End-to-end tests: one file per promise. What needs Kafka runs on a real one, and fails where there is none.

#[cfg(test)]
mod harness;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod schemas;
