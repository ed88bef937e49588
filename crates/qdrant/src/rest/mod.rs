//! Qdrant's REST API.

mod aliases;
mod change;
mod collections;
mod formula;
mod groups;
mod input;
mod matrix;
mod node;
mod output;
mod params;
mod points;
mod query;
mod recommend;
mod reply;
mod search;
mod snapshots;

use std::time::Instant;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, StatusCode, Uri},
    response::Response,
    routing::{any, delete, get, post, put},
};
use serde_json::{Value, json};

pub(crate) use self::reply::error;
use crate::{VERSION, engine::Engine};

pub(crate) fn router(engine: Engine, max_body_bytes: usize) -> Router {
    node::start();
    let collection = Router::new()
        .route(
            "/",
            get(collections::info)
                .put(collections::create)
                .patch(change::update)
                .delete(collections::delete)
                // To `/collections/aliases`; there may be a collection of that name as well.
                .post(aliases::change),
        )
        .route("/aliases", get(aliases::of_collection))
        .route("/cluster", get(node::collection_cluster).post(unsupported))
        .route("/shards", get(node::shard_keys).put(unsupported))
        .route("/snapshots", get(snapshots::list).post(snapshots::create))
        .route("/snapshots/recover", put(snapshots::recover))
        .route("/snapshots/upload", post(snapshots::upload))
        .route(
            "/snapshots/{snapshot}",
            get(snapshots::download).delete(snapshots::delete),
        )
        .route("/exists", get(collections::exists))
        .route("/index", put(collections::create_index))
        .route("/index/{field}", delete(collections::delete_index))
        .route("/points", put(points::upsert).post(points::retrieve))
        .route("/points/{id}", get(points::get))
        .route("/points/delete", post(points::delete))
        .route("/points/vectors", put(points::update_vectors))
        .route("/points/vectors/delete", post(points::delete_vectors))
        .route(
            "/points/payload",
            post(points::set_payload).put(points::overwrite_payload),
        )
        .route("/points/payload/delete", post(points::delete_payload))
        .route("/points/payload/clear", post(points::clear_payload))
        .route("/points/batch", post(points::batch))
        .route("/points/scroll", post(points::scroll))
        .route("/points/count", post(points::count))
        .route("/points/search", post(search::search))
        .route("/points/search/batch", post(search::search_batch))
        .route("/points/query", post(search::query))
        .route("/points/query/batch", post(search::query_batch))
        .route("/points/query/groups", post(groups::query))
        .route("/points/search/groups", post(groups::search))
        .route("/points/recommend", post(recommend::recommend))
        .route("/points/recommend/batch", post(recommend::recommend_batch))
        .route("/points/recommend/groups", post(groups::recommend))
        .route("/points/discover", post(recommend::discover))
        .route("/points/discover/batch", post(recommend::discover_batch))
        .route("/points/search/matrix/pairs", post(matrix::pairs))
        .route("/points/search/matrix/offsets", post(matrix::offsets))
        .route("/facet", post(points::facet));
    // The rest of Qdrant's API, so that it is told apart from what does not exist.
    let collection = ["/optimizations", "/shards", "/shards/{*rest}", "/vectors/{*rest}"]
        .into_iter()
        .fold(collection, |router, path| router.route(path, any(unsupported)));
    let router = Router::new()
        .route("/", get(version))
        .route("/collections", get(collections::list))
        .route("/aliases", get(aliases::all))
        .route("/cluster", get(node::cluster))
        .route("/telemetry", get(node::telemetry))
        .route("/issues", get(node::issues).delete(node::clear_issues))
        .route("/snapshots", any(snapshots::full))
        .route("/snapshots/{*rest}", any(snapshots::full))
        .nest("/collections/{name}", collection);
    ["/cluster/{*rest}", "/locks", "/quotas"]
        .into_iter()
        .fold(router, |router, path| router.route(path, any(unsupported)))
        .method_not_allowed_fallback(wrong_method)
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .with_state(engine)
}

/// Probes that the kubelet and load balancers send; open to all.
pub(crate) fn health() -> Router {
    let probe = |name: &'static str| get(move || async move { format!("{name} check passed\n") });
    Router::new()
        .route("/healthz", probe("healthz"))
        .route("/livez", probe("livez"))
        .route("/readyz", probe("readyz"))
}

async fn version() -> axum::Json<Value> {
    axum::Json(json!({ "title": "qdrant - vector search engine", "version": VERSION }))
}

async fn unsupported(method: Method, uri: Uri) -> Response {
    let text = format!(
        "Not supported by the built-in vector engine: {method} {}",
        uri.path()
    );
    error(StatusCode::NOT_IMPLEMENTED, text, Instant::now())
}

async fn not_found(method: Method, uri: Uri) -> Response {
    error(
        StatusCode::NOT_FOUND,
        format!("Not found: {method} {}", uri.path()),
        Instant::now(),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not a method of {}", uri.path()),
        Instant::now(),
    )
}
