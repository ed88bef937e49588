//! Starts real servers as processes of their own and talks to them with Qdrant's official clients.
#![allow(clippy::unwrap_used)] // also in the functions that the tests share

mod access;
mod durability;
mod kept;
mod limits;
mod python;
mod server;
