//! Cassettes: answers of real services, recorded and replayed bit for bit. An answer is found by what was asked: the
//! address and the body of the request. Neither keys nor any other header of a request is recorded.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepmill_protocol::link::BoxFuture;
use stepmill_worker_engine::model::{ModelError, ModelErrorKind};

use super::transport::{Reply, Send, Transport};
use crate::wire::Headers;

/// What a cassette is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CassetteMode {
    /// Ask the service, and keep what it answers.
    Record,
    /// Answer with what was kept; ask nobody.
    Replay,
    /// Answer with what was kept; ask the service for the rest, and keep that too.
    Fill,
}

/// A cassette that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    /// The setting is not understood.
    #[error("`{0}` says no cassette; write `record:FILE`, `replay:FILE` or `fill:FILE`")]
    Setting(String),
    /// The file cannot be read or written.
    #[error("the cassette {path} cannot be used: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Which cassette to use and what for: `record:FILE`, `replay:FILE`, `fill:FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CassetteSetting {
    mode: CassetteMode,
    file: PathBuf,
}

impl FromStr for CassetteSetting {
    type Err = CassetteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || CassetteError::Setting(text.to_owned());
        let (mode, file) = text.split_once(':').filter(|(_, file)| !file.is_empty()).ok_or_else(wrong)?;
        let mode = match mode {
            "record" => CassetteMode::Record,
            "replay" => CassetteMode::Replay,
            "fill" => CassetteMode::Fill,
            _ => return Err(wrong()),
        };
        Ok(Self { mode, file: file.into() })
    }
}

/// One recorded answer: a line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Tape {
    address: String,
    path: String,
    /// For people: what was asked.
    request: Value,
    status: u16,
    headers: Headers,
    body: String,
}

/// Stands between us and the services.
pub struct Cassette {
    mode: CassetteMode,
    file: PathBuf,
    inner: Arc<dyn Transport>,
    tapes: Mutex<Tapes>,
}

/// The tapes by address, and how many of each have been played. What is asked again gets the next answer that was
/// recorded for it, and the last one for ever.
#[derive(Default)]
struct Tapes {
    known: BTreeMap<String, Vec<Tape>>,
    played: BTreeMap<String, usize>,
}

impl std::fmt::Debug for Cassette {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cassette").field("mode", &self.mode).field("file", &self.file).finish_non_exhaustive()
    }
}

impl Cassette {
    /// Opens a cassette. `inner` asks the services.
    ///
    /// # Errors
    /// [`CassetteError::File`] when the file cannot be read, or is no cassette.
    pub fn open(setting: &CassetteSetting, inner: Arc<dyn Transport>) -> Result<Self, CassetteError> {
        let CassetteSetting { mode, file } = setting.clone();
        let known = match mode {
            CassetteMode::Record => BTreeMap::new(),
            CassetteMode::Replay | CassetteMode::Fill => read(&file, mode)?,
        };
        if mode == CassetteMode::Record {
            // A recording begins anew, and a file that cannot be written is told before anything is paid for.
            std::fs::write(&file, "").map_err(|e| failed(&file, &e.to_string()))?;
        }
        Ok(Self { mode, file, inner, tapes: Mutex::new(Tapes { known, played: BTreeMap::new() }) })
    }

    fn play(&self, address: &str) -> Option<Tape> {
        let Tapes { known, played } = &mut *self.tapes.lock();
        let tapes = known.get(address)?;
        let place = played.entry(address.to_owned()).or_default();
        let tape = tapes.get(*place).or_else(|| tapes.last())?.clone();
        *place += 1;
        Some(tape)
    }

    async fn record(&self, address: String, request: Send) -> Result<Reply, ModelError> {
        let path = path_of(&request.url).to_owned();
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let Reply { status, headers, body } = self.inner.send(request).await?;
        if !(200..300).contains(&status) {
            return Ok(Reply { status, headers, body });
        }
        // The whole answer first: what is played is what was kept.
        let body: Vec<Bytes> = body.try_collect().await?;
        let Ok(text) = String::from_utf8(body.concat()) else {
            return Err(ModelError::new(ModelErrorKind::Unreadable, "the answer is not UTF-8, and is not recorded"));
        };
        let headers = headers.iter().filter(|(name, _)| is_kept(name)).collect();
        let tape = Tape { address: address.clone(), path, request: asked, status, headers, body: text };
        self.keep(&tape).map_err(|e| ModelError::new(ModelErrorKind::Unavailable, e.to_string()))?;
        if self.mode == CassetteMode::Fill {
            let mut tapes = self.tapes.lock();
            tapes.known.entry(address.clone()).or_default().push(tape.clone());
            *tapes.played.entry(address).or_default() += 1;
        }
        Ok(tape.into())
    }

    fn keep(&self, tape: &Tape) -> Result<(), CassetteError> {
        let line = serde_json::to_string(tape).map_err(|e| failed(&self.file, &e.to_string()))?;
        // The lock keeps lines whole.
        let _guard = self.tapes.lock();
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&self.file);
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
            .map_err(|e| failed(&self.file, &e.to_string()))
    }
}

impl Transport for Cassette {
    fn send(&self, request: Send) -> BoxFuture<'_, Result<Reply, ModelError>> {
        Box::pin(async move {
            let address = address(&request);
            let played = match self.mode {
                CassetteMode::Record => None,
                CassetteMode::Replay | CassetteMode::Fill => self.play(&address),
            };
            match (played, self.mode) {
                (Some(tape), _) => Ok(tape.into()),
                (None, CassetteMode::Record | CassetteMode::Fill) => self.record(address, request).await,
                (None, CassetteMode::Replay) => {
                    let text = format!("{} holds no answer to this request ({address})", self.file.display());
                    Err(ModelError::new(ModelErrorKind::NotRecorded, text))
                }
            }
        })
    }
}

impl From<Tape> for Reply {
    fn from(tape: Tape) -> Self {
        let body = stream::once(std::future::ready(Ok(Bytes::from(tape.body)))).boxed();
        Self { status: tape.status, headers: tape.headers, body }
    }
}

/// Where an answer is found: the same for the same question, wherever the service stands.
fn address(request: &Send) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(path_of(&request.url).as_bytes()).update(&[0]).update(&request.body);
    hash.finalize().to_hex().to_string()
}

/// The last part of a URL: the format's own path.
fn path_of(url: &str) -> &str {
    ["/chat/completions", "/responses", "/messages"].into_iter().find(|path| url.ends_with(path)).unwrap_or(url)
}

fn is_kept(header: &str) -> bool {
    header == "content-type"
}

fn read(file: &Path, mode: CassetteMode) -> Result<BTreeMap<String, Vec<Tape>>, CassetteError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && mode == CassetteMode::Fill => String::new(),
        Err(e) => return Err(failed(file, &e.to_string())),
    };
    let mut known: BTreeMap<String, Vec<Tape>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let tape: Tape = serde_json::from_str(line).map_err(|e| failed(file, &format!("line {}: {e}", number + 1)))?;
        known.entry(tape.address.clone()).or_default().push(tape);
    }
    Ok(known)
}

fn failed(file: &Path, reason: &str) -> CassetteError {
    CassetteError::File { path: file.to_owned(), reason: reason.to_owned() }
}
