//! Indexes, constraints and figures.

use std::collections::BTreeMap;

use isa_proto::{
    neo4j as pb,
    prost_types::{Struct, Value, value::Kind},
};
use isa_server::{Call, Error, ErrorCode};

use super::{DATABASE, Neo4j, budget, database, names};
use crate::neo4j::service::IndexKind;

impl Neo4j {
    pub(super) async fn make_index(
        &self,
        call: &Call,
        request: pb::CreateIndexRequest,
    ) -> Result<pb::CreateIndexResponse, Error> {
        database(request.database.as_deref())?;
        let kind = request.index_type.unwrap_or_default().to_ascii_lowercase();
        let kind = match kind.as_str() {
            "" | "range" | "btree" => IndexKind::Range,
            "text" => IndexKind::Text,
            "point" => IndexKind::Point,
            "fulltext" => IndexKind::Fulltext,
            _ => {
                return Err(Error::invalid(
                    "index_type",
                    "is none of range, text, point and fulltext",
                ));
            }
        };
        let on = (request.label.as_str(), request.properties.as_slice());
        let made = self
            .graph
            .create_index(names(call), &request.index_name, on, kind, budget(call))
            .await;
        made.map_err(|error| self.told(call, error))?;
        call.note(format!("index/{}", request.index_name));
        Ok(pb::CreateIndexResponse {
            metadata: None,
            success: true,
        })
    }

    pub(super) async fn indexes(
        &self,
        call: &Call,
        request: pb::ListIndexesRequest,
    ) -> Result<pb::ListIndexesResponse, Error> {
        database(request.database.as_deref())?;
        let indexes = self.graph.indexes(names(call), budget(call)).await;
        let indexes = indexes.map_err(|error| self.told(call, error))?;
        let info = |index: crate::neo4j::service::Index| pb::IndexInfo {
            name: index.name,
            r#type: index.kind,
            labels_or_types: index.labels,
            properties: index.properties,
            state: index.state,
        };
        Ok(pb::ListIndexesResponse {
            metadata: None,
            indexes: indexes.into_iter().map(info).collect(),
        })
    }

    pub(super) async fn make_constraint(
        &self,
        call: &Call,
        request: pb::CreateConstraintRequest,
    ) -> Result<pb::CreateConstraintResponse, Error> {
        database(request.database.as_deref())?;
        match request.constraint_type.to_ascii_lowercase().as_str() {
            "unique" | "uniqueness" => {}
            "exists" | "node_key" => {
                return Err(Error::new(
                    ErrorCode::Unimplemented,
                    "constraints of the types exists and node_key need Neo4j Enterprise; unique is there",
                )
                .in_field("constraint_type"));
            }
            _ => {
                return Err(Error::invalid(
                    "constraint_type",
                    "is none of unique, exists and node_key",
                ));
            }
        }
        let on = (request.label.as_str(), request.properties.as_slice());
        let made = self
            .graph
            .create_constraint(names(call), &request.constraint_name, on, budget(call))
            .await;
        made.map_err(|error| self.told(call, error))?;
        call.note(format!("constraint/{}", request.constraint_name));
        Ok(pb::CreateConstraintResponse {
            metadata: None,
            success: true,
        })
    }

    pub(super) async fn constraints(
        &self,
        call: &Call,
        request: pb::ListConstraintsRequest,
    ) -> Result<pb::ListConstraintsResponse, Error> {
        database(request.database.as_deref())?;
        let constraints = self.graph.constraints(names(call), budget(call)).await;
        let constraints = constraints.map_err(|error| self.told(call, error))?;
        let info = |constraint: crate::neo4j::service::Constraint| pb::ConstraintInfo {
            name: constraint.name,
            r#type: constraint.kind,
            label: constraint.label,
            properties: constraint.properties,
        };
        Ok(pb::ListConstraintsResponse {
            metadata: None,
            constraints: constraints.into_iter().map(info).collect(),
        })
    }

    pub(super) async fn database_info(
        &self,
        call: &Call,
        request: pb::GetDatabaseInfoRequest,
    ) -> Result<pb::GetDatabaseInfoResponse, Error> {
        database(request.database.as_deref())?;
        let told = |error| self.told(call, error);
        let figures = self
            .graph
            .figures(names(call), budget(call))
            .await
            .map_err(told)?;
        let keys = self
            .graph
            .property_keys(names(call), budget(call))
            .await
            .map_err(told)?;
        let count = |map: &BTreeMap<String, i64>| i64::try_from(map.len()).unwrap_or(i64::MAX);
        Ok(pb::GetDatabaseInfoResponse {
            metadata: None,
            name: DATABASE.into(),
            node_count: figures.nodes,
            relationship_count: figures.relationships,
            label_count: count(&figures.labels),
            relationship_type_count: count(&figures.kinds),
            property_key_count: keys,
        })
    }

    pub(super) async fn statistics(
        &self,
        call: &Call,
        request: pb::GetStatisticsRequest,
    ) -> Result<pb::GetStatisticsResponse, Error> {
        database(request.database.as_deref())?;
        let figures = self.graph.figures(names(call), budget(call)).await;
        let figures = figures.map_err(|error| self.told(call, error))?;
        let fields = BTreeMap::from([
            ("node_count".into(), number(figures.nodes)),
            ("relationship_count".into(), number(figures.relationships)),
            ("labels".into(), numbers(figures.labels)),
            ("relationship_types".into(), numbers(figures.kinds)),
        ]);
        Ok(pb::GetStatisticsResponse {
            metadata: None,
            statistics: Some(Struct { fields }),
        })
    }
}

#[allow(clippy::cast_precision_loss)] // Counts of things that Neo4j can have.
fn number(count: i64) -> Value {
    Value {
        kind: Some(Kind::NumberValue(count as f64)),
    }
}

fn numbers(counts: BTreeMap<String, i64>) -> Value {
    let fields = counts
        .into_iter()
        .map(|(name, count)| (name, number(count)))
        .collect();
    Value {
        kind: Some(Kind::StructValue(Struct { fields })),
    }
}
