//! The platform on one machine: finds, installs, starts, watches and stops its engines. The library behind `isa up`.

mod catalog;
pub mod control;
pub mod doctor;
mod engines;
mod file_error;
pub mod images;
pub mod install;
pub mod locate;
pub mod logs;
mod platform;
pub mod ports;
mod process;
mod state;
pub mod status;
mod supervisor;
mod versions;

pub use catalog::{Catalog, Entry, Source, catalog};
pub use file_error::FileError;
pub use platform::{Error, Platform, Report, wait_until_free};
pub use state::{Error as StateError, Lock, StateDir, free_mb, mosquitto_clients};
