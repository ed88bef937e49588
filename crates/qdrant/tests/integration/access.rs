//! The API key, and what is open without it.

use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::server::{Server, Setup};

const KEY: &str = "a-key-for-tests";

#[tokio::test]
async fn everything_but_health_needs_the_key() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start_with(
        storage.path(),
        &Setup {
            api_key: Some(KEY),
            ..Setup::default()
        },
    );
    let http = reqwest::Client::new();

    for path in ["/", "/healthz", "/livez", "/readyz"] {
        assert_eq!(
            http.get(server.url(path)).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
    for path in ["/collections", "/metrics", "/nonsense"] {
        let answer = http.get(server.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert!(
            body["status"]["error"].as_str().unwrap().contains("API key"),
            "{body}"
        );
    }
    for (name, value) in [
        ("api-key", KEY.to_owned()),
        ("authorization", format!("Bearer {KEY}")),
    ] {
        let answer = http
            .get(server.url("/collections"))
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{name}");
    }
    for wrong in ["", "a-key-for-test", "a-key-for-tests-", "A-key-for-tests"] {
        let answer = http
            .get(server.url("/collections"))
            .header("api-key", wrong)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401, "{wrong}");
    }

    assert!(server.client(Some(KEY)).list_collections().await.is_ok());
    for wrong in [None, Some("wrong")] {
        let client = server.client(wrong);
        assert!(client.health_check().await.unwrap().version == isa_qdrant::VERSION);
        assert_eq!(
            code(client.list_collections().await.unwrap_err()),
            tonic::Code::Unauthenticated
        );
    }
    let channel = tonic::transport::Endpoint::new(format!("http://127.0.0.1:{}", server.grpc)).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let answer = health
        .check(HealthCheckRequest {
            service: String::new(),
        })
        .await
        .unwrap();
    assert_eq!(answer.into_inner().status, 1); // serving
}

#[tokio::test]
async fn metrics_count_answers_and_collections() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    let client = server.client(None);
    let vectors = qdrant_client::qdrant::VectorParamsBuilder::new(2, qdrant_client::qdrant::Distance::Dot);
    let create = qdrant_client::qdrant::CreateCollectionBuilder::new("m").vectors_config(vectors);
    client.create_collection(create).await.unwrap();
    reqwest::get(server.url("/collections/none")).await.unwrap();
    // None of these words may become a label: anybody could fill the memory with them.
    let http = reqwest::Client::new();
    for port in [server.rest, server.grpc] {
        for path in ["invented-path", "qdrant.Points/InventedMethod"] {
            let url = format!("http://127.0.0.1:{port}/{path}");
            let verb = reqwest::Method::from_bytes(b"INVENTED").unwrap();
            http.request(verb, &url).send().await.ok();
            let grpc = http.post(&url).header("content-type", "application/grpc");
            grpc.send().await.unwrap();
        }
    }
    let text = reqwest::get(server.url("/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for line in [
        format!(
            "app_info{{name=\"qdrant\",version=\"{}\"}} 1",
            isa_qdrant::VERSION
        ),
        "collections_total 1".into(),
        "rest_responses_total{method=\"GET\",endpoint=\"/collections/{name}\",status=\"404\"} 1".into(),
        "grpc_responses_total{endpoint=\"/qdrant.Collections/Create\",status=\"0\"} 1".into(),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(!text.to_lowercase().contains("invented"), "{text}");
}

/// A caller without the key makes no labels either.
#[tokio::test]
async fn metrics_do_not_grow_by_refusals() {
    let storage = tempfile::tempdir().unwrap();
    let setup = Setup {
        api_key: Some(KEY),
        ..Setup::default()
    };
    let server = Server::start_with(storage.path(), &setup);
    let http = reqwest::Client::new();
    let url = format!("http://127.0.0.1:{}/qdrant.Points/Invented", server.grpc);
    let refused = http.post(url).header("content-type", "application/grpc");
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.headers()["grpc-status"], "16");
    let metrics = http.get(server.url("/metrics")).header("api-key", KEY);
    let text = metrics.send().await.unwrap().text().await.unwrap();
    let line = "grpc_responses_total{endpoint=\"unauthenticated\",status=\"16\"} 1";
    assert!(text.lines().any(|found| found == line), "{text}");
    assert!(!text.contains("Invented"), "{text}");
}

pub(crate) fn code(error: qdrant_client::QdrantError) -> tonic::Code {
    match error {
        qdrant_client::QdrantError::ResponseError { status } => status.code(),
        other => panic!("not an answer: {other}"),
    }
}
