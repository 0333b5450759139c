//! Runs a handler on a task: secrets in, panics caught, deadline kept, result measured, secrets out of error texts.

use std::any::Any;
use std::io::{Error, Write};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde_json::Value;
use stepmill_protocol::limit::VALUE_BYTES_MAX;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{AttemptNo, Millis, Problem, Task};
use stepmill_worker_engine::{Fault, Finish};

use crate::clock;
use crate::context::Context;
use crate::failure::Failure;
use crate::handler::AnyHandler;
use crate::retry::step_delay;
use crate::secret::Secrets;

/// Makes one attempt and says how it went.
pub(crate) async fn perform(
    handler: &dyn AnyHandler,
    secrets: &Secrets,
    task: &Task,
    input: Value,
    ctx: Context,
) -> Finish {
    let began = Instant::now();
    let result = attempt(handler, secrets, task, input, &ctx).await;
    let backoff = match (&result, &task.retry) {
        (Err(_), Some(policy)) => step_delay(policy, ctx.attempt(), chance()),
        (Ok(_) | Err(_), Some(_) | None) => Millis(0),
    };
    Finish {
        result: result.map_err(Failure::into_fault),
        took: began.elapsed().into(),
        usage: ctx.usage(),
        now: clock::now(),
        backoff,
    }
}

/// A task for which there is no handler: the registry changed under a running worker, which it cannot.
pub(crate) fn no_handler(task: &Task, attempt: AttemptNo) -> Finish {
    let text = format!("no handler for kind `{}` when attempt {attempt} was about to begin", task.kind);
    let problem = Problem::standard(Standard::Configuration, text);
    Finish {
        result: Err(Fault { problem, retryable: false, retry_after: None }),
        took: Millis(0),
        usage: None,
        now: clock::now(),
        backoff: Millis(0),
    }
}

async fn attempt(
    handler: &dyn AnyHandler,
    secrets: &Secrets,
    task: &Task,
    mut input: Value,
    ctx: &Context,
) -> Result<Value, Failure> {
    if let Some(scope) = &task.secrets {
        ctx.reveal(secrets.fill(scope, &mut input).await?);
    }
    let result = in_time(handler, input, ctx).await.and_then(|output| measured(output, ctx));
    result.map_err(|mut failure| {
        ctx.hide_in(failure.problem_mut());
        failure
    })
}

async fn in_time(handler: &dyn AnyHandler, input: Value, ctx: &Context) -> Result<Value, Failure> {
    let call = caught(handler, input, ctx.clone());
    let Some(left) = ctx.remaining() else { return call.await };
    if left > Duration::ZERO
        && let Ok(result) = tokio::time::timeout(left, call).await
    {
        return result;
    }
    ctx.cancellation().cancel();
    let noted = ctx.last_progress().map(|note| format!("; it last said: {note}")).unwrap_or_default();
    let text = format!("attempt {} was not through when the step's timeout ended{noted}", ctx.attempt());
    Err(Failure::new(Problem::standard(Standard::Timeout, text), false))
}

/// A panic is most often a bug that every attempt would meet again, so it ends the step.
async fn caught(handler: &dyn AnyHandler, input: Value, ctx: Context) -> Result<Value, Failure> {
    let kind = ctx.kind().clone();
    // Nothing that the handler may have left half done is seen afterwards: its future is dropped.
    match AssertUnwindSafe(async move { handler.run(ctx, input).await }).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            Err(Failure::terminal(format!("the handler of `{kind}` panicked: {}; correct it", panic_text(&*panic))))
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "(no text)",
    }
}

fn measured(output: Value, ctx: &Context) -> Result<Value, Failure> {
    if fits(&output, VALUE_BYTES_MAX) {
        return Ok(output);
    }
    let text = format!(
        "the result of `{}` has more than {VALUE_BYTES_MAX} bytes (VALUE_BYTES_MAX); store it elsewhere and return a \
         reference to it",
        ctx.kind()
    );
    Err(Failure::new(Problem::standard(Standard::Validation, text), false))
}

/// Whether a value's MessagePack form has at most `max` bytes; writes nothing.
pub(crate) fn fits(value: &Value, max: usize) -> bool {
    struct Counter(usize);
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| Error::other("too large"))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    rmp_serde::encode::write_named(&mut Counter(max), value).is_ok()
}

/// An evenly spread number, for jitter.
fn chance() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_measured_as_they_travel() {
        for value in [json!(null), json!("x".repeat(300)), json!({"a": [1, 2.5, -7]})] {
            let size = stepmill_protocol::codec::pack(&value).unwrap().len();
            assert!(fits(&value, size) && !fits(&value, size - 1), "{value}");
        }
    }
}
