//! The connection: options, the server floor, reconnecting, and the counter that tells when it was broken.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::error::NatsError;
use crate::mux::Mux;

/// The oldest nats-server that is good enough: 2.12 refuses settings that it does not know (older ones ignore them
/// silently), 2.12.7 has the fixes of `WorkQueue` streams that we depend on.
pub const SERVER_FLOOR: &str = "2.12.7";
const SERVER_FLOOR_PARTS: (u64, u64, u64) = (2, 12, 7);

/// Messages that one subscription may hold before the client drops some: above what the broker hands out unasked.
const SUBSCRIPTION_MESSAGES_MAX: usize = 512 * 1024;
/// Commands that wait for the connection's writer.
const COMMANDS_QUEUED_MAX: usize = 8 * 1024;
/// How long one answer of the broker is awaited.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often an idle connection is checked.
const PING_EVERY: Duration = Duration::from_secs(5);
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(20);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(1);

/// How we prove who we are.
#[derive(Clone, Default)]
pub enum Auth {
    /// Not at all, or as the URL says.
    #[default]
    None,
    /// By name and password.
    UserPassword {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// By a shared token.
    Token(String),
    /// By a credentials file (JWT and nkey seed).
    CredentialsFile(PathBuf),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::UserPassword { .. } => "UserPassword(..)",
            Self::Token(_) => "Token(..)",
            Self::CredentialsFile(_) => "CredentialsFile(..)",
        })
    }
}

/// How to reach NATS.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// Servers, for instance `nats://127.0.0.1:4222`.
    pub urls: Vec<String>,
    /// Our name in the server's lists.
    pub name: String,
    /// How we prove who we are.
    pub auth: Auth,
    /// What reply subjects begin with; `_INBOX` unless said. One per role makes inboxes private.
    pub inbox_prefix: Option<String>,
    /// JetStream domain.
    pub domain: Option<String>,
    /// PEM file with further root certificates.
    pub root_certificates: Option<PathBuf>,
    /// Refuse an unencrypted connection.
    pub tls_required: bool,
    /// How long to go on trying before the first connection is given up.
    pub connect_within: Duration,
    /// Ask whether the account has JetStream. Workers need no right to ask.
    pub check_jetstream: bool,
}

impl NatsOptions {
    /// The usual settings for one or more comma-separated URLs.
    #[must_use]
    pub fn new(urls: &str, name: &str) -> Self {
        Self {
            urls: urls.split(',').map(str::trim).filter(|u| !u.is_empty()).map(Into::into).collect(),
            name: name.into(),
            auth: Auth::None,
            inbox_prefix: None,
            domain: None,
            root_certificates: None,
            tls_required: false,
            connect_within: Duration::from_secs(10),
            check_jetstream: true,
        }
    }

    /// The URLs without names and passwords, for messages.
    fn shown_urls(&self) -> String {
        let strip = |url: &String| match url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest)),
            None => url.rsplit('@').next().unwrap_or(url).to_owned(),
        };
        self.urls.iter().map(strip).collect::<Vec<_>>().join(", ")
    }
}

/// A connection to NATS. Cheap to clone; closed when the last clone is dropped.
#[derive(Clone)]
pub struct Nats {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) mux: Mux,
    pub(crate) js: String,
    options: NatsOptions,
    watched: Arc<Watched>,
    router: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The router holds the subscription and with it the connection.
        self.router.abort();
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("name", &self.inner.options.name).finish_non_exhaustive()
    }
}

/// What the connection's events change.
struct Watched {
    broken: AtomicBool,
    generation: watch::Sender<u64>,
    mux: parking_lot::Mutex<Option<Mux>>,
}

impl Watched {
    fn on(&self, event: &Event) {
        match event {
            Event::Disconnected => {
                self.broken.store(true, Ordering::Release);
                if let Some(mux) = &*self.mux.lock() {
                    mux.fail_all();
                }
                tracing::info!("the connection to NATS broke; reconnecting");
            }
            Event::Connected => {
                if self.broken.swap(false, Ordering::AcqRel) {
                    self.generation.send_modify(|g| *g += 1);
                    tracing::info!("connected to NATS again");
                }
            }
            // The only sign of a missing permission: the call itself just times out.
            Event::ServerError(e) => tracing::warn!(error = %e, "nats-server complains"),
            Event::SlowConsumer(_) => tracing::warn!("a subscription was too slow; messages were dropped"),
            Event::LameDuckMode => tracing::info!("nats-server is about to stop"),
            Event::ClientError(e) => tracing::debug!(error = %e, "NATS client"),
            Event::Draining | Event::Closed => {}
        }
    }
}

impl Nats {
    /// Connects, trying again with growing delays for `connect_within`, and checks the server.
    ///
    /// # Errors
    /// [`NatsError`] when no server can be reached in time, the server is below [`SERVER_FLOOR`], or JetStream is off.
    pub async fn connect(options: NatsOptions) -> Result<Self, NatsError> {
        if options.urls.is_empty() {
            let reason = "it is empty; name a server, for instance nats://127.0.0.1:4222".into();
            return Err(NatsError::Option { setting: "urls", reason });
        }
        let watched = Arc::new(Watched {
            broken: AtomicBool::new(false),
            generation: watch::Sender::new(0),
            mux: parking_lot::Mutex::new(None),
        });
        let client = connect_patiently(&options, &Arc::downgrade(&watched)).await?;
        check_floor(&client.server_info().version)?;
        let (mux, route) = Mux::open(&client).await?;
        *watched.mux.lock() = Some(mux.clone());
        let router = tokio::spawn(route).abort_handle();
        let js = options.domain.as_ref().map_or_else(|| "$JS.API".into(), |d| format!("$JS.{d}.API"));
        let check = options.check_jetstream;
        let nats = Self { inner: Arc::new(Inner { client, mux, js, options, watched, router }) };
        if check {
            nats.check_jetstream().await?;
        }
        Ok(nats)
    }

    /// A second connection with the same options, living on the calling runtime.
    ///
    /// # Errors
    /// See [`Nats::connect`].
    pub async fn connect_another(&self, suffix: &str) -> Result<Self, NatsError> {
        let mut options = self.inner.options.clone();
        options.name = format!("{}-{suffix}", options.name);
        options.check_jetstream = false;
        Self::connect(options).await
    }

    async fn check_jetstream(&self) -> Result<(), NatsError> {
        match self.js_call("INFO", &serde_json::json!({})).await {
            Ok(_) => Ok(()),
            Err(e @ (NatsError::NoResponders { .. } | NatsError::Refused { .. })) => {
                Err(NatsError::NoJetStream { reason: e.to_string() })
            }
            Err(e) => Err(e),
        }
    }

    /// Counts the times that the connection was broken and came back. Whoever reads the log checks his position
    /// again when it changes: the server may have come back with less.
    #[must_use]
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.inner.watched.generation.subscribe()
    }

    /// Whether the connection stands right now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.inner.watched.broken.load(Ordering::Acquire)
    }

    /// The version of the server that we are connected to.
    #[must_use]
    pub fn server_version(&self) -> String {
        self.inner.client.server_info().version
    }

    /// The name of the cluster that the server belongs to; none for one that stands alone.
    #[must_use]
    pub fn cluster(&self) -> Option<String> {
        self.inner.client.server_info().cluster.filter(|name| !name.is_empty())
    }

    /// The largest message that the server takes, in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.inner.client.max_payload()
    }
}

async fn connect_patiently(options: &NatsOptions, watched: &Weak<Watched>) -> Result<Client, NatsError> {
    let mut pauses = ExponentialBackoff {
        initial_interval: RECONNECT_DELAY_MIN,
        current_interval: RECONNECT_DELAY_MIN,
        max_interval: RECONNECT_DELAY_MAX,
        max_elapsed_time: Some(options.connect_within),
        ..ExponentialBackoff::default()
    };
    loop {
        let error = match client_options(options, watched.clone()).await?.connect(options.urls.clone()).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let retryable =
            matches!(error.kind(), ConnectErrorKind::Io | ConnectErrorKind::TimedOut | ConnectErrorKind::Dns);
        let pause = if retryable { pauses.next_backoff() } else { None };
        let Some(pause) = pause else {
            let reason = match std::error::Error::source(&error) {
                Some(source) => format!("{error} ({source})"),
                None => error.to_string(),
            };
            return Err(NatsError::Connect { urls: options.shown_urls(), reason, retryable });
        };
        tracing::debug!(%error, ?pause, "cannot connect to NATS yet");
        tokio::time::sleep(pause).await;
    }
}

async fn client_options(options: &NatsOptions, watched: Weak<Watched>) -> Result<ConnectOptions, NatsError> {
    let mut client = ConnectOptions::new()
        .name(&options.name)
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        .client_capacity(COMMANDS_QUEUED_MAX)
        .ping_interval(PING_EVERY)
        .require_tls(options.tls_required)
        .reconnect_delay_callback(|attempts| {
            let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(6);
            (RECONNECT_DELAY_MIN * 2u32.pow(doublings)).min(RECONNECT_DELAY_MAX)
        })
        .event_callback(move |event| {
            let watched = watched.clone();
            async move {
                if let Some(watched) = watched.upgrade() {
                    watched.on(&event);
                }
            }
        });
    if let Some(prefix) = &options.inbox_prefix {
        client = client.custom_inbox_prefix(prefix);
    }
    if let Some(path) = &options.root_certificates {
        client = client.add_root_certificates(path.clone());
    }
    match &options.auth {
        Auth::None => Ok(client),
        Auth::UserPassword { user, password } => Ok(client.user_and_password(user.clone(), password.clone())),
        Auth::Token(token) => Ok(client.token(token.clone())),
        Auth::CredentialsFile(path) => client
            .credentials_file(path)
            .await
            .map_err(|e| NatsError::Option { setting: "credentials file", reason: format!("{}: {e}", path.display()) }),
    }
}

/// Refuses a server below the floor; text after the numbers (`-RC.1`) is not looked at.
fn check_floor(version: &str) -> Result<(), NatsError> {
    let too_old = || NatsError::ServerTooOld { found: version.to_owned(), floor: SERVER_FLOOR };
    let mut parts = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).map(str::parse::<u64>);
    let mut next = || parts.next().and_then(Result::ok);
    let found = (next().ok_or_else(too_old)?, next().ok_or_else(too_old)?, next().ok_or_else(too_old)?);
    if found < SERVER_FLOOR_PARTS { Err(too_old()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_a_floor() {
        for good in ["2.12.7", "2.12.10", "2.15.1", "3.0.0", "v2.14.0-RC.1"] {
            assert!(check_floor(good).is_ok(), "{good}");
        }
        for bad in ["2.12.6", "2.11.99", "1.99.99", "2.13", "", "x"] {
            assert!(matches!(check_floor(bad), Err(NatsError::ServerTooOld { .. })), "{bad}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let options = NatsOptions::new("nats://me:secret@a:4222, b:4222", "t");
        assert_eq!(options.shown_urls(), "nats://a:4222, b:4222");
        let auth = Auth::UserPassword { user: "me".into(), password: "secret".into() };
        assert!(!format!("{auth:?}").contains("secret"));
    }
}
