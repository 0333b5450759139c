//! Which models the step `llm` of our own workers asks: the configured ones, or rules that stand in for them.

use std::path::Path;

use stepmill_agent::settings::ProviderFormat;
use stepmill_agent::{LlmStep, ModelSettings, ScriptSource, llm};
use stepmill_worker::builtin::{self, RunRules};
use stepmill_worker::{Secrets, WorkerBuilder};

use crate::config::Settings;
use crate::error::CliError;

/// What answers where nobody has configured a model.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fallback {
    /// Nothing: the step fails and says what to set.
    None,
    /// These rules.
    Rules(&'static str),
}

/// Registers all built-in steps; `rules` says what may be started on this machine.
pub(crate) fn built_in(
    builder: WorkerBuilder,
    settings: &Settings,
    fallback: Fallback,
    rules: RunRules,
) -> Result<WorkerBuilder, CliError> {
    let secrets = Secrets::from_env(settings.secrets_dir.clone());
    let step = LlmStep::new(&models(settings.models.as_deref(), fallback)?, secrets);
    let step = step.map_err(|e| CliError::new(e.to_string()))?;
    let builder = builtin::register_calls(builder, rules).map_err(|e| CliError::new(e.to_string()))?;
    Ok(builder.step(llm::KIND, step))
}

fn models(file: Option<&Path>, fallback: Fallback) -> Result<ModelSettings, CliError> {
    let settings = ModelSettings::from_env(file)
        .map_err(|e| CliError::usage(e.to_string(), "the file is named by `models` or STEPMILL_MODELS"))?;
    Ok(match fallback {
        Fallback::None => settings,
        Fallback::Rules(rules) => settings.or_rules(ScriptSource::Text(rules.to_owned())),
    })
}

/// Says which model answers.
pub(crate) fn in_use(settings: &Settings, fallback: Fallback) -> Result<String, CliError> {
    let settings = models(settings.models.as_deref(), fallback)?;
    let named = settings.model.as_deref().unwrap_or("the model that a step names");
    let Some((name, provider)) = settings.usual() else {
        let names: Vec<&str> = settings.providers.keys().map(String::as_str).collect();
        return Ok(match names.as_slice() {
            [] => "no model; set STEPMILL_LLM_BASE_URL or STEPMILL_LLM_API_KEY".into(),
            names => format!("models of {}", names.join(", ")),
        });
    };
    Ok(match (provider.format, &provider.rules, &provider.script) {
        (ProviderFormat::Scripted, Some(ScriptSource::Text(_)), _) => {
            "a scripted model with the rules of the support-ticket example; set STEPMILL_LLM_BASE_URL or \
             STEPMILL_LLM_API_KEY for a real one"
                .into()
        }
        (ProviderFormat::Scripted, Some(ScriptSource::File(path)), _)
        | (ProviderFormat::Scripted, None, Some(path)) => {
            format!("a scripted model with the rules of {}", path.display())
        }
        (
            ProviderFormat::Scripted
            | ProviderFormat::OpenaiChat
            | ProviderFormat::OpenaiResponses
            | ProviderFormat::Anthropic,
            _,
            _,
        ) => format!("{named} of provider `{name}` at {}", provider.url()),
    })
}
