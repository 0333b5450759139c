//! The step `shell`: one shell command in the shape of the standard's `run: shell`.

use serde::Deserialize;
use serde_json::Value;

use super::{Common, Program, RunRules, Runnable};
use crate::context::Context;
use crate::failure::Failure;
use crate::handler::Handler;

/// The name of this step.
pub const KIND: &str = "shell";

/// The step. It refuses every command unless the rules allow it.
#[derive(Clone, Debug)]
pub struct ShellStep {
    rules: RunRules,
}

/// `run.shell` with `return`, all expressions evaluated.
#[derive(Debug, Deserialize)]
pub struct ShellCall {
    command: String,
    #[serde(flatten)]
    common: Common,
}

impl ShellStep {
    /// The step under these rules.
    #[must_use]
    pub const fn new(rules: RunRules) -> Self {
        Self { rules }
    }
}

impl Handler<ShellCall, Value> for ShellStep {
    async fn run(&self, ctx: Context, call: ShellCall) -> Result<Value, Failure> {
        self.rules.check(Runnable::Shell, &ctx)?;
        let mut program = Program::new("the command".into(), "/bin/sh")?;
        program.arguments = vec!["-c".into(), call.command, "sh".into()];
        call.common.run(&self.rules, &ctx, program).await
    }
}
