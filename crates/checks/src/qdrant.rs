use isa_config::{Endpoint, EngineKind};
use qdrant_client::{
    Payload, Qdrant, QdrantError,
    config::QdrantConfig,
    qdrant::{
        CreateCollectionBuilder, Distance, PointStruct, SearchPointsBuilder, UpsertPointsBuilder,
        VectorParamsBuilder, point_id::PointIdOptions,
    },
};
use std::time::Duration;

use crate::{
    Error, Probe,
    address::Address,
    error::shorten,
    http::{self, Http},
    run::{Run, Stop, unique_name},
};

/// gRPC's numbers for "the credentials do not suffice" and "they are missing or wrong".
const REFUSALS: [i32; 2] = [7, 16];

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    let (_, version) = connect(endpoint).await?;
    rest(endpoint).await?;
    Ok(Probe {
        version: Some(version),
    })
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    run.step("REST list collections", rest(endpoint)).await?;
    let (client, _) = &run.step("gRPC health", connect(endpoint)).await?;
    let name = unique_name();
    let made = async {
        run.step("collection created", create(client, &name)).await?;
        run.step("points upserted", upsert(client, &name)).await?;
        run.step("nearest point found", search(client, &name)).await
    }
    .await;
    let delete = async {
        client
            .delete_collection(&name)
            .await
            .map(drop)
            .map_err(|e| failed("delete the collection", e))
    };
    let removed = run.remove("collection deleted", &name, delete).await;
    made.and(removed)
}

/// Connects by gRPC and asks for the version.
async fn connect(endpoint: &Endpoint) -> Result<(Qdrant, String), Error> {
    let what = "gRPC health check";
    let address = Address::grpc(endpoint)?;
    let mut config = QdrantConfig::from_url(address.url.as_str())
        // It would block this thread with a request, and print.
        .skip_compatibility_check()
        // The check's own limit ends requests.
        .timeout(Duration::from_secs(3600))
        .connect_timeout(Duration::from_secs(3600))
        .api_key(endpoint.password.as_ref().map(|p| p.expose().to_owned()));
    config.set_pool_size(1);
    let client = Qdrant::new(config).map_err(|e| failed(what, e))?;
    let health = client.health_check().await.map_err(|e| failed(what, e))?;
    Ok((client, shorten(&health.version)))
}

/// Any request that wants the API key; health does not.
async fn rest(endpoint: &Endpoint) -> Result<(), Error> {
    let mut http = Http::new(EngineKind::Qdrant, endpoint)?;
    if let Some(key) = &endpoint.password {
        http.secret_header("api-key", key.expose())?;
    }
    let what = "list collections";
    let answer: serde_json::Value = http::json(what, http.get("/collections")).await?;
    match answer["result"]["collections"].as_array() {
        Some(_) => Ok(()),
        None => Err(Error::wrong(what, "result.collections", answer)),
    }
}

async fn create(client: &Qdrant, name: &str) -> Result<(), Error> {
    let vectors = VectorParamsBuilder::new(4, Distance::Cosine);
    let request = CreateCollectionBuilder::new(name).vectors_config(vectors);
    client
        .create_collection(request)
        .await
        .map(drop)
        .map_err(|e| failed("create a collection", e))
}

async fn upsert(client: &Qdrant, name: &str) -> Result<(), Error> {
    let vectors = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    let points: Vec<_> = (1_u64..)
        .zip(vectors)
        .map(|(id, v)| PointStruct::new(id, v.to_vec(), Payload::new()))
        .collect();
    let request = UpsertPointsBuilder::new(name, points).wait(true);
    client
        .upsert_points(request)
        .await
        .map(drop)
        .map_err(|e| failed("upsert points", e))
}

async fn search(client: &Qdrant, name: &str) -> Result<(), Error> {
    let what = "search";
    let request = SearchPointsBuilder::new(name, vec![0.1, 0.9, 0.0, 0.0], 1);
    let found = client.search_points(request).await.map_err(|e| failed(what, e))?;
    let nearest = found
        .result
        .first()
        .and_then(|p| p.id.as_ref())
        .and_then(|id| id.point_id_options.as_ref());
    match nearest {
        Some(PointIdOptions::Num(2)) => Ok(()),
        other => Err(Error::wrong(what, "point 2", format!("{other:?}"))),
    }
}

fn failed(what: &'static str, error: QdrantError) -> Error {
    match error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
            let code = status.code();
            if REFUSALS.contains(&i32::from(code)) {
                return Error::unauthorized(what, status.message());
            }
            // The status itself holds the headers of the answer.
            Error::protocol(what, format!("{code}: {}", status.message()))
        }
        other => Error::protocol(what, other),
    }
}
