use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use isa_config::{Endpoint, ServiceKind};
use isa_proto::{Bytes, minio as pb, minio::min_io_service_client::MinIoServiceClient};
use isa_server::Tenant;
use isa_testkit::Isa;
use tonic::{Code, Status, transport::Channel};

use crate::harness::{Node, open};

/// A service over one engine, and that engine's own client.
pub(super) struct Bed {
    pub(super) node: Node,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) client: MinIoServiceClient<Channel>,
    pub(super) seaweedfs: bool,
}

/// A user whom no other test has, so a tenant of its own.
pub(super) fn user(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{name}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

impl Bed {
    pub(super) async fn minio() -> Self {
        Self::over(Node::start(ServiceKind::Minio).await, false).await
    }

    pub(super) async fn seaweedfs() -> Self {
        let isa = tokio::task::spawn_blocking(|| {
            let mut isa = Isa::built();
            isa.env("ISA_ENGINES__MINIO__IMPLEMENTATION", "seaweedfs");
            isa.env("ISA_SERVICES", "[]");
            isa.ok(&["up", "--free-ports", "--detach", "--only", "minio"]);
            isa
        });
        let isa = isa.await.expect("SeaweedFS");
        let node = Node::over(ServiceKind::Minio, &open(), &isa.endpoints(), Arc::new(isa)).await;
        Self::over(node, true).await
    }

    pub(super) async fn over(node: Node, seaweedfs: bool) -> Self {
        let client = MinIoServiceClient::new(node.channel().await).max_decoding_message_size(64 << 20);
        Self {
            s3: s3(&node.engine),
            node,
            client,
            seaweedfs,
        }
    }

    /// The engine's name of a user's bucket.
    pub(super) fn engine_name(&self, user: &str, bucket: &str) -> String {
        format!("{}-{bucket}", Tenant::user(user).slug())
    }

    pub(super) async fn create(&self, user: &str, bucket: &str) {
        let request = pb::CreateBucketRequest {
            bucket_name: bucket.into(),
            user_id: user.into(),
            ..Default::default()
        };
        self.client
            .clone()
            .create_bucket(request)
            .await
            .expect("a bucket");
    }

    pub(super) async fn put(
        &self,
        user: &str,
        bucket: &str,
        key: &str,
        data: &[u8],
    ) -> pb::PutObjectResponse {
        let about = pb::PutObjectMetadata {
            bucket_name: bucket.into(),
            object_key: key.into(),
            user_id: user.into(),
            content_length: data.len() as i64,
            ..Default::default()
        };
        self.put_as(about, data.chunks(64 << 10).map(Bytes::copy_from_slice).collect())
            .await
            .expect("an object")
    }

    pub(super) async fn put_as(
        &self,
        about: pb::PutObjectMetadata,
        chunks: Vec<Bytes>,
    ) -> Result<pb::PutObjectResponse, Status> {
        use pb::put_object_request::Data;
        let messages = std::iter::once(Data::Metadata(about)).chain(chunks.into_iter().map(Data::Chunk));
        let messages: Vec<_> = messages
            .map(|data| pb::PutObjectRequest { data: Some(data) })
            .collect();
        let response = self
            .client
            .clone()
            .put_object(futures::stream::iter(messages))
            .await?;
        Ok(response.into_inner())
    }

    /// The metadata and the bytes.
    pub(super) async fn get(
        &self,
        request: pb::GetObjectRequest,
    ) -> Result<(pb::ObjectInfo, Vec<u8>), Status> {
        use pb::get_object_response::Data;
        let mut replies = self.client.clone().get_object(request).await?.into_inner();
        let Some(Data::Metadata(info)) = replies.message().await?.and_then(|first| first.data) else {
            panic!("the first message is no metadata");
        };
        let mut bytes = Vec::new();
        while let Some(reply) = replies.message().await? {
            match reply.data {
                Some(Data::Chunk(chunk)) => {
                    assert!(
                        (1..=256 << 10).contains(&chunk.len()),
                        "a chunk of {} bytes",
                        chunk.len()
                    );
                    bytes.extend_from_slice(&chunk);
                }
                other => panic!("not a chunk: {other:?}"),
            }
        }
        Ok((info, bytes))
    }

    pub(super) async fn read(&self, user: &str, bucket: &str, key: &str) -> Result<Vec<u8>, Status> {
        let request = pb::GetObjectRequest {
            bucket_name: bucket.into(),
            object_key: key.into(),
            user_id: user.into(),
            ..Default::default()
        };
        Ok(self.get(request).await?.1)
    }
}

pub(crate) fn s3(engine: &Endpoint) -> aws_sdk_s3::Client {
    let key = engine.username.as_deref().unwrap_or_default();
    let secret = engine.password.as_ref().map_or("", |secret| secret.expose());
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(&engine.url)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(key, secret, None, None, "test"))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// The code that a call failed with.
pub(super) fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.expect_err("a failure").code()
}

/// Looks until `look` gives true, for `limit` at most.
pub(super) async fn until<F: Future<Output = bool>>(condition: &str, limit: Duration, look: impl Fn() -> F) {
    let end = Instant::now() + limit;
    while !look().await {
        assert!(Instant::now() < end, "not within {limit:?}: {condition}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Bytes that repeat nowhere nearby.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
