//! Chaos: daemons, brokers and the ways between them break under load, and everything that is left behind is
//! held against the laws. Each test runs in a quick form; `CHAOS=long` (`make chaos`) runs the long one, and
//! `CHAOS_SEED` makes the choices of an earlier run again.
// `cfg(test)` tells the lints that functions beside the tests are tests' too.

#[cfg(test)]
mod brokers;
#[cfg(test)]
mod failpoints;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod links;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod trial;
#[cfg(test)]
mod turn;
#[cfg(test)]
mod watched;
