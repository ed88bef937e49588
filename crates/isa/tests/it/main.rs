//! The platform's tests: the program as a user runs it, with real engines, and every fault that it must survive.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands, its helpers too")]

mod cli;
mod conformance;
mod data;
mod faults;
mod life;
mod machine;
mod services;
mod whole;

use isa_testkit::Isa;

/// `isa` in a folder of its own.
fn isa() -> Isa {
    Isa::new(env!("CARGO_BIN_EXE_isa"))
}
