//! How the client commands reach a system: over NATS, or over HTTP where there is no NATS.

use std::sync::Arc;
use std::time::Duration;

use stepmill_nats::{Nats, NatsApiCaller, NatsOptions};
use stepmill_protocol::codec::ContentType;
use stepmill_protocol::link::{ApiCaller, BoxFuture};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Client, Namespace, Problem};

use crate::config::Settings;
use crate::error::CliError;

/// How long a client goes on trying to connect before it says that nobody is there.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// A client for the settings' namespace.
pub(crate) async fn client(settings: &Settings) -> Result<Client, CliError> {
    let caller: Arc<dyn ApiCaller> = match &settings.api_url {
        Some(url) => Arc::new(HttpApiCaller::new(url)),
        None => Arc::new(NatsApiCaller::new(nats_client(&settings.nats_url).await?)),
    };
    let timeout = Duration::from_secs(settings.timeout_s);
    Ok(Client::new(caller, settings.namespace.clone()).with_timeout(timeout))
}

async fn nats_client(url: &str) -> Result<Nats, CliError> {
    let mut options = NatsOptions::new(url, "stepmill-cli");
    options.connect_within = CONNECT_WITHIN;
    options.check_jetstream = false;
    Nats::connect(options).await.map_err(|e| {
        CliError::with_help(
            e.to_string(),
            "start a system with `stepmill dev`, or say where it is: `--nats URL`, STEPMILL_NATS_URL or `nats_url` in \
             stepmill.toml",
        )
    })
}

/// The API over HTTP: `POST <base>/api/<namespace>/<verb>`.
pub(crate) struct HttpApiCaller {
    base: String,
    http: reqwest::Client,
}

impl HttpApiCaller {
    pub(crate) fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), http: reqwest::Client::new() }
    }
}

impl ApiCaller for HttpApiCaller {
    fn call<'a>(
        &'a self,
        namespace: &'a Namespace,
        verb: &'a str,
        content: ContentType,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, Problem>> {
        Box::pin(async move {
            let url = format!("{}/api/{namespace}/{verb}", self.base);
            let lost = |e: reqwest::Error| {
                let what = format!("{url} does not answer ({e}); is the system running, and is the address right?");
                Problem::standard(if e.is_timeout() { Standard::Timeout } else { Standard::Communication }, what)
            };
            let request = self.http.post(&url).timeout(timeout).body(body);
            let request = request.header("content-type", content.as_str()).header("accept", content.as_str());
            let answer = request.send().await.map_err(lost)?;
            let status = answer.status();
            let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok());
            let kind = ContentType::from_header(kind);
            let bytes = answer.bytes().await.map_err(lost)?;
            if status.is_success() {
                return Ok(bytes.to_vec());
            }
            Err(kind.read::<Problem>(&bytes).unwrap_or_else(|_| {
                let text: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
                let what = format!("{url} answered {status}: {text}; is this a Stepmill coordinator?");
                Problem::standard(Standard::Communication, what)
            }))
        })
    }
}
