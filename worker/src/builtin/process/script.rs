//! The step `script`: one script in the shape of the standard's `run: script`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use super::interpreter::Language;
use super::{Common, Program, RunRules, Runnable};
use crate::builtin::endpoint::{Endpoint, Kept, fetch, wrong};
use crate::builtin::wire::Wire;
use crate::context::Context;
use crate::failure::Failure;
use crate::handler::Handler;

/// The name of this step.
pub const KIND: &str = "script";

/// The step. It refuses every script unless the rules allow it. Scripts that were fetched are kept for a while.
#[derive(Clone, Debug)]
pub struct ScriptStep {
    rules: RunRules,
    wire: Wire,
    fetched: Arc<Kept<String>>,
}

/// `run.script` with `return`, all expressions evaluated.
#[derive(Debug, Deserialize)]
pub struct ScriptCall {
    language: Language,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    source: Option<Value>,
    #[serde(flatten)]
    common: Common,
}

impl ScriptStep {
    /// The step under these rules; sources are fetched over `wire`.
    #[must_use]
    pub fn new(rules: RunRules, wire: Wire) -> Self {
        Self { rules, wire, fetched: Arc::default() }
    }

    async fn code(&self, ctx: &Context, code: Option<String>, source: Option<Value>) -> Result<Arc<String>, Failure> {
        let source = match (code, source) {
            (Some(code), _) => return Ok(Arc::new(code)),
            (None, Some(source)) => source,
            (None, None) => return Err(wrong("the script has neither `code` nor `source`".into())),
        };
        let endpoint: Endpoint = serde_json::from_value(source.clone()).map_err(|e| wrong(format!("`source`: {e}")))?;
        let fetched = async {
            String::from_utf8(fetch(&self.wire, ctx, &endpoint).await?).map_err(|_| {
                let text = "the script at `source` is no UTF-8 text";
                Failure::new(Problem::standard(Standard::Communication, text), false)
            })
        };
        self.fetched.get(&source, fetched).await
    }
}

impl Handler<ScriptCall, Value> for ScriptStep {
    async fn run(&self, ctx: Context, call: ScriptCall) -> Result<Value, Failure> {
        self.rules.check(Runnable::Script, &ctx)?;
        let interpreter = call.language.interpreter()?;
        let code = self.code(&ctx, call.code, call.source).await?;
        let mut program = Program::new("the script".into(), interpreter)?;
        let file = program.folder.path().join(call.language.file());
        tokio::fs::write(&file, code.as_bytes())
            .await
            .map_err(|e| Failure::retryable(format!("the script cannot be written to {}: {e}", file.display())))?;
        program.arguments = vec![file.display().to_string()];
        call.common.run(&self.rules, &ctx, program).await
    }
}
