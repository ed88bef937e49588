use qdrant_client::qdrant as pb;
use tonic::{Request, Response, Status};

use super::{Api, change, config, pb::collections_server::Collections, unsupported};
use crate::{PEER_ID, engine::Work, storage::AliasMap};

fn aliases(aliases: AliasMap, time: f64) -> pb::ListAliasesResponse {
    let description = |(alias_name, collection_name)| pb::AliasDescription {
        alias_name,
        collection_name,
    };
    pb::ListAliasesResponse {
        aliases: aliases.into_iter().map(description).collect(),
        time,
    }
}

fn done((): (), time: f64) -> pb::CollectionOperationResponse {
    pb::CollectionOperationResponse { result: true, time }
}

#[tonic::async_trait]
impl Collections for Api {
    async fn get(
        &self,
        request: Request<pb::GetCollectionInfoRequest>,
    ) -> Result<Response<pb::GetCollectionInfoResponse>, Status> {
        let name = request.into_inner().collection_name;
        self.call(
            move |service| service.info(&name).map(config::info_out),
            |info, time| pb::GetCollectionInfoResponse {
                result: Some(info),
                time,
            },
        )
        .await
    }

    async fn list(
        &self,
        _: Request<pb::ListCollectionsRequest>,
    ) -> Result<Response<pb::ListCollectionsResponse>, Status> {
        self.look(
            |service| Ok(service.list()),
            |names, time| pb::ListCollectionsResponse {
                collections: names
                    .into_iter()
                    .map(|name| pb::CollectionDescription { name })
                    .collect(),
                time,
            },
        )
    }

    async fn collection_exists(
        &self,
        request: Request<pb::CollectionExistsRequest>,
    ) -> Result<Response<pb::CollectionExistsResponse>, Status> {
        let name = request.into_inner().collection_name;
        self.look(
            move |service| Ok(service.exists(&name)),
            |exists, time| pb::CollectionExistsResponse {
                result: Some(pb::CollectionExists { exists }),
                time,
            },
        )
    }

    async fn create(
        &self,
        request: Request<pb::CreateCollection>,
    ) -> Result<Response<pb::CollectionOperationResponse>, Status> {
        let request = request.into_inner();
        self.work(
            Work::Collections,
            move |service| {
                let name = request.collection_name.clone();
                service.create(&name, config::create(request)?)
            },
            done,
        )
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteCollection>,
    ) -> Result<Response<pb::CollectionOperationResponse>, Status> {
        let name = request.into_inner().collection_name;
        let answer = self.work(
            Work::Collections,
            move |service| service.delete(&name),
            |result, time| pb::CollectionOperationResponse { result, time },
        );
        let answer = answer.await;
        self.engine.written();
        answer
    }

    async fn update(
        &self,
        request: Request<pb::UpdateCollection>,
    ) -> Result<Response<pb::CollectionOperationResponse>, Status> {
        let request = request.into_inner();
        let answer = self.work(
            Work::Collections,
            move |service| {
                let name = request.collection_name.clone();
                service.update_collection(&name, change::update(request)?)
            },
            done,
        );
        let answer = answer.await;
        self.engine.written();
        answer
    }

    async fn update_aliases(
        &self,
        request: Request<pb::ChangeAliases>,
    ) -> Result<Response<pb::CollectionOperationResponse>, Status> {
        let actions = request.into_inner().actions;
        self.work(
            Work::Collections,
            move |service| service.change_aliases(change::aliases(actions)?),
            done,
        )
        .await
    }

    async fn list_collection_aliases(
        &self,
        request: Request<pb::ListCollectionAliasesRequest>,
    ) -> Result<Response<pb::ListAliasesResponse>, Status> {
        let name = request.into_inner().collection_name;
        self.look(move |service| service.aliases(Some(&name)), aliases)
    }

    async fn list_aliases(
        &self,
        _: Request<pb::ListAliasesRequest>,
    ) -> Result<Response<pb::ListAliasesResponse>, Status> {
        self.look(|service| service.aliases(None), aliases)
    }

    async fn collection_cluster_info(
        &self,
        request: Request<pb::CollectionClusterInfoRequest>,
    ) -> Result<Response<pb::CollectionClusterInfoResponse>, Status> {
        let name = request.into_inner().collection_name;
        // A collection is one shard, on the one node there is.
        self.call(
            move |service| service.info(&name),
            |info, _| pb::CollectionClusterInfoResponse {
                peer_id: PEER_ID,
                shard_count: 1,
                local_shards: vec![pb::LocalShardInfo {
                    shard_id: 0,
                    points_count: info.shard.points_count as u64,
                    state: pb::ReplicaState::Active.into(),
                    shard_key: None,
                }],
                ..Default::default()
            },
        )
        .await
    }

    async fn update_collection_cluster_setup(
        &self,
        _: Request<pb::UpdateCollectionClusterSetupRequest>,
    ) -> Result<Response<pb::UpdateCollectionClusterSetupResponse>, Status> {
        unsupported("update_collection_cluster_setup")
    }

    async fn create_shard_key(
        &self,
        _: Request<pb::CreateShardKeyRequest>,
    ) -> Result<Response<pb::CreateShardKeyResponse>, Status> {
        unsupported("create_shard_key")
    }

    async fn delete_shard_key(
        &self,
        _: Request<pb::DeleteShardKeyRequest>,
    ) -> Result<Response<pb::DeleteShardKeyResponse>, Status> {
        unsupported("delete_shard_key")
    }

    async fn list_shard_keys(
        &self,
        request: Request<pb::ListShardKeysRequest>,
    ) -> Result<Response<pb::ListShardKeysResponse>, Status> {
        let name = request.into_inner().collection_name;
        self.look(
            move |service| service.storage().get(&name).map(drop),
            |(), time| pb::ListShardKeysResponse {
                shard_keys: Vec::new(),
                time,
            },
        )
    }
}
