//! A proxy that answers for every host itself: plain requests at once, those over HTTPS with a certificate made for the
//! host by an authority that only the inner process trusts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::hosts;
use super::stand_in::{Answer, Asked};

/// The authority, and what it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    hosts: Mutex<BTreeMap<String, TlsAcceptor>>,
}

/// Starts the proxy; it runs as long as its runtime. The authority's certificate is written to `trusted`.
pub(super) async fn start(trusted: &Path) -> io::Result<SocketAddr> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).map_err(io::Error::other)?;
    std::fs::write(trusted, certificate.pem())?;
    let authority = Arc::new(Authority { issuer: Issuer::new(params, key), hosts: Mutex::default() });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&authority)));
        }
    });
    Ok(address)
}

/// One connection of a client to the proxy. One that breaks is the client's to notice.
async fn serve(stream: TcpStream, authority: Arc<Authority>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let authority = Arc::clone(&authority);
        async move {
            if request.method() != Method::CONNECT {
                let host = request.uri().host().unwrap_or_default().to_owned();
                return Ok::<_, Infallible>(answer(&host, request).await);
            }
            let host = request.uri().host().unwrap_or_default().to_owned();
            tokio::spawn(async move {
                if let Ok(upgraded) = hyper::upgrade::on(request).await {
                    tunnel(TokioIo::new(upgraded), host, &authority).await;
                }
            });
            Ok(Response::new(Full::default()))
        }
    });
    let _: Result<(), hyper::Error> = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

/// What would have gone to the host itself.
async fn tunnel(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, host: String, authority: &Authority) {
    let Ok(acceptor) = authority.acceptor(&host).await else { return };
    let Ok(stream) = acceptor.accept(io).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let host = host.clone();
        async move { Ok::<_, Infallible>(answer(&host, request).await) }
    });
    let _: Result<(), hyper::Error> =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Authority {
    async fn acceptor(&self, host: &str) -> io::Result<TlsAcceptor> {
        let mut hosts = self.hosts.lock().await;
        if let Some(acceptor) = hosts.get(host) {
            return Ok(acceptor.clone());
        }
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new([host.to_owned()]).map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|b| b.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private))
            .map_err(io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        hosts.insert(host.to_owned(), acceptor.clone());
        Ok(acceptor)
    }
}

async fn answer(host: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let text = |name| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let host = if host.is_empty() { text(HOST) } else { host.to_owned() };
    let asked = Asked {
        host,
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        authorization: text(AUTHORIZATION),
        body: body.collect().await.map(|b| b.to_bytes()).unwrap_or_default(),
    };
    let Answer { status, body } = hosts::answer(&asked);
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}
