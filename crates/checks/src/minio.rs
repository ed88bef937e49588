use std::sync::LazyLock;

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        SharedHttpClient, retry::RetryConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use isa_config::{Endpoint, EngineKind};

use crate::{
    Error, Probe,
    address::Address,
    run::{Run, Stop, unique_name},
};

/// What S3 says when the credentials are wrong, missing or do not suffice.
const REFUSALS: [&str; 4] = [
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidAccessKey",
];

/// Size of the object that is written and read back, in bytes: more than one read of a socket.
const OBJECT_SIZE: usize = 100_000;

// Kept from probe to probe with their connections; loading the certificates is the expensive part.
static PLAIN: LazyLock<SharedHttpClient> =
    LazyLock::new(|| Builder::new().pool_max_idle_per_host(1).build_http());
static TLS: LazyLock<SharedHttpClient> = LazyLock::new(|| {
    Builder::new()
        .pool_max_idle_per_host(1)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
});

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    list_buckets(endpoint).await?;
    Ok(Probe { version: None })
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    let client = &run.step("list buckets", list_buckets(endpoint)).await?;
    let bucket = unique_name();
    let made = async {
        let create = client.create_bucket().bucket(&bucket).send();
        run.step("bucket created", async {
            create.await.map(drop).map_err(|e| failed("create a bucket", e))
        })
        .await?;
        run.step("object put and get", put_and_get(client, &bucket)).await
    }
    .await;
    let removed = run
        .remove("object and bucket deleted", &bucket, remove(client, &bucket))
        .await;
    made.and(removed)
}

fn connect(endpoint: &Endpoint) -> Result<Client, Error> {
    let address = Address::main(EngineKind::Minio, endpoint)?;
    let http = if address.url.scheme() == "https" {
        &*TLS
    } else {
        &*PLAIN
    };
    let key = endpoint.username.as_deref().unwrap_or_default();
    let secret = endpoint.password.as_ref().map_or("", |p| p.expose());
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http.clone())
        .endpoint_url(address.url.as_str())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(key, secret, None, None, "endpoint"))
        .force_path_style(true)
        // Not every S3 knows the checksums that AWS added in 2024.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // A check that tries again hides what it is to find.
        .retry_config(RetryConfig::disabled());
    Ok(Client::from_conf(config.build()))
}

async fn list_buckets(endpoint: &Endpoint) -> Result<Client, Error> {
    let client = connect(endpoint)?;
    client
        .list_buckets()
        .send()
        .await
        .map_err(|e| failed("list buckets", e))?;
    Ok(client)
}

async fn put_and_get(client: &Client, bucket: &str) -> Result<(), Error> {
    let bytes: Vec<u8> = (0..OBJECT_SIZE).map(|i| (i * i % 251) as u8).collect();
    let put = client
        .put_object()
        .bucket(bucket)
        .key("object")
        .body(ByteStream::from(bytes.clone()));
    put.send().await.map_err(|e| failed("put an object", e))?;
    let get = client.get_object().bucket(bucket).key("object").send();
    let mut body = get.await.map_err(|e| failed("get the object", e))?.body;
    let mut read = Vec::new();
    while let Some(chunk) = body
        .try_next()
        .await
        .map_err(|e| Error::protocol("get the object", e))?
    {
        read.extend_from_slice(&chunk);
        if read.len() > OBJECT_SIZE {
            break;
        }
    }
    if read != bytes {
        let got = format!("{} bytes that are not the same", read.len());
        return Err(Error::wrong(
            "get the object",
            format!("the {OBJECT_SIZE} bytes that were put"),
            got,
        ));
    }
    Ok(())
}

async fn remove(client: &Client, bucket: &str) -> Result<(), Error> {
    let gone = |error: Error| match error {
        Error::Wrong { ref got, .. } if got.starts_with("NoSuch") => Ok(()),
        other => Err(other),
    };
    let object = client.delete_object().bucket(bucket).key("object").send().await;
    object
        .map(drop)
        .map_err(|e| failed("delete the object", e))
        .or_else(gone)?;
    let deleted = client.delete_bucket().bucket(bucket).send().await;
    deleted
        .map(drop)
        .map_err(|e| failed("delete the bucket", e))
        .or_else(gone)
}

fn failed<E>(what: &'static str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Some(answer) = error.as_service_error() else {
        // The error holds the whole request and answer; its causes say enough.
        return Error::protocol(what, causes(&error));
    };
    let code = answer.code().unwrap_or("no code");
    let status = error.raw_response().map_or(0, |r| r.status().as_u16());
    let text = format!(
        "{code}: {} (HTTP {status})",
        answer.message().unwrap_or("no message")
    );
    if REFUSALS.contains(&code) || matches!(status, 401 | 403) {
        return Error::unauthorized(what, text);
    }
    Error::wrong(what, "success", text)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
