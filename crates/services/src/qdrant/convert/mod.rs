//! The contract's messages from and to those of the engine.

mod collections;
mod filter;
mod info;
mod json;
mod payload;
mod points;
mod search;
mod settings;

pub(super) use self::{
    collections::{cluster, settings},
    filter::filter,
    info::info,
    payload::payload,
    points::{ids_given, ordering, page, points, read_id, read_point, selector, with_payload, with_vectors},
    search::{discover, recommend, scored, search, searches},
    settings::{changes, index},
};
use super::service::Error;

/// Most points, ids, conditions or results of a request: about what an answer of 100 MiB holds of points with vectors of
/// usual size.
const MAX_BATCH: usize = 10_000;

/// That there are not more of something than a request may have.
fn bounded(field: &str, count: usize) -> Result<(), Error> {
    if count > MAX_BATCH {
        let why = format!("has {count}, and may have {MAX_BATCH}; ask in parts");
        return Err(Error::invalid(field.to_owned(), why));
    }
    Ok(())
}
