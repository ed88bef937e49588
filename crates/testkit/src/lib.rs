//! Starts the platform for tests the way a user does, through the program `isa`, in a folder of its own and on free
//! ports, and waits for named conditions.

mod engines;
mod eventually;
mod isa;

pub use engines::Engines;
pub use eventually::eventually;
pub use isa::{Finished, Isa, PATIENCE, Running};
