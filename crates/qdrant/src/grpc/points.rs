use qdrant_client::qdrant as pb;
use qdrant_edge::{FacetValue, OrderByInterface, external::uuid::Uuid};
use tonic::{Request, Response, Status};

use super::{
    Api,
    filter::filter,
    groups, index, matrix,
    pb::{facet_value::Variant, points_server::Points},
    query, recommend, unsupported, update,
    values::{path, point_id, point_id_out, point_ids, record_out, scored_out, with_payload, with_vectors},
};
use crate::service::{
    Count, Facet, Failure, Groups, Retrieve, Scroll, Search, Update, check::refuse_present,
};

type Answer<T> = Result<Response<T>, Status>;

impl Api {
    /// Answers a request that is one update.
    async fn write(
        &self,
        name: String,
        update: impl FnOnce() -> Result<Update, Failure> + Send + 'static,
    ) -> Answer<pb::PointsOperationResponse> {
        self.call_and_tell(
            move |service| service.update(&name, vec![update()?]),
            |mut operations, time| pb::PointsOperationResponse {
                result: operations.pop().map(completed),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn find<R: Send + 'static>(
        &self,
        name: String,
        searches: impl FnOnce() -> Result<Vec<Search>, Failure> + Send + 'static,
        respond: impl FnOnce(Vec<Vec<pb::ScoredPoint>>, f64) -> R + Send + 'static,
    ) -> Answer<R> {
        self.call(
            move |service| {
                let results = service.search(&name, searches()?)?;
                Ok(results.into_iter().map(scored_out).collect())
            },
            respond,
        )
        .await
    }

    async fn group<R: Send + 'static>(
        &self,
        name: String,
        request: impl FnOnce() -> Result<Groups, Failure> + Send + 'static,
        respond: impl FnOnce(pb::GroupsResult, f64) -> R + Send + 'static,
    ) -> Answer<R> {
        self.call(
            move |service| service.groups(&name, request()?).map(groups::out),
            respond,
        )
        .await
    }
}

/// Always: writes are applied and durable before they are acknowledged.
fn completed(operation: u64) -> pb::UpdateResult {
    pb::UpdateResult {
        operation_id: Some(operation),
        status: pb::UpdateStatus::Completed.into(),
    }
}

fn batches(results: Vec<Vec<pb::ScoredPoint>>) -> Vec<pb::BatchResult> {
    results
        .into_iter()
        .map(|result| pb::BatchResult { result })
        .collect()
}

#[tonic::async_trait]
impl Points for Api {
    async fn upsert(&self, request: Request<pb::UpsertPoints>) -> Answer<pb::PointsOperationResponse> {
        let r = request.into_inner();
        self.write(r.collection_name, move || {
            update::upsert(
                r.points,
                r.shard_key_selector.is_some(),
                r.update_filter.is_some(),
                r.update_mode,
            )
        })
        .await
    }

    async fn delete(&self, request: Request<pb::DeletePoints>) -> Answer<pb::PointsOperationResponse> {
        let r = request.into_inner();
        self.write(r.collection_name, move || {
            update::delete(r.points, r.shard_key_selector.is_some())
        })
        .await
    }

    async fn update_vectors(
        &self,
        request: Request<pb::UpdatePointVectors>,
    ) -> Answer<pb::PointsOperationResponse> {
        let r = request.into_inner();
        self.write(r.collection_name, move || {
            update::update_vectors(
                r.points,
                r.shard_key_selector.is_some(),
                r.update_filter.is_some(),
            )
        })
        .await
    }

    async fn delete_vectors(
        &self,
        request: Request<pb::DeletePointVectors>,
    ) -> Answer<pb::PointsOperationResponse> {
        let r = request.into_inner();
        self.write(r.collection_name, move || {
            update::delete_vectors(r.points_selector, r.vectors, r.shard_key_selector.is_some())
        })
        .await
    }

    async fn set_payload(
        &self,
        request: Request<pb::SetPayloadPoints>,
    ) -> Answer<pb::PointsOperationResponse> {
        let r = request.into_inner();
        self.write(r.collection_name.clone(), move || {
            update::new_payload_of(r).map(Update::SetPayload)
        })
        .await
    }

    async fn overwrite_payload(
        &self,
        request: Request<pb::SetPayloadPoints>,
    ) -> Answer<pb::PointsOperationResponse> {
        let r = request.into_inner();
        self.write(r.collection_name.clone(), move || {
            update::new_payload_of(r).map(Update::OverwritePayload)
        })
        .await
    }

    async fn delete_payload(
        &self,
        request: Request<pb::DeletePayloadPoints>,
    ) -> Answer<pb::PointsOperationResponse> {
        let r = request.into_inner();
        self.write(r.collection_name, move || {
            update::delete_payload(r.keys, r.points_selector, r.shard_key_selector.is_some())
        })
        .await
    }

    async fn clear_payload(
        &self,
        request: Request<pb::ClearPayloadPoints>,
    ) -> Answer<pb::PointsOperationResponse> {
        let r = request.into_inner();
        self.write(r.collection_name, move || {
            update::clear_payload(r.points, r.shard_key_selector.is_some())
        })
        .await
    }

    async fn create_field_index(
        &self,
        request: Request<pb::CreateFieldIndexCollection>,
    ) -> Answer<pb::PointsOperationResponse> {
        let r = request.into_inner();
        self.write(r.collection_name, move || {
            let field = path("field_name", &r.field_name)?;
            Ok(Update::CreateIndex {
                field,
                schema: index::schema(r.field_type, r.field_index_params)?,
            })
        })
        .await
    }

    async fn delete_field_index(
        &self,
        request: Request<pb::DeleteFieldIndexCollection>,
    ) -> Answer<pb::PointsOperationResponse> {
        let r = request.into_inner();
        self.write(r.collection_name, move || {
            path("field_name", &r.field_name).map(Update::DeleteIndex)
        })
        .await
    }

    async fn update_batch(&self, request: Request<pb::UpdateBatchPoints>) -> Answer<pb::UpdateBatchResponse> {
        let r = request.into_inner();
        self.call_and_tell(
            move |service| {
                let updates = r
                    .operations
                    .into_iter()
                    .map(update::operation)
                    .collect::<Result<_, _>>()?;
                service.update(&r.collection_name, updates)
            },
            |operations, time| pb::UpdateBatchResponse {
                result: operations.into_iter().map(completed).collect(),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn get(&self, request: Request<pb::GetPoints>) -> Answer<pb::GetResponse> {
        let r = request.into_inner();
        self.call(
            move |service| {
                refuse_present(&[("shard_key_selector", r.shard_key_selector.is_some())])?;
                let request = Retrieve {
                    ids: point_ids("ids", r.ids)?,
                    with_payload: with_payload(r.with_payload, true)?,
                    with_vector: with_vectors(r.with_vectors),
                };
                service.retrieve(&r.collection_name, request)
            },
            |records, time| pb::GetResponse {
                result: records.into_iter().map(record_out).collect(),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn scroll(&self, request: Request<pb::ScrollPoints>) -> Answer<pb::ScrollResponse> {
        let r = request.into_inner();
        self.call(
            move |service| {
                refuse_present(&[("shard_key_selector", r.shard_key_selector.is_some())])?;
                let request = Scroll {
                    offset: r.offset.map(|id| point_id("offset", Some(id))).transpose()?,
                    limit: r.limit.unwrap_or(10) as usize,
                    filter: filter(r.filter)?,
                    with_payload: with_payload(r.with_payload, true)?,
                    with_vector: with_vectors(r.with_vectors),
                    order_by: r
                        .order_by
                        .map(query::order_by)
                        .transpose()?
                        .map(OrderByInterface::Struct),
                };
                service.scroll(&r.collection_name, request)
            },
            |(records, next), time| pb::ScrollResponse {
                next_page_offset: next.map(point_id_out),
                result: records.into_iter().map(record_out).collect(),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn count(&self, request: Request<pb::CountPoints>) -> Answer<pb::CountResponse> {
        let r = request.into_inner();
        self.call(
            move |service| {
                refuse_present(&[("shard_key_selector", r.shard_key_selector.is_some())])?;
                let request = Count {
                    filter: filter(r.filter)?,
                    exact: r.exact.unwrap_or(true),
                };
                service.count(&r.collection_name, request)
            },
            |count, time| pb::CountResponse {
                result: Some(pb::CountResult { count: count as u64 }),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn facet(&self, request: Request<pb::FacetCounts>) -> Answer<pb::FacetResponse> {
        let r = request.into_inner();
        self.call(
            move |service| {
                refuse_present(&[("shard_key_selector", r.shard_key_selector.is_some())])?;
                let request = Facet {
                    key: path("key", &r.key)?,
                    limit: super::values::size("limit", r.limit.unwrap_or(10))?,
                    filter: filter(r.filter)?,
                    exact: r.exact.unwrap_or(false),
                };
                service.facet(&r.collection_name, request)
            },
            |response, time| pb::FacetResponse {
                hits: response
                    .hits
                    .into_iter()
                    .map(|hit| pb::FacetHit {
                        value: Some(pb::FacetValue {
                            variant: Some(facet_value(hit.value)),
                        }),
                        count: hit.count as u64,
                    })
                    .collect(),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn search(&self, request: Request<pb::SearchPoints>) -> Answer<pb::SearchResponse> {
        let r = request.into_inner();
        self.find(
            r.collection_name.clone(),
            move || Ok(vec![query::search(r)?]),
            |mut results, time| pb::SearchResponse {
                result: results.pop().unwrap_or_default(),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn search_batch(&self, request: Request<pb::SearchBatchPoints>) -> Answer<pb::SearchBatchResponse> {
        let r = request.into_inner();
        self.find(
            r.collection_name,
            move || r.search_points.into_iter().map(query::search).collect(),
            |results, time| pb::SearchBatchResponse {
                result: batches(results),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn query(&self, request: Request<pb::QueryPoints>) -> Answer<pb::QueryResponse> {
        let r = request.into_inner();
        self.find(
            r.collection_name.clone(),
            move || Ok(vec![query::query(r)?]),
            |mut results, time| pb::QueryResponse {
                result: results.pop().unwrap_or_default(),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn query_batch(&self, request: Request<pb::QueryBatchPoints>) -> Answer<pb::QueryBatchResponse> {
        let r = request.into_inner();
        self.find(
            r.collection_name,
            move || r.query_points.into_iter().map(query::query).collect(),
            |results, time| pb::QueryBatchResponse {
                result: batches(results),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn create_vector_name(
        &self,
        _: Request<pb::CreateVectorNameRequest>,
    ) -> Answer<pb::PointsOperationResponse> {
        unsupported("create_vector_name")
    }

    async fn delete_vector_name(
        &self,
        _: Request<pb::DeleteVectorNameRequest>,
    ) -> Answer<pb::PointsOperationResponse> {
        unsupported("delete_vector_name")
    }

    async fn search_groups(
        &self,
        request: Request<pb::SearchPointGroups>,
    ) -> Answer<pb::SearchGroupsResponse> {
        let r = request.into_inner();
        self.group(
            r.collection_name.clone(),
            move || groups::search(r),
            |result, time| pb::SearchGroupsResponse {
                result: Some(result),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn recommend(&self, request: Request<pb::RecommendPoints>) -> Answer<pb::RecommendResponse> {
        let r = request.into_inner();
        self.find(
            r.collection_name.clone(),
            move || Ok(vec![recommend::recommend(r)?]),
            |mut results, time| pb::RecommendResponse {
                result: results.pop().unwrap_or_default(),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn recommend_batch(
        &self,
        request: Request<pb::RecommendBatchPoints>,
    ) -> Answer<pb::RecommendBatchResponse> {
        let r = request.into_inner();
        self.find(
            r.collection_name,
            move || r.recommend_points.into_iter().map(recommend::recommend).collect(),
            |results, time| pb::RecommendBatchResponse {
                result: batches(results),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn recommend_groups(
        &self,
        request: Request<pb::RecommendPointGroups>,
    ) -> Answer<pb::RecommendGroupsResponse> {
        let r = request.into_inner();
        self.group(
            r.collection_name.clone(),
            move || groups::recommend(r),
            |result, time| pb::RecommendGroupsResponse {
                result: Some(result),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn discover(&self, request: Request<pb::DiscoverPoints>) -> Answer<pb::DiscoverResponse> {
        let r = request.into_inner();
        self.find(
            r.collection_name.clone(),
            move || Ok(vec![recommend::discover(r)?]),
            |mut results, time| pb::DiscoverResponse {
                result: results.pop().unwrap_or_default(),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn discover_batch(
        &self,
        request: Request<pb::DiscoverBatchPoints>,
    ) -> Answer<pb::DiscoverBatchResponse> {
        let r = request.into_inner();
        self.find(
            r.collection_name,
            move || r.discover_points.into_iter().map(recommend::discover).collect(),
            |results, time| pb::DiscoverBatchResponse {
                result: batches(results),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn query_groups(&self, request: Request<pb::QueryPointGroups>) -> Answer<pb::QueryGroupsResponse> {
        let r = request.into_inner();
        self.group(
            r.collection_name.clone(),
            move || groups::query(r),
            |result, time| pb::QueryGroupsResponse {
                result: Some(result),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn search_matrix_pairs(
        &self,
        request: Request<pb::SearchMatrixPoints>,
    ) -> Answer<pb::SearchMatrixPairsResponse> {
        let r = request.into_inner();
        self.call(
            move |service| service.matrix(&r.collection_name.clone(), matrix::request(r)?),
            |distances, time| pb::SearchMatrixPairsResponse {
                result: Some(matrix::pairs(&distances)),
                time,
                usage: None,
            },
        )
        .await
    }

    async fn search_matrix_offsets(
        &self,
        request: Request<pb::SearchMatrixPoints>,
    ) -> Answer<pb::SearchMatrixOffsetsResponse> {
        let r = request.into_inner();
        self.call(
            move |service| service.matrix(&r.collection_name.clone(), matrix::request(r)?),
            |distances, time| pb::SearchMatrixOffsetsResponse {
                result: Some(matrix::offsets(&distances)),
                time,
                usage: None,
            },
        )
        .await
    }
}

fn facet_value(value: FacetValue) -> Variant {
    match value {
        FacetValue::Keyword(text) => Variant::StringValue(text),
        FacetValue::Int(number) => Variant::IntegerValue(number),
        FacetValue::Uuid(uuid) => Variant::StringValue(Uuid::from_u128(uuid).to_string()),
        FacetValue::Bool(flag) => Variant::BoolValue(flag),
    }
}
