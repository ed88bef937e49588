//! Every engine's probe and check against servers that are not the engine: nothing there, silent, talking nonsense,
//! sending back what they hear. The real engines are started and checked by the `isa` crate's tests.

// A test may stop where it stands.
#![allow(clippy::unwrap_used)]

mod duckdb;
mod faults;
mod servers;
