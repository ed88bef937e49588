//! The platform on one machine: finds, installs, starts, watches and stops its engines. The library behind `isa up`.

pub mod control;
pub mod doctor;
mod engines;
pub mod logs;
mod platform;
pub mod ports;
mod process;
mod state;
pub mod status;
mod supervisor;

pub use platform::{Error, Platform, wait_until_free};
pub use state::{Error as StateError, Lock, StateDir, free_mb, mosquitto_options};
