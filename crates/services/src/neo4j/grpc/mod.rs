//! The service: converts, calls, converts.

mod cypher;
mod error;
mod graph;
mod schema;

use std::time::Duration;

use isa_proto::neo4j::{self as pb, neo4j_service_client::Neo4jServiceClient};
use isa_server::{Call, Error, Place, StatefulId, Upstream, api::neo4j::Neo4jService};

use super::{
    names::Names,
    service::{self, Algorithm, Budget, Graph, Grouping, Part, Route, Scope},
};

/// How long a call may take where nothing is said.
const TIME: Duration = Duration::from_secs(60);

/// Longest life of a transaction.
const LIFE_MS: i32 = 300_000;

/// The database that there is.
const DATABASE: &str = "neo4j";

/// What another replica may answer: as much as we may.
const MAX_FORWARDED: usize = 128 << 20;

/// The building block.
pub(super) struct Neo4j {
    pub(super) graph: Graph,
    pub(super) upstream: Upstream,
}

/// The id of a call's transaction, if it names one. A call whose transaction is at another replica is sent there, and its
/// answer returned.
macro_rules! transaction {
    ($call:ident, $request:ident, $method:ident) => {
        if $request.transaction_id.is_empty() {
            None
        } else {
            located!($call, $request, $method)
        }
    };
}

/// Likewise, of a call that must name one.
macro_rules! located {
    ($call:ident, $request:ident, $method:ident) => {
        match $call.locate(&$request.transaction_id, "transaction_id")? {
            Place::Here(id) => Some(id),
            Place::There(replica) => {
                let client = Neo4jServiceClient::new(replica.channel().await?);
                let mut client = client.max_decoding_message_size(MAX_FORWARDED);
                let request = replica.request($request);
                return Ok(client.$method(request).await?.into_inner());
            }
        }
    };
}

fn names(call: &Call) -> Names<'_> {
    Names::of(call.tenant().slug())
}

fn budget(call: &Call) -> Budget {
    Budget(call.time_left(TIME))
}

/// Any other than the one that there is, is not there.
fn database(given: Option<&str>) -> Result<(), Error> {
    match given {
        None | Some("" | DATABASE) => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(64).collect();
            Err(Error::not_found(format_args!("database {name:?}")).in_field("database"))
        }
    }
}

/// A number with a default, between 1 and the most.
fn bounded(field: &'static str, given: Option<i32>, default: u32, most: u32) -> Result<u32, Error> {
    match given {
        None | Some(0) => Ok(default),
        Some(number) => u32::try_from(number)
            .ok()
            .filter(|number| *number <= most)
            .ok_or_else(|| Error::invalid(field, format!("is not between 1 and {most}"))),
    }
}

/// A text that counts as absent where it is empty.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl Neo4j {
    fn told(&self, call: &Call, error: service::Error) -> Error {
        error::told(names(call), &self.upstream, error)
    }

    async fn scope(&self, call: &Call, transaction: Option<StatefulId>) -> Result<Scope, Error> {
        let scope = self.graph.scope(call.tenant().slug(), transaction).await;
        scope.map_err(|error| self.told(call, error))
    }

    async fn scores(
        &self,
        call: &Call,
        part: Part,
        algorithm: Algorithm,
    ) -> Result<std::collections::BTreeMap<i64, f64>, Error> {
        let scores = self
            .graph
            .scores(names(call), &part, algorithm, budget(call))
            .await;
        Ok(scores
            .map_err(|error| self.told(call, error))?
            .into_iter()
            .collect())
    }
}

impl Neo4jService for Neo4j {
    async fn run_cypher(
        &self,
        call: Call,
        request: pb::RunCypherRequest,
    ) -> Result<pb::RunCypherResponse, Error> {
        cypher::allowed(&call)?;
        let transaction = transaction!(call, request, run_cypher);
        self.cypher(&call, transaction, request).await
    }

    async fn run_cypher_read(
        &self,
        call: Call,
        request: pb::RunCypherReadRequest,
    ) -> Result<pb::RunCypherReadResponse, Error> {
        cypher::allowed(&call)?;
        let transaction = transaction!(call, request, run_cypher_read);
        self.cypher_read(&call, transaction, request).await
    }

    async fn run_cypher_write(
        &self,
        call: Call,
        request: pb::RunCypherWriteRequest,
    ) -> Result<pb::RunCypherWriteResponse, Error> {
        cypher::allowed(&call)?;
        let transaction = transaction!(call, request, run_cypher_write);
        let request = pb::RunCypherRequest {
            metadata: None,
            cypher: request.cypher,
            parameters: request.parameters,
            database: request.database,
            timeout_ms: request.timeout_ms,
            transaction_id: String::new(),
        };
        let answer = self.cypher(&call, transaction, request).await?;
        Ok(pb::RunCypherWriteResponse {
            metadata: None,
            rows: answer.rows,
            columns: answer.columns,
            summary: answer.summary,
        })
    }

    async fn run_cypher_batch(
        &self,
        call: Call,
        request: pb::RunCypherBatchRequest,
    ) -> Result<pb::RunCypherBatchResponse, Error> {
        cypher::allowed(&call)?;
        self.cypher_batch(&call, request).await
    }

    async fn create_node(
        &self,
        call: Call,
        request: pb::CreateNodeRequest,
    ) -> Result<pb::CreateNodeResponse, Error> {
        let transaction = transaction!(call, request, create_node);
        self.make_node(&call, transaction, request).await
    }

    async fn get_node(&self, call: Call, request: pb::GetNodeRequest) -> Result<pb::GetNodeResponse, Error> {
        self.read_node(&call, request).await
    }

    async fn update_node(
        &self,
        call: Call,
        request: pb::UpdateNodeRequest,
    ) -> Result<pb::UpdateNodeResponse, Error> {
        let transaction = transaction!(call, request, update_node);
        self.write_node(&call, transaction, request).await
    }

    async fn delete_node(
        &self,
        call: Call,
        request: pb::DeleteNodeRequest,
    ) -> Result<pb::DeleteNodeResponse, Error> {
        let transaction = transaction!(call, request, delete_node);
        self.remove_node(&call, transaction, request).await
    }

    async fn merge_node(
        &self,
        call: Call,
        request: pb::MergeNodeRequest,
    ) -> Result<pb::MergeNodeResponse, Error> {
        let transaction = transaction!(call, request, merge_node);
        self.find_or_make_node(&call, transaction, request).await
    }

    async fn find_nodes(
        &self,
        call: Call,
        request: pb::FindNodesRequest,
    ) -> Result<pb::FindNodesResponse, Error> {
        self.nodes(&call, request).await
    }

    async fn create_relationship(
        &self,
        call: Call,
        request: pb::CreateRelationshipRequest,
    ) -> Result<pb::CreateRelationshipResponse, Error> {
        let transaction = transaction!(call, request, create_relationship);
        self.make_relationship(&call, transaction, request).await
    }

    async fn get_relationship(
        &self,
        call: Call,
        request: pb::GetRelationshipRequest,
    ) -> Result<pb::GetRelationshipResponse, Error> {
        self.read_relationship(&call, request).await
    }

    async fn update_relationship(
        &self,
        call: Call,
        request: pb::UpdateRelationshipRequest,
    ) -> Result<pb::UpdateRelationshipResponse, Error> {
        let transaction = transaction!(call, request, update_relationship);
        self.write_relationship(&call, transaction, request).await
    }

    async fn delete_relationship(
        &self,
        call: Call,
        request: pb::DeleteRelationshipRequest,
    ) -> Result<pb::DeleteRelationshipResponse, Error> {
        let transaction = transaction!(call, request, delete_relationship);
        self.remove_relationship(&call, transaction, request).await
    }

    async fn find_relationships(
        &self,
        call: Call,
        request: pb::FindRelationshipsRequest,
    ) -> Result<pb::FindRelationshipsResponse, Error> {
        self.relationships(&call, request).await
    }

    async fn get_neighbors(
        &self,
        call: Call,
        request: pb::GetNeighborsRequest,
    ) -> Result<pb::GetNeighborsResponse, Error> {
        self.neighbors(&call, request).await
    }

    async fn get_path(&self, call: Call, request: pb::GetPathRequest) -> Result<pb::GetPathResponse, Error> {
        database(request.database.as_deref())?;
        let route = Route {
            start: request.start_node_id,
            end: request.end_node_id,
            kind: said(request.relationship_type),
            depth: graph::depth(request.max_depth)?,
        };
        let path = self.path(&call, &route).await?;
        Ok(pb::GetPathResponse {
            metadata: None,
            found: path.is_some(),
            path,
        })
    }

    async fn get_shortest_path(
        &self,
        call: Call,
        request: pb::GetShortestPathRequest,
    ) -> Result<pb::GetShortestPathResponse, Error> {
        database(request.database.as_deref())?;
        let route = Route {
            start: request.start_node_id,
            end: request.end_node_id,
            kind: said(request.relationship_type),
            depth: graph::depth(request.max_depth)?,
        };
        let path = self.path(&call, &route).await?;
        Ok(pb::GetShortestPathResponse {
            metadata: None,
            found: path.is_some(),
            path,
        })
    }

    async fn get_all_paths(
        &self,
        call: Call,
        request: pb::GetAllPathsRequest,
    ) -> Result<pb::GetAllPathsResponse, Error> {
        self.all_paths(&call, request).await
    }

    async fn page_rank(
        &self,
        call: Call,
        request: pb::PageRankRequest,
    ) -> Result<pb::PageRankResponse, Error> {
        database(request.database.as_deref())?;
        let damping = request.dampening_factor.unwrap_or(0.85);
        if !(damping > 0.0 && damping < 1.0) {
            return Err(Error::invalid("dampening_factor", "is not between 0 and 1"));
        }
        if request.max_iterations == Some(0) {
            return Err(Error::invalid("max_iterations", "is not between 1 and 1000"));
        }
        let algorithm = Algorithm::PageRank {
            iterations: bounded("max_iterations", request.max_iterations, 20, 1000)?,
            damping,
        };
        let part = Part {
            label: said(request.label),
            kind: said(request.relationship_type),
        };
        let scores = self.scores(&call, part, algorithm).await?;
        Ok(pb::PageRankResponse {
            metadata: None,
            scores,
        })
    }

    async fn betweenness_centrality(
        &self,
        call: Call,
        request: pb::BetweennessCentralityRequest,
    ) -> Result<pb::BetweennessCentralityResponse, Error> {
        database(request.database.as_deref())?;
        let part = Part {
            label: said(request.label),
            kind: said(request.relationship_type),
        };
        let scores = self.scores(&call, part, Algorithm::Betweenness).await?;
        Ok(pb::BetweennessCentralityResponse {
            metadata: None,
            scores,
        })
    }

    async fn community_detection(
        &self,
        call: Call,
        request: pb::CommunityDetectionRequest,
    ) -> Result<pb::CommunityDetectionResponse, Error> {
        database(request.database.as_deref())?;
        let grouping = match request.algorithm.as_deref() {
            None | Some("" | "louvain") => Grouping::Louvain,
            Some("label_propagation") => Grouping::LabelPropagation,
            Some(_) => {
                return Err(Error::invalid(
                    "algorithm",
                    "is neither louvain nor label_propagation",
                ));
            }
        };
        let part = Part {
            label: said(request.label),
            kind: said(request.relationship_type),
        };
        let groups = self
            .graph
            .groups(names(&call), &part, grouping, budget(&call))
            .await;
        let groups = groups.map_err(|error| self.told(&call, error))?;
        let count = groups
            .iter()
            .map(|(_, group)| group + 1)
            .max()
            .unwrap_or_default();
        Ok(pb::CommunityDetectionResponse {
            metadata: None,
            num_communities: i32::try_from(count).unwrap_or(i32::MAX),
            communities: groups.into_iter().map(|(id, group)| (id, group.into())).collect(),
        })
    }

    async fn create_index(
        &self,
        call: Call,
        request: pb::CreateIndexRequest,
    ) -> Result<pb::CreateIndexResponse, Error> {
        self.make_index(&call, request).await
    }

    async fn drop_index(
        &self,
        call: Call,
        request: pb::DropIndexRequest,
    ) -> Result<pb::DropIndexResponse, Error> {
        database(request.database.as_deref())?;
        let dropped = self
            .graph
            .drop_index(names(&call), &request.index_name, budget(&call))
            .await;
        dropped.map_err(|error| self.told(&call, error))?;
        Ok(pb::DropIndexResponse {
            metadata: None,
            success: true,
        })
    }

    async fn list_indexes(
        &self,
        call: Call,
        request: pb::ListIndexesRequest,
    ) -> Result<pb::ListIndexesResponse, Error> {
        self.indexes(&call, request).await
    }

    async fn create_constraint(
        &self,
        call: Call,
        request: pb::CreateConstraintRequest,
    ) -> Result<pb::CreateConstraintResponse, Error> {
        self.make_constraint(&call, request).await
    }

    async fn drop_constraint(
        &self,
        call: Call,
        request: pb::DropConstraintRequest,
    ) -> Result<pb::DropConstraintResponse, Error> {
        database(request.database.as_deref())?;
        let name = &request.constraint_name;
        let dropped = self
            .graph
            .drop_constraint(names(&call), name, budget(&call))
            .await;
        dropped.map_err(|error| self.told(&call, error))?;
        Ok(pb::DropConstraintResponse {
            metadata: None,
            success: true,
        })
    }

    async fn list_constraints(
        &self,
        call: Call,
        request: pb::ListConstraintsRequest,
    ) -> Result<pb::ListConstraintsResponse, Error> {
        self.constraints(&call, request).await
    }

    async fn begin_transaction(
        &self,
        call: Call,
        request: pb::BeginTransactionRequest,
    ) -> Result<pb::BeginTransactionResponse, Error> {
        database(request.database.as_deref())?;
        let life = match request.timeout_ms {
            None | Some(0) => LIFE_MS,
            Some(life @ 1..=LIFE_MS) => life,
            Some(_) => {
                return Err(Error::invalid(
                    "timeout_ms",
                    format!("is not between 1 and {LIFE_MS}"),
                ));
            }
        };
        let id = call.new_id();
        let life = Duration::from_millis(life.unsigned_abs().into());
        let begun = self.graph.begin(call.tenant().slug(), id, life).await;
        begun.map_err(|error| self.told(&call, error))?;
        Ok(pb::BeginTransactionResponse {
            metadata: None,
            transaction_id: id.to_string(),
        })
    }

    async fn commit_transaction(
        &self,
        call: Call,
        request: pb::CommitTransactionRequest,
    ) -> Result<pb::CommitTransactionResponse, Error> {
        if let Some(id) = located!(call, request, commit_transaction) {
            let committed = self.graph.commit(call.tenant().slug(), id).await;
            committed.map_err(|error| error::not_committed(names(&call), &self.upstream, error))?;
        }
        Ok(pb::CommitTransactionResponse {
            metadata: None,
            success: true,
        })
    }

    async fn rollback_transaction(
        &self,
        call: Call,
        request: pb::RollbackTransactionRequest,
    ) -> Result<pb::RollbackTransactionResponse, Error> {
        if let Some(id) = located!(call, request, rollback_transaction) {
            let rolled_back = self.graph.rollback(call.tenant().slug(), id).await;
            rolled_back.map_err(|error| self.told(&call, error))?;
        }
        Ok(pb::RollbackTransactionResponse {
            metadata: None,
            success: true,
        })
    }

    async fn get_database_info(
        &self,
        call: Call,
        request: pb::GetDatabaseInfoRequest,
    ) -> Result<pb::GetDatabaseInfoResponse, Error> {
        self.database_info(&call, request).await
    }

    async fn list_databases(
        &self,
        call: Call,
        _: pb::ListDatabasesRequest,
    ) -> Result<pb::ListDatabasesResponse, Error> {
        let databases = self.graph.databases(budget(&call)).await;
        let databases = databases.map_err(|error| self.told(&call, error))?;
        let info = |(name, status, default)| pb::DatabaseInfo {
            name,
            status,
            default,
        };
        Ok(pb::ListDatabasesResponse {
            metadata: None,
            databases: databases.into_iter().map(info).collect(),
        })
    }

    async fn get_statistics(
        &self,
        call: Call,
        request: pb::GetStatisticsRequest,
    ) -> Result<pb::GetStatisticsResponse, Error> {
        self.statistics(&call, request).await
    }

    async fn health_check(
        &self,
        _: Call,
        _: pb::Neo4jHealthCheckRequest,
    ) -> Result<pb::Neo4jHealthCheckResponse, Error> {
        // One that is known to be down is not asked: the answer is due at once.
        let found = if self.upstream.is_up() {
            tokio::time::timeout(Duration::from_secs(2), self.graph.components()).await
        } else {
            Ok(Err(service::Error::Slow))
        };
        Ok(match found {
            Ok(Ok(found)) => pb::Neo4jHealthCheckResponse {
                metadata: None,
                healthy: true,
                version: found.version,
                edition: found.edition,
            },
            _ => pb::Neo4jHealthCheckResponse::default(),
        })
    }
}
