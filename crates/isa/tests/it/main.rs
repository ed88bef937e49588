//! The platform's tests: the program as a user runs it, with real engines, and every fault that it must survive.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands, its helpers too")]

mod cli;
mod conformance;
mod data;
mod docs;
mod faults;
mod life;
mod machine;
mod services;
mod whole;

use std::{collections::BTreeSet, iter};

use isa_config::EngineKind;
use isa_services::AVAILABLE;
use isa_testkit::Isa;

/// `isa` in a folder of its own.
fn isa() -> Isa {
    Isa::new(env!("CARGO_BIN_EXE_isa"))
}

/// For `--only`: the engines of all building blocks, and those that they use beside them.
fn engines_of_services() -> String {
    let engines = AVAILABLE
        .iter()
        .flat_map(|kind| kind.also_uses().iter().copied().chain(iter::once(kind.engine())));
    let names: BTreeSet<_> = engines.map(EngineKind::name).collect();
    names.into_iter().collect::<Vec<_>>().join(",")
}
