use qdrant_client::qdrant as pb;
use tonic::{Request, Response, Status};

use super::{Api, config, pb::collections_server::Collections, unsupported};

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
        self.call(
            |service| Ok(service.list()),
            |names, time| pb::ListCollectionsResponse {
                collections: names
                    .into_iter()
                    .map(|name| pb::CollectionDescription { name })
                    .collect(),
                time,
            },
        )
        .await
    }

    async fn collection_exists(
        &self,
        request: Request<pb::CollectionExistsRequest>,
    ) -> Result<Response<pb::CollectionExistsResponse>, Status> {
        let name = request.into_inner().collection_name;
        self.call(
            move |service| Ok(service.exists(&name)),
            |exists, time| pb::CollectionExistsResponse {
                result: Some(pb::CollectionExists { exists }),
                time,
            },
        )
        .await
    }

    async fn create(
        &self,
        request: Request<pb::CreateCollection>,
    ) -> Result<Response<pb::CollectionOperationResponse>, Status> {
        let request = request.into_inner();
        self.call(
            move |service| {
                let name = request.collection_name.clone();
                service.create(&name, config::create(request)?)
            },
            |(), time| pb::CollectionOperationResponse { result: true, time },
        )
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteCollection>,
    ) -> Result<Response<pb::CollectionOperationResponse>, Status> {
        let name = request.into_inner().collection_name;
        self.call(
            move |service| service.delete(&name),
            |result, time| pb::CollectionOperationResponse { result, time },
        )
        .await
    }

    async fn update(
        &self,
        _: Request<pb::UpdateCollection>,
    ) -> Result<Response<pb::CollectionOperationResponse>, Status> {
        unsupported("update")
    }

    async fn update_aliases(
        &self,
        _: Request<pb::ChangeAliases>,
    ) -> Result<Response<pb::CollectionOperationResponse>, Status> {
        unsupported("update_aliases")
    }

    async fn list_collection_aliases(
        &self,
        _: Request<pb::ListCollectionAliasesRequest>,
    ) -> Result<Response<pb::ListAliasesResponse>, Status> {
        unsupported("list_collection_aliases")
    }

    async fn list_aliases(
        &self,
        _: Request<pb::ListAliasesRequest>,
    ) -> Result<Response<pb::ListAliasesResponse>, Status> {
        unsupported("list_aliases")
    }

    async fn collection_cluster_info(
        &self,
        _: Request<pb::CollectionClusterInfoRequest>,
    ) -> Result<Response<pb::CollectionClusterInfoResponse>, Status> {
        unsupported("collection_cluster_info")
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
        _: Request<pb::ListShardKeysRequest>,
    ) -> Result<Response<pb::ListShardKeysResponse>, Status> {
        unsupported("list_shard_keys")
    }
}
