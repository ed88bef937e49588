//! Writing points, and reading them by id or in order.

use std::{collections::HashMap, time::Duration};

use qdrant_client::qdrant::{
    ClearPayloadPoints, CountPoints, CreateFieldIndexCollection, DeleteFieldIndexCollection,
    DeletePayloadPoints, DeletePoints, Filter, GetPoints, PayloadIndexParams, PointId, PointStruct,
    PointsOperationResponse, PointsSelector, RetrievedPoint, ScrollPoints, SetPayloadPoints, UpdateStatus,
    UpsertPoints, Value, WithPayloadSelector, WithVectorsSelector, WriteOrdering,
};
use tonic::{Response, Status};

use super::{Error, Qdrant};
use crate::qdrant::names::Collection;

/// How a write stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// Which write of the collection it is.
    pub(crate) operation: u64,
    /// Searches see it.
    pub(crate) is_applied: bool,
}

/// An index over a key of payloads.
pub(crate) struct Index {
    pub(crate) field: String,
    /// Of the engine's `FieldType`.
    pub(crate) kind: i32,
    pub(crate) params: Option<PayloadIndexParams>,
}

impl Qdrant {
    /// Writes points; their vectors are checked first.
    pub(crate) async fn upsert(
        &self,
        collection: &Collection,
        points: Vec<PointStruct>,
        wait: bool,
        ordering: Option<WriteOrdering>,
        bound: Duration,
    ) -> Result<Written, Error> {
        self.check(collection, bound, |shape| shape.points(&points))
            .await?;
        let request = UpsertPoints {
            collection_name: collection.full.clone(),
            wait: Some(wait),
            points,
            ordering,
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        self.written(self.link.points().upsert(request).await, collection, wait)
    }

    pub(crate) async fn delete_points(
        &self,
        collection: &Collection,
        which: PointsSelector,
        wait: bool,
        bound: Duration,
    ) -> Result<Written, Error> {
        let request = DeletePoints {
            collection_name: collection.full.clone(),
            wait: Some(wait),
            points: Some(which),
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        self.written(self.link.points().delete(request).await, collection, wait)
    }

    /// Writes these keys; others stay.
    pub(crate) async fn set_payload(
        &self,
        collection: &Collection,
        payload: HashMap<String, Value>,
        which: PointsSelector,
        wait: bool,
        bound: Duration,
    ) -> Result<Written, Error> {
        let request = SetPayloadPoints {
            collection_name: collection.full.clone(),
            wait: Some(wait),
            payload,
            points_selector: Some(which),
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        self.written(self.link.points().set_payload(request).await, collection, wait)
    }

    pub(crate) async fn delete_payload(
        &self,
        collection: &Collection,
        keys: Vec<String>,
        which: PointsSelector,
        wait: bool,
        bound: Duration,
    ) -> Result<Written, Error> {
        let request = DeletePayloadPoints {
            collection_name: collection.full.clone(),
            wait: Some(wait),
            keys,
            points_selector: Some(which),
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        self.written(self.link.points().delete_payload(request).await, collection, wait)
    }

    pub(crate) async fn clear_payload(
        &self,
        collection: &Collection,
        which: PointsSelector,
        wait: bool,
        bound: Duration,
    ) -> Result<Written, Error> {
        let request = ClearPayloadPoints {
            collection_name: collection.full.clone(),
            wait: Some(wait),
            points: Some(which),
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        self.written(self.link.points().clear_payload(request).await, collection, wait)
    }

    pub(crate) async fn create_index(
        &self,
        collection: &Collection,
        index: Index,
        wait: bool,
        bound: Duration,
    ) -> Result<Written, Error> {
        let request = CreateFieldIndexCollection {
            collection_name: collection.full.clone(),
            wait: Some(wait),
            field_name: index.field,
            field_type: Some(index.kind),
            field_index_params: index.params,
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        self.written(
            self.link.points().create_field_index(request).await,
            collection,
            wait,
        )
    }

    pub(crate) async fn delete_index(
        &self,
        collection: &Collection,
        field: String,
        wait: bool,
        bound: Duration,
    ) -> Result<Written, Error> {
        let request = DeleteFieldIndexCollection {
            collection_name: collection.full.clone(),
            wait: Some(wait),
            field_name: field,
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        self.written(
            self.link.points().delete_field_index(request).await,
            collection,
            wait,
        )
    }

    fn written(
        &self,
        answer: Result<Response<PointsOperationResponse>, Status>,
        collection: &Collection,
        wait: bool,
    ) -> Result<Written, Error> {
        let answer = answer.map_err(|status| self.refused(status, collection))?;
        let result = answer
            .into_inner()
            .result
            .ok_or_else(|| Error::unexpected("the engine says nothing of a write"))?;
        let is_applied = match UpdateStatus::try_from(result.status) {
            Ok(UpdateStatus::Completed) => true,
            Ok(UpdateStatus::WaitTimeout) => return Err(Error::TimedOut),
            Ok(UpdateStatus::ClockRejected) => {
                return Err(Error::Precondition(
                    "a later write of the same points came first, by another node".into(),
                ));
            }
            _ if wait => return Err(Error::unexpected("the engine did not wait for a write")),
            _ => false,
        };
        Ok(Written {
            operation: result.operation_id.unwrap_or_default(),
            is_applied,
        })
    }

    /// Those that are there, in the order asked.
    pub(crate) async fn get(
        &self,
        collection: &Collection,
        ids: Vec<PointId>,
        with_payload: WithPayloadSelector,
        with_vectors: WithVectorsSelector,
        bound: Duration,
    ) -> Result<Vec<RetrievedPoint>, Error> {
        let request = GetPoints {
            collection_name: collection.full.clone(),
            ids: ids.clone(),
            with_payload: Some(with_payload),
            with_vectors: Some(with_vectors),
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        let answer = self.link.points().get(request).await;
        let answer = answer.map_err(|status| self.refused(status, collection))?;
        let found = answer.into_inner().result.into_iter();
        let mut found: HashMap<PointId, RetrievedPoint> = found
            .filter_map(|point| Some((point.id.clone()?, point)))
            .collect();
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// A page in the order of ids, and where the next begins.
    pub(crate) async fn scroll(
        &self,
        collection: &Collection,
        page: ScrollPoints,
        bound: Duration,
    ) -> Result<(Vec<RetrievedPoint>, Option<PointId>), Error> {
        let request = ScrollPoints {
            collection_name: collection.full.clone(),
            ..page
        };
        let request = self.link.request(request, bound);
        let answer = self.link.points().scroll(request).await;
        let answer = answer
            .map_err(|status| self.refused(status, collection))?
            .into_inner();
        Ok((answer.result, answer.next_page_offset))
    }

    pub(crate) async fn count(
        &self,
        collection: &Collection,
        filter: Option<Filter>,
        exact: bool,
        bound: Duration,
    ) -> Result<u64, Error> {
        let request = CountPoints {
            collection_name: collection.full.clone(),
            filter,
            exact: Some(exact),
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        let answer = self.link.points().count(request).await;
        let answer = answer.map_err(|status| self.refused(status, collection))?;
        let result = answer.into_inner().result;
        result
            .map(|result| result.count)
            .ok_or_else(|| Error::unexpected("the engine counts nothing"))
    }
}
