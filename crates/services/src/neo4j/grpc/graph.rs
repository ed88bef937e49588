//! Nodes, relationships and paths.

use isa_proto::neo4j as pb;
use isa_server::{Call, Error, StatefulId};

use super::{Neo4j, bounded, budget, database, names, said};
use crate::neo4j::{
    convert,
    service::{self, Direction, MAX_ROWS, NodeQuery, RelationshipQuery, Route},
};

/// Nodes, relationships or paths where nothing is said.
const PAGE: u32 = 100;

/// Steps of a path.
pub(super) fn depth(given: Option<i32>) -> Result<u32, Error> {
    bounded("max_depth", given, 5, 20)
}

fn limit(given: Option<i32>) -> Result<usize, Error> {
    let most = u32::try_from(MAX_ROWS).unwrap_or(u32::MAX);
    // Lossless wherever this runs.
    Ok(bounded("limit", given, PAGE, most)? as usize)
}

fn total(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl Neo4j {
    pub(super) async fn make_node(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: pb::CreateNodeRequest,
    ) -> Result<pb::CreateNodeResponse, Error> {
        database(request.database.as_deref())?;
        let told = |error| self.told(call, error);
        let properties = convert::properties("properties", request.properties).map_err(told)?;
        let mut scope = self.scope(call, transaction).await?;
        let made = self
            .graph
            .create_node(names(call), &mut scope, &request.labels, properties, budget(call))
            .await;
        let node = made.and_then(convert::node).map_err(told)?;
        call.note(format!("node/{}", node.id));
        Ok(pb::CreateNodeResponse {
            metadata: None,
            node: Some(node),
        })
    }

    pub(super) async fn read_node(
        &self,
        call: &Call,
        request: pb::GetNodeRequest,
    ) -> Result<pb::GetNodeResponse, Error> {
        database(request.database.as_deref())?;
        let told = |error| self.told(call, error);
        let node = self.graph.node(names(call), request.node_id, budget(call)).await;
        let node = node.map_err(told)?.map(convert::node).transpose().map_err(told)?;
        Ok(pb::GetNodeResponse {
            metadata: None,
            found: node.is_some(),
            node,
        })
    }

    pub(super) async fn write_node(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: pb::UpdateNodeRequest,
    ) -> Result<pb::UpdateNodeResponse, Error> {
        database(request.database.as_deref())?;
        call.note(format!("node/{}", request.node_id));
        let told = |error| self.told(call, error);
        let properties = convert::properties("properties", request.properties).map_err(told)?;
        let replace = request.replace.unwrap_or_default();
        let mut scope = self.scope(call, transaction).await?;
        let node = self
            .graph
            .update_node(
                names(call),
                &mut scope,
                request.node_id,
                properties,
                replace,
                budget(call),
            )
            .await;
        Ok(pb::UpdateNodeResponse {
            metadata: None,
            node: Some(node.and_then(convert::node).map_err(told)?),
        })
    }

    pub(super) async fn remove_node(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: pb::DeleteNodeRequest,
    ) -> Result<pb::DeleteNodeResponse, Error> {
        database(request.database.as_deref())?;
        call.note(format!("node/{}", request.node_id));
        let detach = request.detach.unwrap_or_default();
        let mut scope = self.scope(call, transaction).await?;
        let gone = self
            .graph
            .delete_node(names(call), &mut scope, request.node_id, detach, budget(call))
            .await;
        Ok(pb::DeleteNodeResponse {
            metadata: None,
            success: true,
            relationships_deleted: total(gone.map_err(|error| self.told(call, error))?),
        })
    }

    pub(super) async fn find_or_make_node(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: pb::MergeNodeRequest,
    ) -> Result<pb::MergeNodeResponse, Error> {
        database(request.database.as_deref())?;
        if request.labels.is_empty() {
            return Err(Error::invalid("labels", "are none"));
        }
        let told = |error| self.told(call, error);
        let wanted = convert::wanted("match_properties", request.match_properties).map_err(told)?;
        let set = convert::properties("set_properties", request.set_properties).map_err(told)?;
        let mut scope = self.scope(call, transaction).await?;
        let merged = self
            .graph
            .merge_node(
                names(call),
                &mut scope,
                &request.labels,
                wanted,
                set,
                budget(call),
            )
            .await;
        let (node, created) = merged.map_err(told)?;
        call.note(format!("node/{}", node.id));
        Ok(pb::MergeNodeResponse {
            metadata: None,
            node: Some(convert::node(node).map_err(told)?),
            created,
        })
    }

    pub(super) async fn nodes(
        &self,
        call: &Call,
        request: pb::FindNodesRequest,
    ) -> Result<pb::FindNodesResponse, Error> {
        database(request.database.as_deref())?;
        let told = |error| self.told(call, error);
        let skip = request.skip.unwrap_or_default();
        if skip < 0 {
            return Err(Error::invalid("skip", "is negative"));
        }
        let query = NodeQuery {
            label: said(request.label),
            properties: convert::properties("properties", request.properties).map_err(told)?,
            limit: limit(request.limit)?,
            skip: skip.into(),
        };
        let found = self.graph.find_nodes(names(call), query, budget(call)).await;
        let (nodes, count) = found.map_err(told)?;
        let nodes: Result<Vec<_>, _> = nodes.into_iter().map(convert::node).collect();
        Ok(pb::FindNodesResponse {
            metadata: None,
            nodes: nodes.map_err(told)?,
            total_count: total(count),
        })
    }

    pub(super) async fn make_relationship(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: pb::CreateRelationshipRequest,
    ) -> Result<pb::CreateRelationshipResponse, Error> {
        database(request.database.as_deref())?;
        let told = |error| self.told(call, error);
        let properties = convert::properties("properties", request.properties).map_err(told)?;
        let ends = (request.start_node_id, request.end_node_id);
        let mut scope = self.scope(call, transaction).await?;
        let made = self
            .graph
            .create_relationship(
                names(call),
                &mut scope,
                ends,
                &request.r#type,
                properties,
                budget(call),
            )
            .await;
        let relationship = made.and_then(convert::relationship).map_err(told)?;
        call.note(format!("relationship/{}", relationship.id));
        Ok(pb::CreateRelationshipResponse {
            metadata: None,
            relationship: Some(relationship),
        })
    }

    pub(super) async fn read_relationship(
        &self,
        call: &Call,
        request: pb::GetRelationshipRequest,
    ) -> Result<pb::GetRelationshipResponse, Error> {
        database(request.database.as_deref())?;
        let told = |error| self.told(call, error);
        let id = request.relationship_id;
        let found = self.graph.relationship(names(call), id, budget(call)).await;
        let found = found.map_err(told)?.map(convert::relationship).transpose();
        let relationship = found.map_err(told)?;
        Ok(pb::GetRelationshipResponse {
            metadata: None,
            found: relationship.is_some(),
            relationship,
        })
    }

    pub(super) async fn write_relationship(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: pb::UpdateRelationshipRequest,
    ) -> Result<pb::UpdateRelationshipResponse, Error> {
        database(request.database.as_deref())?;
        let id = request.relationship_id;
        call.note(format!("relationship/{id}"));
        let told = |error| self.told(call, error);
        let properties = convert::properties("properties", request.properties).map_err(told)?;
        let replace = request.replace.unwrap_or_default();
        let mut scope = self.scope(call, transaction).await?;
        let written = self
            .graph
            .update_relationship(names(call), &mut scope, id, properties, replace, budget(call))
            .await;
        Ok(pb::UpdateRelationshipResponse {
            metadata: None,
            relationship: Some(written.and_then(convert::relationship).map_err(told)?),
        })
    }

    pub(super) async fn remove_relationship(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: pb::DeleteRelationshipRequest,
    ) -> Result<pb::DeleteRelationshipResponse, Error> {
        database(request.database.as_deref())?;
        let id = request.relationship_id;
        call.note(format!("relationship/{id}"));
        let mut scope = self.scope(call, transaction).await?;
        let gone = self
            .graph
            .delete_relationship(names(call), &mut scope, id, budget(call))
            .await;
        gone.map_err(|error| self.told(call, error))?;
        Ok(pb::DeleteRelationshipResponse {
            metadata: None,
            success: true,
        })
    }

    pub(super) async fn relationships(
        &self,
        call: &Call,
        request: pb::FindRelationshipsRequest,
    ) -> Result<pb::FindRelationshipsResponse, Error> {
        database(request.database.as_deref())?;
        let told = |error| self.told(call, error);
        let query = RelationshipQuery {
            start: request.start_node_id,
            end: request.end_node_id,
            kind: said(request.r#type),
            properties: convert::properties("properties", request.properties).map_err(told)?,
            limit: limit(request.limit)?,
        };
        let found = self
            .graph
            .find_relationships(names(call), query, budget(call))
            .await;
        let (relationships, count) = found.map_err(told)?;
        let relationships: Result<Vec<_>, _> = relationships.into_iter().map(convert::relationship).collect();
        Ok(pb::FindRelationshipsResponse {
            metadata: None,
            relationships: relationships.map_err(told)?,
            total_count: total(count),
        })
    }

    pub(super) async fn neighbors(
        &self,
        call: &Call,
        request: pb::GetNeighborsRequest,
    ) -> Result<pb::GetNeighborsResponse, Error> {
        database(request.database.as_deref())?;
        let told = |error| self.told(call, error);
        let direction = request.direction.unwrap_or_default().to_ascii_lowercase();
        let direction = match direction.as_str() {
            "outgoing" | "out" => Direction::Outgoing,
            "incoming" | "in" => Direction::Incoming,
            "" | "both" => Direction::Both,
            _ => {
                return Err(Error::invalid(
                    "direction",
                    "is none of outgoing, incoming and both",
                ));
            }
        };
        let depth = bounded("max_depth", request.max_depth, 1, 10)?;
        let kind = said(request.relationship_type);
        let found = self
            .graph
            .neighbors(
                names(call),
                request.node_id,
                kind.as_deref(),
                direction,
                depth,
                budget(call),
            )
            .await;
        let found = found.map_err(told)?;
        let nodes: Result<Vec<_>, service::Error> = found.nodes.into_iter().map(convert::node).collect();
        let relationships: Result<Vec<_>, service::Error> = found
            .relationships
            .into_iter()
            .map(convert::relationship)
            .collect();
        Ok(pb::GetNeighborsResponse {
            metadata: None,
            nodes: nodes.map_err(told)?,
            relationships: relationships.map_err(told)?,
        })
    }

    pub(super) async fn path(&self, call: &Call, route: &Route) -> Result<Option<pb::Path>, Error> {
        let told = |error| self.told(call, error);
        let path = self.graph.shortest_path(names(call), route, budget(call)).await;
        path.map_err(told)?.map(convert::path).transpose().map_err(told)
    }

    pub(super) async fn all_paths(
        &self,
        call: &Call,
        request: pb::GetAllPathsRequest,
    ) -> Result<pb::GetAllPathsResponse, Error> {
        database(request.database.as_deref())?;
        let told = |error| self.told(call, error);
        let route = Route {
            start: request.start_node_id,
            end: request.end_node_id,
            kind: said(request.relationship_type),
            depth: depth(request.max_depth)?,
        };
        let limit = limit(request.limit)?;
        let paths = self
            .graph
            .all_paths(names(call), &route, limit, budget(call))
            .await;
        let paths: Result<Vec<_>, _> = paths.map_err(told)?.into_iter().map(convert::path).collect();
        Ok(pb::GetAllPathsResponse {
            metadata: None,
            paths: paths.map_err(told)?,
        })
    }
}
