//! The platform's tests: the program as a user runs it, with real engines, and every fault that it must survive.

mod cli;
mod data;
mod faults;
mod life;
mod machine;
mod whole;

use isa_testkit::Isa;

/// `isa` in a folder of its own.
fn isa() -> Isa {
    Isa::new(env!("CARGO_BIN_EXE_isa"))
}
