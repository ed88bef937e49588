//! Ports of pods on this machine, through the API server: each connection is a stream of its own.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use futures::{FutureExt, future::FusedFuture};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{Cluster, Error};

/// Connections of one port at once. A check needs a handful.
const MOST: usize = 64;
/// How long a stream may take to come about.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// How long it may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A port of a pod, reachable on loopback for as long as this is held.
pub struct Forward {
    /// The port on 127.0.0.1.
    pub port: u16,
    _task: AbortOnDropHandle<()>,
}

impl Forward {
    /// Listens at once; whether the pod answers shows with the first connection.
    pub async fn open(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(Error::Listen)?;
        let local = listener.local_addr().map_err(Error::Listen)?.port();
        let pods: Api<Pod> = cluster.api(namespace);
        let task = tokio::spawn(serve(listener, pods, pod.to_owned(), port));
        Ok(Self {
            port: local,
            _task: AbortOnDropHandle::new(task),
        })
    }
}

async fn serve(listener: TcpListener, pods: Api<Pod>, pod: String, port: u16) {
    let slots = Arc::new(Semaphore::new(MOST));
    // Ends with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let (pods, pod) = (pods.clone(), pod.clone());
                    connections.spawn(async move {
                        if let Err(why) = carry(socket, &pods, &pod, port).await {
                            tracing::debug!(pod, port, why, "a forwarded connection ended");
                        }
                        drop(slot);
                    });
                }
                // Out of file descriptors, say: the next one may go well.
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection to forward");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            // Reaps what has ended.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection. When the pod cannot be reached, the client sees its connection closed.
async fn carry(mut socket: TcpStream, pods: &Api<Pod>, pod: &str, port: u16) -> Result<(), String> {
    // Small requests and their answers must not wait for each other.
    let _ = socket.set_nodelay(true);
    let opened = timeout(OPEN_LIMIT, pods.portforward(pod, &[port])).await;
    let mut forwarder = opened
        .map_err(|_| "it did not open in time")?
        .map_err(|e| e.to_string())?;
    let mut stream = forwarder.take_stream(port).ok_or("it has no stream")?;
    // Ends with a message when nothing listens on the port, without one when the stream is closed.
    let ended = forwarder
        .take_error(port)
        .ok_or("it has no channel for errors")?
        .fuse();
    let mut ended = std::pin::pin!(ended);
    let outcome = tokio::select! {
        copied = copy_bidirectional(&mut socket, &mut stream) => copied.map(drop).map_err(|e| e.to_string()),
        Some(why) = &mut ended => Err(why),
    };
    // What the client said last is sent before the stream is closed.
    let close = async {
        let _ = stream.shutdown().await;
        drop(stream);
        if !ended.is_terminated() {
            ended.await;
        }
    };
    let _ = timeout(CLOSE_LIMIT, close).await;
    forwarder.abort();
    outcome
}
