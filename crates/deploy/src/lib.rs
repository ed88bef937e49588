//! The platform on Kubernetes: rendered, compared, applied, waited for, checked and explained. The library behind
//! `isa deploy`, `isa diagnose` and their kin.

mod apply;
mod cluster;
pub mod diagnose;
mod diff;
mod error;
mod forward;
mod objects;
mod overlay;
mod pods;
mod quantity;
mod references;
mod render;
pub mod resources;
pub mod secrets;
pub mod status;
pub mod teardown;
pub mod verify;
mod wait;

pub use apply::{Conflict, ConflictField, Plan, plan};
pub use cluster::{Cluster, NAMESPACE, Place};
pub use diff::{Change, ChangeKind, FieldChange};
pub use error::Error;
pub use forward::Forward;
pub use objects::{ObjectName, age};
pub use overlay::Overlay;
pub use pods::PodState;
pub use quantity::{NotAQuantity, Quantity};
pub use render::{Manifests, render, render_without_secrets};
pub use wait::{Progress, WorkloadState, wait};
