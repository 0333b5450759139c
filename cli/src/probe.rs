//! Steps for benches and for tests from outside: `noop`, `sleep`, `random` and `fibonacci`. They do next to no work of their own.

use std::io::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepmill_worker::{Context, Failure, WorkerBuilder};

/// The file to which `random` appends what it gave.
const SIDE_FILE: &str = "STEPMILL_SIDE_FILE";

/// Registers the steps.
pub(crate) fn steps(builder: WorkerBuilder) -> WorkerBuilder {
    builder.step("noop", noop).step("sleep", sleep).step("random", random).step("fibonacci", fibonacci)
}

/// Gives back its input.
async fn noop(_ctx: Context, input: Value) -> Result<Value, Failure> {
    std::future::ready(Ok(input)).await
}

#[derive(Debug, Deserialize)]
struct Sleep {
    /// How long, in milliseconds.
    ms: u64,
}

/// Takes its time, then gives nothing.
async fn sleep(_ctx: Context, input: Sleep) -> Result<Value, Failure> {
    tokio::time::sleep(Duration::from_millis(input.ms)).await;
    Ok(Value::Null)
}

#[derive(Debug, Deserialize)]
struct Fibonacci {
    /// Which number of the series; at most 30.
    n: u32,
}

/// Computes a number of the series, the slow way.
async fn fibonacci(_ctx: Context, input: Fibonacci) -> Result<u64, Failure> {
    fn number(n: u32) -> u64 {
        if n < 2 { u64::from(n) } else { number(n - 1) + number(n - 2) }
    }
    std::future::ready(Ok(number(input.n.min(30)))).await
}

/// What `random` writes to the side file.
#[derive(Debug, Serialize)]
struct Trace<'a> {
    key: &'a str,
    pass: u32,
    value: &'a str,
    /// Milliseconds since 1970, for whoever compares the file with the log.
    at_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Random {
    /// How long it takes after the trace is written, in milliseconds.
    #[serde(default)]
    ms: u64,
}

/// Gives a fresh random value, and leaves a trace of that outside of the system: whoever compares the file with the log sees
/// whether a step ran again after its report was stored.
async fn random(ctx: Context, input: Random) -> Result<Value, Failure> {
    let value = uuid::Uuid::new_v4().simple().to_string();
    if let Some(path) = std::env::var_os(SIDE_FILE) {
        let trace =
            Trace { key: ctx.idempotency_key(), pass: ctx.pass().0, value: &value, at_ms: crate::when::now().0 };
        let mut line = serde_json::to_vec(&trace).map_err(Failure::terminal)?;
        line.push(b'\n');
        // One write in append mode, so that lines of several processes do not mix.
        let written = tokio::task::spawn_blocking(move || {
            std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(&line)
        });
        written.await.map_err(Failure::retryable)?.map_err(Failure::retryable)?;
    }
    if input.ms > 0 {
        tokio::time::sleep(Duration::from_millis(input.ms)).await;
    }
    Ok(Value::String(value))
}
