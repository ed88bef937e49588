//! Qdrant for tenants: the engine's own types, no gRPC of ours.

mod cluster;
mod collections;
mod error;
mod link;
mod points;
mod search;
mod shape;
mod snapshots;

use std::{sync::Arc, time::Duration};

use isa_config::Endpoint;
use qdrant_client::qdrant::{CollectionExistsRequest, HealthCheckRequest};

pub(crate) use self::{
    cluster::Cluster,
    collections::Settings,
    error::Error,
    points::{Index, Written},
    snapshots::Snapshot,
};
use self::{
    link::Link,
    shape::{Shape, Shapes},
};
use super::names::Collection;

/// A collection that nobody has: the answer shows that the engine looked, and costs the same however many there are.
const PROBED: &str = "isa-cloud-probe";

/// Qdrant, for all tenants.
pub(crate) struct Qdrant {
    link: Link,
    shapes: Shapes,
}

impl Qdrant {
    /// Connects when it is asked first. Must be called in a runtime.
    pub(crate) fn open(endpoint: &Endpoint) -> Result<Self, String> {
        Ok(Self {
            link: Link::open(endpoint)?,
            shapes: Shapes::default(),
        })
    }

    /// Whether it answers, and takes our key.
    pub(crate) async fn ping(&self, bound: Duration) -> Result<(), Error> {
        let request = CollectionExistsRequest {
            collection_name: PROBED.to_owned(),
        };
        let request = self.link.request(request, bound);
        let answer = self.link.collections().collection_exists(request).await;
        answer.map(drop).map_err(Error::common)
    }

    pub(crate) async fn version(&self, bound: Duration) -> Result<String, Error> {
        let request = self.link.request(HealthCheckRequest {}, bound);
        let answer = self.link.root().health_check(request).await;
        Ok(answer.map_err(Error::common)?.into_inner().version)
    }

    /// Checks something against the collection's shape: the one that is known, and if it does not fit, the newest.
    async fn check(
        &self,
        collection: &Collection,
        bound: Duration,
        check: impl Fn(&Shape) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        if let Some(known) = self.shapes.get(&collection.full)
            && check(&known).is_ok()
        {
            return Ok(());
        }
        let info = self.info(collection, bound).await?;
        let shape = Arc::new(Shape::of(&info));
        self.shapes.put(&collection.full, &shape);
        check(&shape)
    }

    /// What a refusal means. What is known of a collection that is gone is forgotten.
    fn refused(&self, status: tonic::Status, collection: &Collection) -> Error {
        let error = Error::of(status, collection);
        if matches!(error, Error::NotFound(_) | Error::Refused(_)) {
            self.shapes.forget(&collection.full);
        }
        error
    }
}
