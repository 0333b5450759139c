//! The trait that users implement, its function form, and the form in which a worker keeps handlers.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stepmill_protocol::Problem;
use stepmill_protocol::link::BoxFuture;
use stepmill_protocol::problem::Standard;

use crate::context::Context;
use crate::failure::Failure;

/// Makes attempts at one kind of step. Implemented by every `async fn(Context, In) -> Result<Out, Failure>`; implement
/// it on a struct where a handler needs something to work with:
///
/// ```
/// use stepmill_worker::{Context, Failure, Handler};
///
/// struct Greeter { greeting: String }
///
/// impl Handler<String, String> for Greeter {
///     async fn run(&self, _ctx: Context, name: String) -> Result<String, Failure> {
///         Ok(format!("{}, {name}!", self.greeting))
///     }
/// }
/// ```
pub trait Handler<In, Out>: Send + Sync + 'static {
    /// Makes one attempt. It may be dropped at any `await` (deadline, end of the worker's grace time) and, after a
    /// crash, made again: whatever must happen once needs the context's idempotency key. A panic is caught and ends the
    /// step: it is most often a bug that every attempt would meet again.
    fn run(&self, ctx: Context, input: In) -> impl Future<Output = Result<Out, Failure>> + Send;
}

impl<F, Fut, In, Out> Handler<In, Out> for F
where
    F: Fn(Context, In) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Out, Failure>> + Send,
{
    fn run(&self, ctx: Context, input: In) -> impl Future<Output = Result<Out, Failure>> + Send {
        self(ctx, input)
    }
}

/// A handler that takes and gives JSON values.
pub(crate) trait AnyHandler: Send + Sync {
    fn run<'a>(&'a self, ctx: Context, input: Value) -> BoxFuture<'a, Result<Value, Failure>>;
}

/// Puts serde around a typed handler.
pub(crate) struct Typed<H, In, Out> {
    handler: H,
    types: PhantomData<fn(In) -> Out>,
}

impl<H, In, Out> Typed<H, In, Out> {
    pub(crate) fn new(handler: H) -> Self {
        Self { handler, types: PhantomData }
    }
}

impl<H, In, Out> AnyHandler for Typed<H, In, Out>
where
    H: Handler<In, Out>,
    In: DeserializeOwned + Send + 'static,
    Out: Serialize + Send + 'static,
{
    fn run<'a>(&'a self, ctx: Context, input: Value) -> BoxFuture<'a, Result<Value, Failure>> {
        Box::pin(async move {
            let input = read(input).map_err(|e| {
                let text = format!("the input does not fit step `{}`: {e}; correct the call's `with`", ctx.kind());
                Failure::new(Problem::standard(Standard::Validation, text), false)
            })?;
            let kind = ctx.kind().clone();
            let output = self.handler.run(ctx, input).await?;
            write(output).map_err(|e| {
                let text = format!("the result of step `{kind}` has no JSON form: {e}; correct the handler");
                Failure::new(Problem::standard(Standard::Runtime, text), false)
            })
        })
    }
}

/// What stands in `place`, where it is of the other type already.
fn same<A: 'static, B: 'static>(place: &mut Option<A>) -> Option<B> {
    (place as &mut dyn Any).downcast_mut::<Option<B>>()?.take()
}

/// A value that is wanted as it is need not be taken apart and put together again.
fn read<In: DeserializeOwned + 'static>(input: Value) -> serde_json::Result<In> {
    let mut place = Some(input);
    same(&mut place).map_or_else(|| serde_json::from_value(place.unwrap_or_default()), Ok)
}

fn write<Out: Serialize + 'static>(output: Out) -> serde_json::Result<Value> {
    let mut place = Some(output);
    same(&mut place).map_or_else(|| serde_json::to_value(place), Ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_pass_as_they_are_and_all_else_through_serde() {
        let value = json!({"a": [1, "two", null]});
        assert_eq!(read::<Value>(value.clone()).unwrap(), value);
        assert_eq!(write(value.clone()).unwrap(), value);
        assert_eq!(read::<Vec<u8>>(json!([1, 2])).unwrap(), [1, 2]);
        assert_eq!(write(vec![1, 2]).unwrap(), json!([1, 2]));
        assert!(read::<String>(value).is_err());
    }
}
