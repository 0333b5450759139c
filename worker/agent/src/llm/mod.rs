//! The step `llm`: asks a model, checks the answer, asks once more where its form is wrong, and goes on to the next model
//! of its chain where one cannot help.

mod check;
mod prompt;
pub(crate) mod repair;
mod spent;
mod with;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;
use stepmill_worker::{Context, Failure, Handler, Secrets};
use stepmill_worker_engine::model::{ModelAnswer, ModelError, ModelErrorKind, ModelRequest};

pub use prompt::{Prompt, Template};
pub use spent::{CallUse, LlmUsage};
pub use with::LlmCall;

use crate::cache::{AnswerCache, MemoryCache};
use crate::limit;
use crate::model::{Call, Model, TokenSink};
use crate::provider::{Found, Providers, SetupError};
use crate::settings::ModelSettings;
use crate::tokens::Readers;
use check::Checker;
use spent::Spent;

/// The name of this step.
pub const KIND: &str = "llm";

/// The step.
pub struct LlmStep {
    providers: Arc<Providers>,
    cache: Arc<dyn AnswerCache>,
    readers: Option<Arc<dyn Readers>>,
}

impl std::fmt::Debug for LlmStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LlmStep").field("providers", &self.providers).finish_non_exhaustive()
    }
}

/// What the step gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlmOutput {
    /// The answer: text, or the value where a schema was given.
    pub content: Value,
    /// The model that gave it.
    pub model: String,
    /// What all calls used up.
    pub usage: LlmUsage,
    /// Why the answer ended.
    pub finish_reason: String,
    /// The models that were asked before, and why that was not enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<TriedModel>,
}

/// A model that could not help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedModel {
    /// `provider/model`.
    pub model: String,
    /// Why not.
    pub error: ModelError,
}

impl LlmStep {
    /// The step over the providers of these settings.
    ///
    /// # Errors
    /// [`SetupError`] when the settings are wrong or the HTTP client cannot be made.
    pub fn new(settings: &ModelSettings, secrets: Secrets) -> Result<Self, SetupError> {
        let cache = Arc::new(MemoryCache::new(settings.cache.entries, settings.cache.mib * 1024 * 1024));
        Ok(Self { providers: Arc::new(Providers::new(settings, secrets)?), cache, readers: None })
    }

    /// The step over a model of your own.
    ///
    /// # Errors
    /// [`SetupError`] when the HTTP client cannot be made.
    pub fn with_model(model: Arc<dyn Model>, name: &str) -> Result<Self, SetupError> {
        let cache = Arc::new(MemoryCache::new(limit::CACHE_ENTRIES, limit::CACHE_MIB * 1024 * 1024));
        Ok(Self { providers: Arc::new(Providers::with_model(model, name)?), cache, readers: None })
    }

    /// The same step with another place for answers.
    #[must_use]
    pub fn cache(mut self, cache: Arc<dyn AnswerCache>) -> Self {
        self.cache = cache;
        self
    }

    /// The same step with readers of the text while it comes.
    #[must_use]
    pub fn readers(mut self, readers: Arc<dyn Readers>) -> Self {
        self.readers = Some(readers);
        self
    }
}

impl Handler<LlmCall, LlmOutput> for LlmStep {
    async fn run(&self, ctx: Context, call: LlmCall) -> Result<LlmOutput, Failure> {
        let total = self.providers.total();
        let done = tokio::time::timeout(total, self.answer(&ctx, call)).await;
        done.unwrap_or_else(|_| {
            let text = format!("all calls of the step together took more than {total:?} (`timeouts.total_s`)");
            Err(failure(&ModelError::new(ModelErrorKind::Timeout, text)))
        })
    }
}

/// What is asked of each model of the chain.
struct Asked<'a> {
    ctx: &'a Context,
    request: ModelRequest,
    checker: Option<Checker>,
    repair: bool,
    keep_for: Option<Duration>,
    tokens: Option<Arc<dyn TokenSink>>,
}

impl LlmStep {
    async fn answer(&self, ctx: &Context, call: LlmCall) -> Result<LlmOutput, Failure> {
        let chain = call.chain(&self.providers).map_err(|text| wrong(&text))?;
        let checker = call.schema.as_ref().map(Checker::new).transpose().map_err(|text| wrong(&text))?;
        let (repair, keep_for) = (call.repair, call.cache_s.map(Duration::from_secs));
        let tokens = self.readers.as_ref().and_then(|readers| readers.of(ctx));
        let request = call.request(checker.as_ref()).map_err(|text| wrong(&text))?;
        let asked = Asked { ctx, request, checker, repair, keep_for, tokens };
        let mut spent = Spent::new(self.providers.prices(), ctx);
        let mut tried: Vec<TriedModel> = Vec::new();
        for found in &chain {
            match self.ask(found, &asked, &mut spent).await {
                Ok((answer, content)) => {
                    return Ok(LlmOutput {
                        content,
                        model: answer.model,
                        usage: spent.usage,
                        finish_reason: answer.stop.as_str().to_owned(),
                        tried,
                    });
                }
                Err(error) => tried.push(TriedModel { model: format!("{found:?}"), error }),
            }
        }
        Err(given_up(&tried, &spent.usage))
    }

    /// One model of the chain: its answer, mended once where its form is wrong.
    async fn ask(
        &self,
        found: &Found,
        asked: &Asked<'_>,
        spent: &mut Spent<'_>,
    ) -> Result<(ModelAnswer, Value), ModelError> {
        let request = ModelRequest { model: found.name.clone(), ..asked.request.clone() };
        let address = asked.keep_for.map(|_| format!("{}/{}", found.provider, crate::address::of(&request)));
        if let Some(address) = &address
            && let Some(answer) = self.cache.get(address).await
        {
            let content = check::content(&answer, asked.checker.as_ref())?;
            spent.keep(found, &answer);
            return Ok((answer, content));
        }
        let answer = call(found, asked, &request, spent, false).await?;
        let (answer, content) = match check::content(&answer, asked.checker.as_ref()) {
            Ok(content) => (answer, content),
            Err(error) if asked.repair && repair::can_mend(error.kind) => {
                let again = repair::follow_up(&request, &answer, &error);
                let answer = call(found, asked, &again, spent, true).await?;
                let content = check::content(&answer, asked.checker.as_ref())?;
                (answer, content)
            }
            Err(error) => return Err(error),
        };
        if let (Some(address), Some(keep_for)) = (address, asked.keep_for) {
            self.cache.put(address, answer.clone(), keep_for).await;
        }
        Ok((answer, content))
    }
}

async fn call(
    found: &Found,
    asked: &Asked<'_>,
    request: &ModelRequest,
    spent: &mut Spent<'_>,
    repair: bool,
) -> Result<ModelAnswer, ModelError> {
    let ctx = asked.ctx;
    // Another request is another call, which a service must not take for a repetition of the first.
    let key = match spent.usage.model_calls {
        0 => ctx.idempotency_key().to_owned(),
        before => format!("{}#{before}", ctx.idempotency_key()),
    };
    let tries = ctx.pass().0.saturating_add(ctx.attempt().0);
    spent.begin();
    let answer = found.model.complete(Call { request, key: &key, tries, tokens: asked.tokens.as_deref() }).await?;
    spent.add(found, &answer, repair);
    Ok(answer)
}

fn wrong(text: &str) -> Failure {
    Failure::new(Problem::standard(Standard::Configuration, text), false)
}

fn failure(error: &ModelError) -> Failure {
    let failure = Failure::new(error.problem(), error.is_retryable());
    match error.retry_after.filter(|_| error.is_retryable()) {
        Some(wait) => failure.retry_after(wait.into()),
        None => failure,
    }
}

/// The last error says what the step failed with. Another attempt can help when it could help with any of the models, and
/// as soon as the first of these will listen again.
fn given_up(tried: &[TriedModel], usage: &LlmUsage) -> Failure {
    let Some(last) = tried.last() else { return wrong("no model was asked") };
    let mut problem = last.error.problem();
    let mut extra = json!({ "usage": usage });
    if let Some(Value::Object(more)) = problem.extra.take() {
        more.into_iter().for_each(|(name, value)| extra[name] = value);
    }
    if tried.len() > 1 {
        extra["tried"] = json!(tried);
    }
    problem.extra = Some(extra);
    let waits = tried.iter().filter(|t| t.error.is_retryable()).map(|t| t.error.retry_after);
    let failure = Failure::new(problem, tried.iter().any(|t| t.error.is_retryable()));
    match waits.min_by_key(|wait| wait.map_or(0, |w| w.0)).flatten() {
        Some(wait) => failure.retry_after(wait.into()),
        None => failure,
    }
}
