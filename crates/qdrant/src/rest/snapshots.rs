//! Snapshots: their list, and their files, which are streamed.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body as HttpBody,
    extract::{Path, Query, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use multer::Multipart;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{fs::File, io::AsyncWriteExt, sync::Semaphore};
use tokio_util::io::ReaderStream;

use super::reply::{Body, error, refuse, reply, reply_to_work};
use crate::{
    engine::{Engine, Work},
    service::{Failure, Service, check::refuse_present, no_full_snapshots},
    storage::SnapshotInfo,
};

/// Uploads at once: each fills the disk as fast as the network brings it.
const MAX_UPLOADS: usize = 2;
static UPLOADS: Semaphore = Semaphore::const_new(MAX_UPLOADS);

/// Largest upload, in bytes: 256 GiB, more than one process can serve well.
const MAX_UPLOAD: u64 = 256 << 30;

/// How long the next piece of an upload may take.
const IDLE: Duration = Duration::from_secs(30);

/// What is read from a file at once, in bytes.
const CHUNK: usize = 256 << 10;

fn description(info: SnapshotInfo) -> Value {
    json!({
        "name": info.name,
        // In UTC, which Qdrant does not write.
        "creation_time": info.created.format("%Y-%m-%dT%H:%M:%S").to_string(),
        "size": info.size,
        "checksum": info.checksum,
    })
}

pub(super) async fn list(State(engine): State<Engine>, Path(name): Path<String>) -> Response {
    reply(&engine, move |service| {
        let found = service.snapshots(&name)?;
        Ok(found.into_iter().map(description).collect::<Vec<_>>())
    })
    .await
}

pub(super) async fn create(State(engine): State<Engine>, Path(name): Path<String>) -> Response {
    reply_to_work(&engine, Work::Snapshots, move |service| {
        service.create_snapshot(&name).map(description)
    })
    .await
}

pub(super) async fn delete(
    State(engine): State<Engine>,
    Path((name, snapshot)): Path<(String, String)>,
) -> Response {
    reply(&engine, move |service| {
        service.delete_snapshot(&name, &snapshot)?;
        Ok(true)
    })
    .await
}

pub(super) async fn download(
    State(engine): State<Engine>,
    Path((name, snapshot)): Path<(String, String)>,
) -> Response {
    let start = Instant::now();
    let attachment = format!("attachment; filename=\"{}\"", snapshot.escape_default());
    let opened = engine.run(Work::Points, move |service| {
        service.open_snapshot(&name, &snapshot)
    });
    match opened.await {
        Ok((file, size)) => {
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (header::CONTENT_LENGTH, size.to_string()),
                (header::CONTENT_DISPOSITION, attachment),
            ];
            let stream = ReaderStream::with_capacity(File::from_std(file), CHUNK);
            (headers, HttpBody::from_stream(stream)).into_response()
        }
        Err(failure) => refuse(&failure, start),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecoverRequest {
    location: String,
    /// Which of several nodes is right: there is one.
    #[serde(rename = "priority")]
    _priority: Option<Priority>,
    checksum: Option<String>,
    api_key: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Priority {
    NoSync,
    Snapshot,
    Replica,
    ShardTransfer,
}

pub(super) async fn recover(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    reply_to_work(&engine, Work::Snapshots, move |service| {
        let request: RecoverRequest = body.parse()?;
        refuse_present(&[("api_key", request.api_key.is_some())])?;
        service.recover(&name, &request.location, request.checksum.as_deref())?;
        Ok(true)
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct UploadQuery {
    checksum: Option<String>,
}

pub(super) async fn upload(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Response {
    let start = Instant::now();
    let Ok(_turn) = UPLOADS.try_acquire() else {
        let text = "too many uploads at once, try again later";
        return refuse(&Failure::Busy(text.into()), start);
    };
    let staged = Arc::new(engine.look(Service::stage_upload));
    if let Err(failure) = receive(request, staged.path.clone()).await {
        return match failure {
            Receive::TooLarge => error(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the snapshot is larger than {MAX_UPLOAD} bytes, which is the limit"),
                start,
            ),
            Receive::Failed(failure) => refuse(&failure, start),
        };
    }
    reply_to_work(&engine, Work::Snapshots, move |service| {
        service.recover_upload(&name, &staged.path, query.checksum.as_deref())?;
        Ok(true)
    })
    .await
}

enum Receive {
    TooLarge,
    Failed(Failure),
}

impl From<Failure> for Receive {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Writes the field `snapshot` of a form to a file, as it comes.
async fn receive(request: Request, path: PathBuf) -> Result<(), Receive> {
    let wrong = |e: &dyn std::fmt::Display| Failure::Invalid(format!("snapshot: {e}"));
    let late = |_| Failure::invalid("snapshot: the upload stopped half-way");
    let kind = request.headers().get(header::CONTENT_TYPE);
    let boundary = kind
        .and_then(|kind| kind.to_str().ok())
        .and_then(|kind| multer::parse_boundary(kind).ok())
        .ok_or_else(|| Failure::invalid("content-type: expected multipart/form-data with a boundary"))?;
    let mut form = Multipart::new(request.into_body().into_data_stream(), boundary);
    loop {
        let field = tokio::time::timeout(IDLE, form.next_field())
            .await
            .map_err(late)?
            .map_err(|e| wrong(&e))?;
        let Some(mut field) = field else {
            return Err(Failure::invalid("snapshot: the form has no field of this name").into());
        };
        if field.name() != Some("snapshot") {
            continue;
        }
        let io = |e: io::Error| Failure::io("write", &path, &e);
        let mut file = File::create(&path).await.map_err(io)?;
        let mut size = 0;
        while let Some(chunk) = tokio::time::timeout(IDLE, field.chunk())
            .await
            .map_err(late)?
            .map_err(|e| wrong(&e))?
        {
            size += chunk.len() as u64;
            if size > MAX_UPLOAD {
                return Err(Receive::TooLarge);
            }
            file.write_all(&chunk).await.map_err(io)?;
        }
        file.flush().await.map_err(io)?;
        return Ok(());
    }
}

pub(super) async fn full() -> Response {
    refuse(&no_full_snapshots(), Instant::now())
}
