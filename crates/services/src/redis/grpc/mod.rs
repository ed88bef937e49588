//! The contract's methods: convert, call, convert.

mod batch;
mod channels;
mod convert;
mod hashes;
mod lists;
mod locks;
mod methods;
mod monitoring;
mod sessions;
mod sets;
mod sorted;

use isa_server::{Call, Error, ErrorCode, Upstream};

use super::{
    names::Space,
    service::{self, Store},
};

/// The service as it is mounted.
pub(crate) struct Redis {
    store: Store,
    upstream: Upstream,
}

impl Redis {
    pub(crate) fn new(store: Store, upstream: Upstream) -> Self {
        Self { store, upstream }
    }

    /// Tells a failure to the caller: in our words, with Redis' own for the log.
    fn told<T>(&self, result: Result<T, service::Error>) -> Result<T, Error> {
        result.map_err(|error| self.tell(error))
    }

    fn tell(&self, error: service::Error) -> Error {
        use service::Error as E;
        let text = error.to_string();
        match error {
            E::Invalid { field, why } => Error::invalid(field, why),
            E::WrongType { field, .. } => Error::new(ErrorCode::FailedPrecondition, text).in_field(field),
            E::Refused(_) => Error::new(ErrorCode::FailedPrecondition, text),
            E::OutOfRange(_) => Error::new(ErrorCode::OutOfRange, text),
            E::NoKey => Error::not_found("the key").in_field("old_key"),
            E::TooLarge(_) => Error::new(ErrorCode::TooLarge, text),
            E::Quota(_) => Error::new(ErrorCode::QuotaExceeded, text),
            E::Full(source) => Error::new(ErrorCode::EngineFull, text).caused_by(source),
            E::Unavailable(source) => self.upstream.failed(source),
            E::Unexpected(source) => Error::internal(source),
        }
    }
}

/// The caller's part of Redis.
fn space(call: &Call) -> Space<'_> {
    Space::of(call.tenant())
}
