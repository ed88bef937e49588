//! What goes wrong with engines and services, made on purpose, with real engines that isa supervises. One fault at a time.

mod duckdb;
mod gone;
mod killed;
mod load;
mod paused;
mod place;
mod platform;
mod rolling;
#[path = "../contract/wire.rs"]
#[allow(dead_code)] // The contract's own suites use the rest of it.
mod wire;
