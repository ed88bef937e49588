//! A service behind a real listener, and everything that is around it.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands, its helpers too")]

mod bounds;
mod harness;
mod identity;
mod life;
mod replicas;
mod service;
mod tls;
