use std::sync::Arc;

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation},
    primitives::ByteStream,
};
use futures::stream;
use isa_config::ServiceKind;
use isa_proto::{
    Bytes,
    minio::{
        CreateBucketRequest, GetObjectRequest, ListBucketsRequest, PutObjectMetadata, PutObjectRequest,
        get_object_response, min_io_service_client::MinIoServiceClient, put_object_request::Data,
    },
};

use super::Case;
use crate::{
    measure::operation,
    platform::{Authorized, Platform},
};

const KIND: ServiceKind = ServiceKind::Minio;

/// Callers of streams at once, at most.
const STREAMS: usize = 8;

/// Of an object, and of a chunk of it.
const OBJECT: usize = 16 << 20;
const CHUNK: usize = 256 << 10;

pub(crate) async fn cases(platform: &Platform) -> anyhow::Result<Vec<Case>> {
    let native = s3(platform)?;
    let channels = Arc::new(platform.channels(KIND).await?);
    native.create_bucket().bucket("bench-native").send().await?;
    let request = CreateBucketRequest {
        bucket_name: "bench".into(),
        ..Default::default()
    };
    MinIoServiceClient::new(channels.of(0))
        .create_bucket(request)
        .await?;
    let data = Bytes::from(vec![7_u8; OBJECT]);

    let client = native.clone();
    let native_list = operation(move |_| {
        let client = client.clone();
        async move {
            client.list_buckets().send().await?;
            Ok(0)
        }
    });
    let list_channels = Arc::clone(&channels);
    let service_list = operation(move |caller| {
        let mut client = MinIoServiceClient::new(list_channels.of(caller));
        async move {
            client.list_buckets(ListBucketsRequest::default()).await?;
            Ok(0)
        }
    });

    let (client, object) = (native.clone(), data.clone());
    let native_put = operation(move |caller| {
        let (client, object) = (client.clone(), object.clone());
        async move {
            let key = format!("object-{caller}");
            let put = client.put_object().bucket("bench-native").key(key);
            put.body(ByteStream::from(object)).send().await?;
            Ok(OBJECT as u64)
        }
    });
    let put_channels = Arc::clone(&channels);
    let service_put = operation(move |caller| put(put_channels.of(caller), caller, data.clone()));
    // For the readers.
    for caller in 0..STREAMS {
        native_put(caller).await?;
        service_put(caller).await?;
    }

    let native_get = operation(move |caller| {
        let client = native.clone();
        async move {
            let key = format!("object-{caller}");
            let object = client.get_object().bucket("bench-native").key(key).send().await?;
            let (mut body, mut bytes) = (object.body, 0);
            while let Some(chunk) = body.try_next().await? {
                bytes += chunk.len() as u64;
            }
            Ok(bytes)
        }
    });
    let service_get = operation(move |caller| {
        let mut client = large(channels.of(caller));
        async move {
            let request = GetObjectRequest {
                bucket_name: "bench".into(),
                object_key: format!("object-{caller}"),
                ..Default::default()
            };
            let mut messages = client.get_object(request).await?.into_inner();
            let mut bytes = 0;
            while let Some(message) = messages.message().await? {
                if let Some(get_object_response::Data::Chunk(chunk)) = message.data {
                    bytes += chunk.len() as u64;
                }
            }
            Ok(bytes)
        }
    });
    Ok(vec![
        Case::new(KIND, "ListBuckets", Some(90.0), native_list, service_list),
        Case::new(KIND, "PutObject, 16 MiB", None, native_put, service_put).at_most(STREAMS),
        Case::new(KIND, "GetObject, 16 MiB", None, native_get, service_get).at_most(STREAMS),
    ])
}

fn large(channel: Authorized) -> MinIoServiceClient<Authorized> {
    MinIoServiceClient::new(channel).max_decoding_message_size(2 * OBJECT)
}

async fn put(channel: Authorized, caller: usize, data: Bytes) -> anyhow::Result<u64> {
    let metadata = PutObjectMetadata {
        bucket_name: "bench".into(),
        object_key: format!("object-{caller}"),
        content_length: i64::try_from(OBJECT)?,
        ..Default::default()
    };
    let chunks = (0..OBJECT)
        .step_by(CHUNK)
        .map(move |at| Data::Chunk(data.slice(at..at + CHUNK)));
    let messages = std::iter::once(Data::Metadata(metadata)).chain(chunks);
    let messages = messages.map(|data| PutObjectRequest { data: Some(data) });
    let answer = large(channel).put_object(stream::iter(messages)).await?;
    Ok(u64::try_from(answer.into_inner().size)?)
}

fn s3(platform: &Platform) -> anyhow::Result<Client> {
    let endpoint = platform.endpoint(KIND)?;
    let key = endpoint.username.as_deref().unwrap_or_default();
    let secret = endpoint
        .password
        .as_ref()
        .map_or("", |password| password.expose());
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(&endpoint.url)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(key, secret, None, None, "endpoint"))
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    Ok(Client::from_conf(config.build()))
}
