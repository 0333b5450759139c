//! Processes that a worker starts on its own machine: scripts, shell commands and MCP servers. All of it is off unless the
//! worker allows it, and everything that is started has limits and goes with its whole process group.

mod group;
mod interpreter;
mod rules;

pub mod script;
pub mod shell;

pub(super) use group::{Group, Program};
pub use rules::{RunRules, Runnable};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use self::group::{Ended, Outputs};
use super::http_call::plain;
use crate::context::{Context, quote};
use crate::failure::Failure;

/// What scripts and commands have in common.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Common {
    #[serde(default)]
    stdin: Option<Value>,
    #[serde(default)]
    arguments: Vec<Value>,
    #[serde(default)]
    environment: Map<String, Value>,
    #[serde(default, rename = "return")]
    returns: Returns,
    /// There where nobody waits for the end: what to give back instead.
    #[serde(default, rename = "passOn", deserialize_with = "even_null")]
    pass_on: Option<Value>,
}

/// `return:`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Returns {
    #[default]
    Stdout,
    Stderr,
    Code,
    All,
    None,
}

fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Common {
    /// Runs a program with these arguments after its own.
    async fn run(self, rules: &RunRules, ctx: &Context, mut program: Program) -> Result<Value, Failure> {
        program.arguments.extend(self.arguments.iter().map(plain));
        for (name, value) in self.environment.iter().filter(|(_, value)| !value.is_null()) {
            program.environment.push((name.clone(), plain(value)));
        }
        program.stdin = self.stdin.as_ref().filter(|value| !value.is_null()).map(plain);
        program.environment.push(("STEPMILL_IDEMPOTENCY_KEY".into(), ctx.idempotency_key().to_owned()));
        if let Some(input) = self.pass_on {
            group::detach(rules, program)?;
            return Ok(ctx.hide_secrets(input));
        }
        let what = program.what.clone();
        let ended = group::run(rules, program).await?;
        let value = output(self.returns, &what, ended).map_err(|mut failure| {
            ctx.hide_in(failure.problem_mut());
            failure
        })?;
        Ok(ctx.hide_secrets(value))
    }
}

/// What the end of a process gives. A code that nobody looks at must not be lost: it is an error.
fn output(returns: Returns, what: &str, ended: Ended) -> Result<Value, Failure> {
    let Ended { code, outputs: Outputs { stdout, stderr } } = ended;
    if code != 0 && !matches!(returns, Returns::Code | Returns::All) {
        let text = format!("{what} ended with code {code}: {}", last_of(&stderr));
        let problem = Problem::standard(Standard::Runtime, text);
        return Err(Failure::new(problem, true).with_extra(json!({ "code": code, "stderr": quote(&stderr) })));
    }
    Ok(match returns {
        Returns::Stdout => stdout.into(),
        Returns::Stderr => stderr.into(),
        Returns::Code => code.into(),
        Returns::All => json!({ "code": code, "stdout": stdout, "stderr": stderr }),
        Returns::None => Value::Null,
    })
}

/// The last line that says something.
fn last_of(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing on stderr");
    quote(line.trim())
}
