//! The platform on Kubernetes: rendered, compared, applied, waited for, checked and explained. The library behind
//! `isa deploy`, `isa diagnose` and their kin.

mod error;
mod overlay;
pub mod secrets;

pub use error::Error;
pub use overlay::Overlay;
