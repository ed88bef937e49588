//! isa.qdrant on a real engine. What the service did is looked at with Qdrant's own client.

mod collections;
mod faults;
mod filters;
mod input;
mod points;
mod search;
mod snapshots;

use std::{collections::BTreeMap, time::Duration};

use isa_config::{Endpoint, ServiceKind};
use isa_proto::{
    prost_types::{ListValue, Struct, Value, value::Kind},
    qdrant::{self as pb, qdrant_service_client::QdrantServiceClient},
};
use isa_server::Tenant;
use serde_json::{Value as Json, json};
use tonic::{Code, Status, transport::Channel};

use crate::harness::Node;

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service with a tenant that nobody else has, and Qdrant's own client.
struct World {
    node: Node,
    channel: Channel,
    engine: qdrant_client::Qdrant,
    org: String,
}

impl World {
    async fn start() -> Self {
        Self::over(Node::start(ServiceKind::Qdrant).await).await
    }

    async fn over(node: Node) -> Self {
        let channel = node.channel().await;
        Self {
            engine: engine(&node.engine),
            node,
            channel,
            org: format!("org-{:x}", rand::random::<u64>()),
        }
    }

    /// Another tenant of the same service.
    fn another(
        &self,
    ) -> (
        QdrantServiceClient<Channel>,
        Option<isa_proto::common::RequestMetadata>,
    ) {
        (self.client(), metadata(&format!("{}-other", self.org)))
    }

    fn client(&self) -> QdrantServiceClient<Channel> {
        QdrantServiceClient::new(self.channel.clone())
            .max_decoding_message_size(128 << 20)
            .max_encoding_message_size(128 << 20)
    }

    fn me(&self) -> Option<isa_proto::common::RequestMetadata> {
        metadata(&self.org)
    }

    /// What one of the tenant's collections or aliases is called in Qdrant.
    fn full(&self, name: &str) -> String {
        format!("{}-{name}", Tenant::organization(&self.org).slug())
    }

    /// Makes a collection of vectors of so many dimensions.
    async fn collection(&self, name: &str, size: u64, distance: pb::Distance) {
        let request = pb::CreateCollectionRequest {
            metadata: self.me(),
            collection_name: name.to_owned(),
            vectors_config: Some(pb::create_collection_request::VectorsConfig::VectorParams(
                params(size, distance),
            )),
            ..Default::default()
        };
        let answer = self
            .client()
            .create_collection(request)
            .await
            .expect("a collection");
        assert!(
            answer.get_ref().success
                && answer
                    .get_ref()
                    .metadata
                    .as_ref()
                    .is_some_and(|meta| meta.success)
        );
    }

    /// Writes points and waits for them.
    async fn upsert(&self, name: &str, points: Vec<pb::Point>) {
        let answer = self.try_upsert(name, points).await.expect("written");
        assert_eq!(answer.status, "completed");
        assert!(!answer.operation_id.is_empty());
    }

    async fn try_upsert(
        &self,
        name: &str,
        points: Vec<pb::Point>,
    ) -> Result<pb::UpsertPointsResponse, Status> {
        let request = pb::UpsertPointsRequest {
            metadata: self.me(),
            collection_name: name.to_owned(),
            points,
            wait: Some(true),
            ordering: None,
        };
        self.client()
            .upsert_points(request)
            .await
            .map(tonic::Response::into_inner)
    }

    async fn count(&self, name: &str, filter: Option<pb::Filter>) -> u64 {
        let request = pb::CountRequest {
            metadata: self.me(),
            collection_name: name.to_owned(),
            filter,
            exact: Some(true),
        };
        self.client()
            .count(request)
            .await
            .expect("a count")
            .into_inner()
            .count
    }

    /// Points by number, with payloads and vectors.
    async fn get(&self, name: &str, ids: &[u64]) -> Vec<pb::Point> {
        let request = pb::GetPointsRequest {
            metadata: self.me(),
            collection_name: name.to_owned(),
            ids: numbers(ids),
            with_payload: Some(true),
            with_vectors: Some(true),
        };
        self.client()
            .get_points(request)
            .await
            .expect("points")
            .into_inner()
            .points
    }
}

fn metadata(org: &str) -> Option<isa_proto::common::RequestMetadata> {
    Some(isa_proto::common::RequestMetadata {
        organization_id: org.to_owned(),
        ..Default::default()
    })
}

/// Qdrant's own client.
fn engine(endpoint: &Endpoint) -> qdrant_client::Qdrant {
    let key = endpoint.password.as_ref().map(|key| key.expose().to_owned());
    qdrant_client::Qdrant::from_url(&endpoint.urls["grpc"])
        .api_key(key)
        .skip_compatibility_check()
        .build()
        .expect("a client of Qdrant")
}

fn params(size: u64, distance: pb::Distance) -> pb::VectorParams {
    pb::VectorParams {
        size,
        distance: distance.into(),
        ..Default::default()
    }
}

fn number(id: u64) -> pb::PointId {
    pb::PointId {
        id: Some(pb::point_id::Id::Num(id)),
    }
}

fn numbers(ids: &[u64]) -> Vec<pb::PointId> {
    ids.iter().copied().map(number).collect()
}

fn uuid(text: &str) -> pb::PointId {
    pb::PointId {
        id: Some(pb::point_id::Id::Str(text.to_owned())),
    }
}

fn dense(data: &[f32]) -> pb::Vector {
    pb::Vector {
        data: data.to_vec(),
        indices: vec![],
    }
}

fn sparse(indices: &[u32], data: &[f32]) -> pb::Vector {
    pb::Vector {
        data: data.to_vec(),
        indices: indices.to_vec(),
    }
}

fn point(id: u64, data: &[f32], payload: Json) -> pb::Point {
    pb::Point {
        id: Some(pb::point::Id::NumId(id)),
        vectors: Some(pb::point::Vectors::Vector(dense(data))),
        payload: Some(object(payload)),
    }
}

fn named(id: u64, vectors: &[(&str, pb::Vector)]) -> pb::Point {
    let vectors = vectors
        .iter()
        .map(|(name, vector)| ((*name).to_owned(), vector.clone()));
    pb::Point {
        id: Some(pb::point::Id::NumId(id)),
        vectors: Some(pb::point::Vectors::NamedVectors(pb::NamedVectors {
            vectors: vectors.collect(),
        })),
        payload: None,
    }
}

fn object(json: Json) -> Struct {
    match value(json).kind {
        Some(Kind::StructValue(object)) => object,
        other => panic!("{other:?} is no object"),
    }
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(bool) => Kind::BoolValue(bool),
        Json::Number(number) => Kind::NumberValue(number.as_f64().expect("a number")),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => Kind::ListValue(ListValue {
            values: items.into_iter().map(value).collect(),
        }),
        Json::Object(fields) => Kind::StructValue(Struct {
            fields: fields
                .into_iter()
                .map(|(key, json)| (key, value(json)))
                .collect::<BTreeMap<_, _>>(),
        }),
    };
    Value { kind: Some(kind) }
}

/// JSON of a payload; whole numbers as integers.
fn shown(object: &Struct) -> Json {
    fn of(value: &Value) -> Json {
        match &value.kind {
            None | Some(Kind::NullValue(_)) => Json::Null,
            Some(Kind::BoolValue(bool)) => (*bool).into(),
            Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 1e15 => {
                (*number as i64).into()
            }
            Some(Kind::NumberValue(number)) => (*number).into(),
            Some(Kind::StringValue(text)) => text.as_str().into(),
            Some(Kind::ListValue(list)) => list.values.iter().map(of).collect(),
            Some(Kind::StructValue(object)) => shown(object),
        }
    }
    object
        .fields
        .iter()
        .map(|(key, value)| (key.clone(), of(value)))
        .collect()
}

fn id_of(point: &pb::Point) -> Json {
    match &point.id {
        Some(pb::point::Id::NumId(id)) => json!(id),
        Some(pb::point::Id::StrId(id)) => json!(id),
        None => panic!("a point without an id"),
    }
}

/// The ids of what was found, in order.
fn found(result: &[pb::ScoredPoint]) -> Vec<Json> {
    let points = result
        .iter()
        .map(|scored| scored.point.as_ref().expect("a point"));
    points.map(id_of).collect()
}

fn condition(field: &str, condition: pb::filter_condition::Condition) -> pb::FilterCondition {
    pb::FilterCondition {
        field: field.to_owned(),
        condition: Some(condition),
    }
}

fn keyword(field: &str, text: &str) -> pb::FilterCondition {
    condition(
        field,
        pb::filter_condition::Condition::Match(pb::MatchCondition {
            match_value: Some(pb::match_condition::MatchValue::Keyword(text.to_owned())),
        }),
    )
}

fn must(conditions: Vec<pb::FilterCondition>) -> pb::Filter {
    pb::Filter {
        must: conditions,
        ..Default::default()
    }
}

#[track_caller]
fn fails<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code) -> String {
    let status = answer.expect_err("an error");
    assert_eq!(status.code(), code, "{status:?}");
    status.message().to_owned()
}
