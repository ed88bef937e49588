use std::{collections::BTreeMap, time::Duration};

use reqwest::StatusCode;
use serde::Deserialize;

use super::{Error, Qdrant};

/// The nodes. Without a cluster there is one, which has no id.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Cluster {
    pub(crate) is_enabled: bool,
    pub(crate) peers: Vec<Peer>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Peer {
    pub(crate) id: String,
    pub(crate) state: String,
}

/// What Qdrant says, as far as it is anybody's business: addresses are not.
#[derive(Deserialize)]
struct Answer {
    result: Status,
}

#[derive(Deserialize)]
struct Status {
    status: String,
    #[serde(default)]
    peer_id: u64,
    #[serde(default)]
    peers: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default)]
    raft_info: Raft,
    #[serde(default)]
    message_send_failures: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Raft {
    role: Option<String>,
}

impl Qdrant {
    /// Asked by REST: Qdrant's gRPC does not tell.
    pub(crate) async fn cluster(&self, bound: Duration) -> Result<Cluster, Error> {
        let sent = self.link.get("/cluster", bound).send().await;
        let response = sent.map_err(lost)?;
        match response.status() {
            StatusCode::OK => {}
            // An engine that knows no clusters is one node.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                return Ok(Cluster::default());
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Error::Down("the engine refuses our API key".into()));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => {
                return Err(Error::Down(response.status().to_string().into()));
            }
            other => {
                return Err(Error::unexpected(format!(
                    "the engine answers /cluster with {other}"
                )));
            }
        }
        let answer: Answer = response.json().await.map_err(lost)?;
        Ok(cluster(answer.result))
    }
}

fn lost(error: reqwest::Error) -> Error {
    if error.is_timeout() {
        Error::TimedOut
    } else if error.is_decode() {
        Error::unexpected(format!("the engine's answer to /cluster: {error}"))
    } else {
        Error::Down(error.to_string().into())
    }
}

fn cluster(status: Status) -> Cluster {
    let own = status.peer_id.to_string();
    let role = status.raft_info.role.unwrap_or_default().to_lowercase();
    let failures = status.message_send_failures;
    // Failures are kept by address or by id, with the release.
    let state = |id: &String| {
        if *id == own && !role.is_empty() {
            role.clone()
        } else if failures.contains_key(id) {
            "unreachable".to_owned()
        } else {
            "active".to_owned()
        }
    };
    Cluster {
        is_enabled: status.status == "enabled",
        peers: status
            .peers
            .keys()
            .map(|id| Peer {
                id: id.clone(),
                state: state(id),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_read_without_addresses() {
        let text = r#"{"result": {"status": "enabled", "peer_id": 7, "peers": {"7": {"uri": "http://a:6335/"},
            "8": {"uri": "http://b:6335/"}, "9": {"uri": "http://c:6335/"}}, "raft_info": {"term": 3, "role": "Leader"},
            "message_send_failures": {"9": {"count": 2}}}, "status": "ok", "time": 0.1}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        let found = cluster(answer.result);
        let states: Vec<_> = found
            .peers
            .iter()
            .map(|peer| (peer.id.as_str(), peer.state.as_str()))
            .collect();
        assert_eq!(states, [("7", "leader"), ("8", "active"), ("9", "unreachable")]);
        let alone: Answer =
            serde_json::from_str(r#"{"result": {"status": "disabled"}, "time": 0.1}"#).unwrap();
        assert_eq!(cluster(alone.result), Cluster::default());
    }
}
