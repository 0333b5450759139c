//! The API over HTTP, the health checks and the metrics: `POST /api/<namespace>/<verb>`, `POST /api/<namespace>/events` for CloudEvents in any form,
//! `GET /live`, `GET /ready`, `GET /metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use stepmill_protocol::api::verb;
use stepmill_protocol::codec::ContentType;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{CloudEvent, Namespace, Problem, limit};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::health::{Health, METRICS_TYPE};
use crate::port::bus::ApiHandler;

#[derive(Clone)]
struct Web {
    api: Arc<Api>,
    health: Health,
}

/// Serves until `stop`; gives the address that was bound.
pub(crate) async fn serve(
    address: SocketAddr,
    api: Arc<Api>,
    health: Health,
    stop: CancellationToken,
) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let router = Router::new()
        .route("/api/{namespace}/events", post(event))
        .route("/api/{namespace}/{verb}", post(call))
        .route("/live", get(async |State(web): State<Web>| web.health.live()))
        .route("/ready", get(async |State(web): State<Web>| web.health.ready().await))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(limit::VALUE_BYTES_MAX * 2))
        .with_state(Web { api, health });
    let task = tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "HTTP ended badly");
        }
    });
    Ok((bound, task))
}

async fn metrics(State(web): State<Web>) -> Response {
    match web.health.metrics().await {
        Ok(body) => ([(header::CONTENT_TYPE, METRICS_TYPE)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn call(
    State(web): State<Web>,
    Path((namespace, verb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let said = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let content = ContentType::from_header(said);
    let namespace = match Namespace::new(&namespace) {
        Ok(namespace) => namespace,
        Err(e) => return problem(&Problem::standard(Standard::Validation, e.to_string())),
    };
    match web.api.handle(namespace, verb, content, body.to_vec()).await {
        Ok(answer) => ([(header::CONTENT_TYPE, content.as_str())], answer).into_response(),
        Err(p) => problem(&p),
    }
}

/// A CloudEvent, in the structured or the binary form of its HTTP binding.
async fn event(State(web): State<Web>, Path(namespace): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let said = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let given: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let event = CloudEvent::read(given.iter().copied(), said, &body)
        .map_err(|e| Problem::standard(Standard::Validation, e.to_string()));
    let namespace = Namespace::new(&namespace).map_err(|e| Problem::standard(Standard::Validation, e.to_string()));
    let (event, namespace) = match (event, namespace) {
        (Ok(event), Ok(namespace)) => (event, namespace),
        (Err(p), _) | (_, Err(p)) => return problem(&p),
    };
    let body = serde_json::to_vec(&event).unwrap_or_default();
    match web.api.handle(namespace, verb::EVENT.to_owned(), ContentType::Json, body).await {
        Ok(answer) => ([(header::CONTENT_TYPE, ContentType::Json.as_str())], answer).into_response(),
        Err(p) => problem(&p),
    }
}

/// RFC 9457: the status as the problem says it, the body as `application/problem+json`.
fn problem(p: &Problem) -> Response {
    let status = StatusCode::from_u16(p.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(p).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}
