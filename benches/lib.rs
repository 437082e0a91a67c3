//! What the benchmarks share: the event that everything is measured with, and the steps it takes on its way.
//!
//! `README.md` tells what each benchmark measures and how to run it.

pub mod operations;
pub mod sample;
