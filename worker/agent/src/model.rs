//! A language model, behind one trait: a service over HTTP, a scripted one, or one of the user's own.

use stepmill_protocol::link::BoxFuture;
use stepmill_worker_engine::model::{ModelAnswer, ModelError, ModelRequest};

/// One call of a model.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What is asked.
    pub request: &'a ModelRequest,
    /// The same for every try at this call and for no other; goes along as `Idempotency-Key`.
    pub key: &'a str,
    /// Which try this is, from 1.
    pub tries: u32,
    /// Who reads along.
    pub tokens: Option<&'a dyn TokenSink>,
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("model", &self.request.model).field("key", &self.key).finish_non_exhaustive()
    }
}

/// Gets an answer's text while it comes. It must not wait: whoever reads slowly misses something, and never delays a call.
pub trait TokenSink: Send + Sync {
    /// An answer begins; what came before belongs to one that was given up.
    fn begin(&self, model: &str);

    /// More text.
    fn text(&self, text: &str);
}

/// A language model.
pub trait Model: Send + Sync {
    /// Answers one request, once: repetitions are the caller's business. Dropping the future ends the call.
    fn complete<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<ModelAnswer, ModelError>>;
}
