//! Endpoints as environment variables, under the names that each engine's own tools and client libraries read.

use isa_config::{Endpoint, EngineKind};
use url::Url;

/// The variables of one engine: `<ENGINE>_URL` with the credentials in it, and what its tools expect. None begins with
/// `ISA_`: those are `isa`'s own configuration.
pub(super) fn variables(kind: EngineKind, endpoint: &Endpoint) -> Vec<(String, String)> {
    let username = endpoint.username.clone().unwrap_or_default();
    let password = endpoint
        .password
        .as_ref()
        .map(|p| p.expose().to_owned())
        .unwrap_or_default();
    let full = with_credentials(kind, endpoint);
    let parsed = Url::parse(&endpoint.url).ok();
    let host = parsed
        .as_ref()
        .and_then(|u| u.host_str().map(str::to_owned))
        .unwrap_or_default();
    let port = parsed
        .as_ref()
        .and_then(Url::port)
        .map(|p| p.to_string())
        .unwrap_or_default();
    let url = |name: &str| endpoint.urls.get(name).cloned().unwrap_or_default();

    let mut all = vec![(format!("{}_URL", kind.name().to_uppercase()), full.clone())];
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            all.push((name.to_owned(), value.to_owned()));
        }
    };
    match kind {
        EngineKind::Consul => {
            add("CONSUL_HTTP_ADDR", &endpoint.url);
            add("CONSUL_HTTP_TOKEN", &password);
        }
        EngineKind::Redis => {
            add("REDISCLI_AUTH", &password);
        }
        EngineKind::Minio => {
            add("AWS_ENDPOINT_URL_S3", &endpoint.url);
            add("AWS_ACCESS_KEY_ID", &username);
            add("AWS_SECRET_ACCESS_KEY", &password);
            add("AWS_REGION", "us-east-1");
            add("MC_HOST_isa", &full);
        }
        EngineKind::Nats => {
            add("NATS_USER", &username);
            add("NATS_PASSWORD", &password);
        }
        EngineKind::Mosquitto => {
            add("MQTT_URL", &full);
            add("MQTT_WEBSOCKETS_URL", &url("websockets"));
        }
        EngineKind::Postgres => {
            let database = parsed
                .map(|u| u.path().trim_start_matches('/').to_owned())
                .unwrap_or_default();
            add("DATABASE_URL", &full);
            add("PGHOST", &host);
            add("PGPORT", &port);
            add("PGUSER", &username);
            add("PGPASSWORD", &password);
            add("PGDATABASE", &database);
        }
        EngineKind::Qdrant => {
            add("QDRANT_GRPC_URL", &url("grpc"));
            add("QDRANT_API_KEY", &password);
        }
        EngineKind::Neo4j => {
            add("NEO4J_URI", &endpoint.url);
            add("NEO4J_ADDRESS", &endpoint.url);
            add("NEO4J_USERNAME", &username);
            add("NEO4J_PASSWORD", &password);
        }
        EngineKind::Loki => {
            add("LOKI_ADDR", &endpoint.url);
            add("LOKI_ORG_ID", "isa");
        }
        EngineKind::Grafana => {
            add("GRAFANA_USER", &username);
            add("GRAFANA_PASSWORD", &password);
        }
        EngineKind::Duckdb => {}
    }
    all
}

/// The URL with user name and password, for clients that take nothing else. Qdrant's key is a header and stays out.
fn with_credentials(kind: EngineKind, endpoint: &Endpoint) -> String {
    let Some(mut url) = Url::parse(&endpoint.url)
        .ok()
        .filter(|_| kind != EngineKind::Qdrant)
    else {
        return endpoint.url.clone();
    };
    // A URL without a host takes no credentials; then it is left as it is.
    let username = endpoint
        .username
        .as_deref()
        .filter(|name| kind != EngineKind::Redis || *name != "default");
    let _ = url.set_username(username.unwrap_or_default());
    let _ = url.set_password(endpoint.password.as_ref().map(|p| p.expose()));
    url.to_string()
}

/// `export NAME='value'`, safe for `eval` in a POSIX shell whatever the value.
pub(super) fn export(name: &str, value: &str) -> String {
    format!("export {name}='{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use isa_config::Secret;

    use super::*;

    fn value_of(kind: EngineKind, endpoint: &Endpoint, name: &str) -> String {
        variables(kind, endpoint)
            .into_iter()
            .find(|(n, _)| n == name)
            .unwrap()
            .1
    }

    #[test]
    fn urls_carry_escaped_credentials() {
        let endpoint =
            Endpoint::new("postgres://127.0.0.1:5432/isa").with_credentials("isa", Secret::new("a/b@c"));
        assert_eq!(
            value_of(EngineKind::Postgres, &endpoint, "DATABASE_URL"),
            "postgres://isa:a%2Fb%40c@127.0.0.1:5432/isa"
        );
        assert_eq!(value_of(EngineKind::Postgres, &endpoint, "PGPASSWORD"), "a/b@c");
        let endpoint = Endpoint::new("redis://127.0.0.1:6379").with_credentials("default", Secret::new("pw"));
        assert_eq!(
            value_of(EngineKind::Redis, &endpoint, "REDIS_URL"),
            "redis://:pw@127.0.0.1:6379"
        );
    }

    #[test]
    fn export_survives_quotes() {
        assert_eq!(export("A", "it's"), r"export A='it'\''s'");
    }
}
