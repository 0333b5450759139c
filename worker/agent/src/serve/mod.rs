//! A server that stands in for model services: answers by the rules of a script, in the wire formats of all of them, and
//! refuses what they refuse. For tests, and for trying things out.

mod anthropic;
mod chat;
mod quota;
mod refuse;
mod responses;
mod stats;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use stepmill_worker_engine::model::{Format, ModelAnswer, ModelRequest};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use stats::{KeyStats, Stats};

use crate::limit;
use crate::script::{Outcome, Reply, Script};
use quota::Quota;
use refuse::{Refused, error_body};
use stats::Ledger;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The server's state; [`serve`] runs it.
#[derive(Debug)]
pub struct ModelServer {
    script: Script,
    ledger: Ledger,
    quota: Option<Quota>,
}

impl ModelServer {
    /// A server with these rules.
    #[must_use]
    pub fn new(script: Script) -> Arc<Self> {
        let quota = script.quota().map(Quota::new);
        Arc::new(Self { script, ledger: Ledger::default(), quota })
    }

    /// What it has seen and given so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.ledger.stats()
    }

    /// Answers on this listener until `stop` resolves. What is under way then is broken off.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: impl Future<Output = ()> + Send) {
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => return,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let server = Arc::clone(&self);
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let server = Arc::clone(&server);
                    async move { Ok::<_, Infallible>(server.answer(request).await) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new());
                // A client that goes away is nobody's loss.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().trim_end_matches('/').to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET, "/stats") => json_response(200, &json!(self.stats()), &[]),
            (&Method::GET, path) if path.ends_with("/models") => {
                let model = json!({"id": self.script.model(), "object": "model", "created": 0, "owned_by": "stepmill"});
                json_response(200, &json!({"object": "list", "data": [model]}), &[])
            }
            (&Method::POST, path) => match format_of(path) {
                Some(format) => self.complete(format, request).await,
                None => nowhere(path),
            },
            (_, path) => nowhere(path),
        }
    }

    async fn complete(&self, format: Format, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let key = header(&parts.headers, "idempotency-key").unwrap_or_default().to_owned();
        let _busy = self.ledger.begin(&key);
        let asked = match Limited::new(body, limit::WIRE_BYTES_MAX).collect().await {
            Ok(body) => read(format, &parts.headers, &body.to_bytes()),
            Err(error) => Err(Refused::new(413, "request_too_large", &error.to_string())),
        };
        let (asked, stream) = match asked {
            Ok(asked) => asked,
            Err(refused) => {
                self.ledger.refuse(&refused.message);
                return json_response(refused.status, &error_body(format, &refused), &[]);
            }
        };
        let tries = self.ledger.tries(&key, &asked);
        let reply = self.script.reply(&asked, tries);
        if let Some(refused) = self.over_quota(&reply) {
            self.ledger.fault();
            let headers = refused.headers(format);
            return json_response(429, &error_body(format, &refused.refused()), &headers);
        }
        if !reply.latency.is_zero() {
            tokio::time::sleep(reply.latency).await;
        }
        self.give(format, &asked, &key, stream, reply)
    }

    fn over_quota(&self, reply: &Reply) -> Option<quota::Over> {
        let (Outcome::Answer(answer) | Outcome::Cut(answer)) = &reply.outcome else { return None };
        self.quota.as_ref()?.take(answer.tokens.input + answer.tokens.output).err()
    }

    fn give(&self, format: Format, asked: &ModelRequest, key: &str, stream: Streamed, reply: Reply) -> Response<Body> {
        let (answer, cut) = match reply.outcome {
            Outcome::Answer(answer) => (answer, false),
            Outcome::Cut(answer) => (answer, true),
            Outcome::Fault { kind, retry_after } => {
                self.ledger.fault();
                let refused = refuse::fault(format, kind);
                let mut headers = Vec::new();
                if let Some(wait) = retry_after {
                    headers.push(("retry-after", wait.as_secs_f64().ceil().to_string()));
                    headers.push(("retry-after-ms", wait.as_millis().to_string()));
                }
                return json_response(refused.status, &error_body(format, &refused), &headers);
            }
            Outcome::NoRule => {
                self.ledger.refuse("no rule");
                let refused = Refused::new(400, "invalid_request_error", "the script has no rule for this request");
                return json_response(400, &error_body(format, &refused), &[]);
            }
        };
        self.ledger.answered(key, &answer, cut);
        let id = crate::address::of(asked).to_hex()[..24].to_owned();
        if stream == Streamed::No && !cut {
            return json_response(200, &whole(format, &answer, &id), &[]);
        }
        let mut events = match stream {
            Streamed::No => vec![whole(format, &answer, &id).to_string()],
            Streamed::Yes { usage } => events(format, &answer, &id, usage),
        };
        if cut {
            events.truncate(events.len() / 2);
        }
        let kind = if stream == Streamed::No { "application/json" } else { "text/event-stream" };
        streamed(kind, events, cut, reply.token_latency)
    }
}

/// Whether the answer is wanted as a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Streamed {
    No,
    Yes {
        /// With the tokens at its end, where the format leaves the choice.
        usage: bool,
    },
}

fn format_of(path: &str) -> Option<Format> {
    [Format::OpenaiChat, Format::OpenaiResponses, Format::Anthropic]
        .into_iter()
        .find(|format| path.ends_with(crate::wire::path(*format)))
}

fn read(format: Format, headers: &HeaderMap, body: &[u8]) -> Result<(ModelRequest, Streamed), Refused> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|e| Refused::wrong(&format!("the body of the request is not valid JSON: {e}")))?;
    let request = match format {
        Format::OpenaiChat => chat::read(&body)?,
        Format::OpenaiResponses => responses::read(&body)?,
        Format::Anthropic => {
            if header(headers, "anthropic-version").is_none() {
                return Err(Refused::wrong("anthropic-version: header is required"));
            }
            anthropic::read(&body)?
        }
    };
    let usage = body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
    let stream = body.get("stream") == Some(&Value::Bool(true));
    Ok((request, if stream { Streamed::Yes { usage } } else { Streamed::No }))
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn whole(format: Format, answer: &ModelAnswer, id: &str) -> Value {
    match format {
        Format::OpenaiChat => chat::whole(answer, id),
        Format::OpenaiResponses => responses::whole(answer, id),
        Format::Anthropic => anthropic::whole(answer, id),
    }
}

fn events(format: Format, answer: &ModelAnswer, id: &str, usage: bool) -> Vec<String> {
    match format {
        Format::OpenaiChat => chat::events(answer, id, usage),
        Format::OpenaiResponses => responses::events(answer, id),
        Format::Anthropic => anthropic::events(answer, id),
    }
}

/// A text in the pieces in which a stream says it.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

/// A text in pieces of a few characters, as the arguments of tool calls come.
fn slices(text: &str) -> impl Iterator<Item = &str> {
    const SIZE: usize = 8;
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = (SIZE..rest.len()).find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Events with their type as name, too.
fn named(events: &[Value]) -> Vec<String> {
    let name = |event: &Value| event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", name(event))).collect()
}

fn nowhere(path: &str) -> Response<Body> {
    let text = format!("there is nothing at {path}; POST to …/chat/completions, …/responses or …/messages, GET /stats");
    json_response(404, &json!({"error": {"message": text, "type": "invalid_request_error", "code": null}}), &[])
}

fn json_response(status: u16, body: &Value, headers: &[(&'static str, String)]) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never: Infallible| match never {}).boxed_unsync();
    respond(status, "application/json", headers, body)
}

/// Events one after the other; one that is cut ends with a broken connection.
fn streamed(kind: &'static str, events: Vec<String>, cut: bool, pause: Duration) -> Response<Body> {
    let broken = cut.then(|| Err(std::io::Error::other("cut, as the script says")));
    let frames = stream::iter(events.into_iter().map(|event| Ok(Frame::data(Bytes::from(event)))).chain(broken));
    let frames = frames.then(move |frame| async move {
        // Each piece on its own, as it comes from a model.
        match pause.is_zero() {
            true => tokio::task::yield_now().await,
            false => tokio::time::sleep(pause).await,
        }
        frame
    });
    respond(200, kind, &[], StreamBody::new(frames).boxed_unsync())
}

fn respond(status: u16, kind: &'static str, headers: &[(&'static str, String)], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}
