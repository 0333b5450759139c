//! Which model the step `llm` of our own workers asks: the configured one, or rules that stand in for it.

use stepmill_worker::WorkerBuilder;
use stepmill_worker::builtin::{self, LlmConfig, LlmStep, RunRules, llm};
use stepmill_worker::model::ScriptSource;

use crate::error::CliError;

/// What answers where the environment names no model.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fallback {
    /// Nothing: the step fails and says what to set.
    None,
    /// These rules.
    Rules(&'static str),
}

/// Registers all built-in steps; `rules` says what may be started on this machine.
pub(crate) fn built_in(builder: WorkerBuilder, fallback: Fallback, rules: RunRules) -> Result<WorkerBuilder, CliError> {
    let wrong = |e: builtin::BuiltinError| CliError::new(e.to_string());
    let step = LlmStep::new(config(fallback)).map_err(wrong)?;
    Ok(builtin::register_calls(builder, rules).map_err(wrong)?.step(llm::KIND, step))
}

fn config(fallback: Fallback) -> LlmConfig {
    let mut config = LlmConfig::from_env();
    if let Fallback::Rules(rules) = fallback {
        config.script.get_or_insert_with(|| ScriptSource::Text(rules.to_owned()));
    }
    config
}

/// Says which model answers.
pub(crate) fn in_use(fallback: Fallback) -> String {
    let config = config(fallback);
    let named = config.model.as_deref().unwrap_or("the model that a step names");
    match (&config.base_url, &config.api_key, &config.script) {
        (Some(url), _, _) => format!("{named} at {url}"),
        (None, Some(_), _) => format!("{named} at OpenAI"),
        (None, None, Some(ScriptSource::File(path))) => {
            format!("a scripted model with the rules of {}", path.display())
        }
        (None, None, Some(ScriptSource::Text(_))) => {
            "a scripted model with the rules of the support-ticket example; set STEPMILL_LLM_BASE_URL or \
             STEPMILL_LLM_API_KEY for a real one"
                .into()
        }
        (None, None, None) => "no model; set STEPMILL_LLM_BASE_URL or STEPMILL_LLM_API_KEY".into(),
    }
}
