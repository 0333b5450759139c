//! A client that knows only NATS and JSON: requests on `sm.api.default.<verb>` with text bodies, as `nats req` makes them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepmill_nats::Nats;

/// How long one request is awaited before it is made again.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JsonClient {
    nats: Nats,
}

impl JsonClient {
    /// Over this connection.
    #[must_use]
    pub fn new(nats: Nats) -> Self {
        Self { nats }
    }

    /// One request; the answer's body as it came, or why none came.
    ///
    /// # Errors
    /// A sentence.
    pub async fn request(&self, verb: &str, body: &Value, within: Duration) -> Result<Value, String> {
        let subject = format!("sm.api.default.{verb}");
        let answer = self.nats.request(&subject, body.to_string().into_bytes(), within).await;
        let bytes = answer.map_err(|e| e.to_string())?;
        serde_json::from_slice(&bytes).map_err(|e| format!("{e}: {:?}", String::from_utf8_lossy(&bytes)))
    }

    /// The same, again and again until it is answered by something else than a problem of the moment (no coordinator,
    /// status 503 or 504). What is asked must be safe to repeat.
    ///
    /// # Panics
    /// When a minute passes, or on a lasting problem.
    pub async fn insist(&self, verb: &str, body: &Value) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        // A request that was handed to a coordinator in the moment of its death is never answered.
        let wait = body.get("wait_ms").and_then(Value::as_u64).unwrap_or(0);
        let within = ANSWER_WITHIN + Duration::from_millis(wait);
        loop {
            let last = match self.request(verb, body, within).await {
                Ok(answer) => match answer.get("status").and_then(Value::as_u64) {
                    Some(503 | 504) => answer.to_string(),
                    Some(_) if answer.get("title").is_some() => panic!("{verb} {body}: {answer}"),
                    _ => return answer,
                },
                Err(error) => error,
            };
            assert!(Instant::now() < deadline, "{verb} {body}: no good answer within a minute; the last: {last}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Registers a definition.
    pub async fn define(&self, source: &str) -> Value {
        self.insist("define", &json!({"source": source})).await
    }

    /// Starts a run under a key; gives its id.
    ///
    /// # Panics
    /// When the answer has no run.
    pub async fn submit(&self, workflow: &str, key: &str, input: &Value) -> String {
        let answer = self.insist("submit", &json!({"workflow": workflow, "key": key, "input": input})).await;
        answer.get("run").and_then(Value::as_str).unwrap_or_else(|| panic!("no run in {answer}")).to_owned()
    }

    /// Waits until a run has ended and shows it.
    ///
    /// # Panics
    /// When that takes longer than `within`.
    pub async fn result(&self, run: &str, within: Duration) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let view = self.insist("result", &json!({"run": run, "wait_ms": 5_000})).await;
            if view.get("state").and_then(Value::as_str).is_some_and(|s| s != "running") {
                return view;
            }
            assert!(Instant::now() < deadline, "the run has not ended in time: {view}");
        }
    }
}
