//! `/live`, `/ready` and `/metrics` of the workers of a process, over HTTP. They are served from a thread of their own, so that
//! steps that block the other threads do not make a worker look dead.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::measures::{self, Measures};

/// Connections at a time; more wait.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to say what it wants.
const HEADER_WITHIN: Duration = Duration::from_secs(5);
/// The wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The form of `/metrics`.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves `GET /live`, `GET /ready` and `GET /metrics` until the last clone is dropped. Hand it to
/// [`crate::WorkerBuilder::health`] of every worker of the process.
///
/// `/live` answers 503 when a worker does not turn any more and only a restart helps; `/ready` unless every worker has joined its
/// pool and reaches the broker.
#[derive(Clone, Debug)]
pub struct Health {
    watched: Watched,
    address: SocketAddr,
    _stop: Arc<DropGuard>,
}

/// The workers of this process. One that has ended is forgotten.
#[derive(Clone, Debug, Default)]
struct Watched(Arc<Mutex<Vec<Weak<Measures>>>>);

impl Health {
    /// Begins to serve at this address; port 0 takes any that is free.
    ///
    /// # Errors
    /// When the address cannot be bound, or no thread can be started.
    pub fn serve(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (watched, stop) = (Watched::default(), CancellationToken::new());
        let (serving, stopped) = (watched.clone(), stop.clone());
        std::thread::Builder::new().name("stepmill-health".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = accept(listener, serving) => {}
                }
            });
        })?;
        Ok(Self { watched, address, _stop: Arc::new(stop.drop_guard()) })
    }

    /// Where it is served.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn watch(&self, worker: &Arc<Measures>) {
        let mut all = self.watched.0.lock();
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(worker));
    }
}

impl Watched {
    fn workers(&self) -> Vec<Arc<Measures>> {
        self.0.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        }
        match path {
            "/live" => self.live(),
            "/ready" => self.ready(),
            "/metrics" => self.metrics(),
            _ => plain(StatusCode::NOT_FOUND, "there are /live, /ready and /metrics\n".into()),
        }
    }

    fn live(&self) -> Response<Full<Bytes>> {
        let fault = |worker: &Arc<Measures>| {
            let fault = worker.vitals.fault(worker.counters.counts().in_flight, worker.fetch_wait)?;
            Some(format!("the worker of pool `{}` {fault}\n", worker.pool))
        };
        let faults: String = self.workers().iter().filter_map(fault).collect();
        if faults.is_empty() {
            plain(StatusCode::OK, "ok\n".into())
        } else {
            plain(StatusCode::SERVICE_UNAVAILABLE, faults)
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let workers = self.workers();
        let unready = |worker: &Arc<Measures>| {
            let reason = worker.vitals.unready()?;
            Some(format!("the worker of pool `{}` {reason}\n", worker.pool))
        };
        let reasons: String = workers.iter().filter_map(unready).collect();
        if workers.is_empty() {
            plain(StatusCode::SERVICE_UNAVAILABLE, "no worker runs\n".into())
        } else if reasons.is_empty() {
            plain(StatusCode::OK, "ok\n".into())
        } else {
            plain(StatusCode::SERVICE_UNAVAILABLE, reasons)
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut body = String::new();
        match text::encode(&mut body, &registry) {
            Ok(()) => respond(StatusCode::OK, METRICS_TYPE, body),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

impl Collector for Watched {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        measures::encode(&self.workers(), encoder)
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text)
}

fn respond(status: StatusCode, content: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content));
    response
}

async fn accept(listener: TcpListener, watched: Watched) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "health cannot be served");
            return;
        }
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for health was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let watched = watched.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = watched.answer(request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADER_WITHIN);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection for health ended badly");
            }
            drop(place);
        });
    }
}
