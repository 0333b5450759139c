//! The settings of model calls: which services there are, how long what may take, where prices and cassettes are. A YAML
//! file, and a few variables for those who need no file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use stepmill_worker_engine::model::Format;

use crate::limit;
use crate::provider::KeyRef;
use crate::script::ScriptSource;
use crate::wire::{MaxTokensName, Structured};

/// Where a key without a base URL goes.
const OPENAI: &str = "https://api.openai.com/v1";
const ANTHROPIC: &str = "https://api.anthropic.com/v1";
/// The provider that the variables make.
const FROM_VARIABLES: &str = "default";

/// All settings. A file, with everything that it may hold:
///
/// ```
/// # let text = r##"
/// provider: openai              # whose models are meant where a name says nothing else; unless said, the only one
/// model: gpt-5-mini             # where a step names none
/// providers:
///   openai:
///     format: openai-chat       # openai-responses, anthropic, scripted
///     key: openai               # a secret: STEPMILL_SECRET_OPENAI, or a file of the folder of secrets
///     max_tokens_name: max_completion_tokens
///   claude: { format: anthropic, key: { env: ANTHROPIC_API_KEY } }     # or a variable
///   here:
///     format: openai-chat
///     base_url: http://localhost:11434/v1
///     stream: true              # false for services that cannot
///     structured: prompt        # services that do not know response_format; unless said: native
///     headers: { x-team: support }
///     timeouts: { first_token_s: 300 }          # for this one
///   rules: { format: scripted, script: rules.yaml }
/// timeouts: { connect_s: 10, first_token_s: 120, idle_s: 60, attempt_s: 300, total_s: 900 }
/// prices: prices.yaml           # added to those that come with us, and before them
/// cache: { entries: 1000, mib: 64 }             # answers that a worker keeps, for calls with `cache_s`
/// cassette: replay:answers.jsonl                # record:FILE, fill:FILE
/// # "##;
/// # stepmill_agent::ModelSettings::parse(text).unwrap();
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// Whose models are meant where a name says nothing else.
    pub provider: Option<String>,
    /// The model, where a step names none.
    pub model: Option<String>,
    /// The services, by name.
    pub providers: BTreeMap<String, ProviderSettings>,
    /// How long what may take.
    pub timeouts: TimeoutSettings,
    /// A file of prices.
    pub prices: Option<PathBuf>,
    /// Answers that are kept.
    pub cache: CacheSettings,
    /// A cassette: `record:FILE`, `replay:FILE` or `fill:FILE`.
    pub cassette: Option<String>,
}

/// One service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// What it speaks.
    pub format: ProviderFormat,
    /// Where it is; the format's maker unless said.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Where its key is.
    #[serde(default)]
    pub key: Option<KeyRef>,
    /// More headers; no place for keys.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether answers come as streams.
    #[serde(default = "yes")]
    pub stream: bool,
    /// How an answer's schema is said.
    #[serde(default)]
    pub structured: Structured,
    /// The name of the limit of an answer's tokens, in chat completions. OpenAI's own service gets the newer one.
    #[serde(default)]
    pub max_tokens_name: Option<MaxTokensName>,
    /// Whether to mark what the service should keep of a conversation that goes on.
    #[serde(default = "yes")]
    pub prompt_cache: bool,
    /// How long what may take, where this one differs.
    #[serde(default)]
    pub timeouts: TimeoutSettings,
    /// The rules, for `scripted`.
    #[serde(default)]
    pub script: Option<PathBuf>,
    /// The rules themselves.
    #[serde(skip)]
    pub rules: Option<ScriptSource>,
}

const fn yes() -> bool {
    true
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderFormat {
    /// OpenAI's chat completions, which most services and local servers speak.
    OpenaiChat,
    /// OpenAI's responses.
    OpenaiResponses,
    /// Anthropic's messages.
    Anthropic,
    /// Nothing: a model that answers by rules, in this process.
    Scripted,
}

impl ProviderFormat {
    /// The wire format, where there is a wire.
    #[must_use]
    pub const fn wire(self) -> Option<Format> {
        match self {
            Self::OpenaiChat => Some(Format::OpenaiChat),
            Self::OpenaiResponses => Some(Format::OpenaiResponses),
            Self::Anthropic => Some(Format::Anthropic),
            Self::Scripted => None,
        }
    }
}

/// How long what may take, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutSettings {
    /// Until a connection stands.
    pub connect_s: Option<u64>,
    /// Until the first token of a stream.
    pub first_token_s: Option<u64>,
    /// Between two pieces of an answer.
    pub idle_s: Option<u64>,
    /// One call.
    pub attempt_s: Option<u64>,
    /// All calls of a step.
    pub total_s: Option<u64>,
}

impl TimeoutSettings {
    /// What is not said here, as `other` says it.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            connect_s: self.connect_s.or(other.connect_s),
            first_token_s: self.first_token_s.or(other.first_token_s),
            idle_s: self.idle_s.or(other.idle_s),
            attempt_s: self.attempt_s.or(other.attempt_s),
            total_s: self.total_s.or(other.total_s),
        }
    }

    /// Until a connection stands.
    #[must_use]
    pub fn connect(&self) -> Duration {
        self.connect_s.map_or(limit::CONNECT_TIMEOUT, Duration::from_secs)
    }

    /// All calls of a step.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.total_s.map_or(limit::TOTAL_TIMEOUT, Duration::from_secs)
    }

    /// Those of one call.
    #[must_use]
    pub fn call(&self) -> crate::provider::Timeouts {
        let usual = crate::provider::Timeouts::default();
        crate::provider::Timeouts {
            first_token: self.first_token_s.map_or(usual.first_token, Duration::from_secs),
            idle: self.idle_s.map_or(usual.idle, Duration::from_secs),
            attempt: self.attempt_s.map_or(usual.attempt, Duration::from_secs),
        }
    }
}

/// Answers that a worker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// How many.
    pub entries: usize,
    /// MiB of them.
    pub mib: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { entries: limit::CACHE_ENTRIES, mib: limit::CACHE_MIB }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings of models cannot be read from {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It is not what it should be.
    #[error("the settings of models are wrong: {0}")]
    Form(String),
}

impl ModelSettings {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`SettingsError::Form`] with the place of the first mistake.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        serde_saphyr::from_str(text).map_err(|e| SettingsError::Form(e.to_string()))
    }

    /// Reads a file. Files that it names are looked for beside it.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = crate::file::read(path).map_err(|reason| SettingsError::Read { path: path.to_owned(), reason })?;
        let mut settings = Self::parse(&text)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let scripts = settings.providers.values_mut().filter_map(|provider| provider.script.as_mut());
        for file in scripts.chain(settings.prices.as_mut()) {
            *file = folder.join(&*file);
        }
        Ok(settings)
    }

    /// A file, where one is named, and the variables `STEPMILL_LLM_BASE_URL`, `STEPMILL_LLM_API_KEY`, `STEPMILL_LLM_MODEL`,
    /// `STEPMILL_LLM_SCRIPT` (a file) and `STEPMILL_CASSETTE`, which win.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn from_env(file: Option<&Path>) -> Result<Self, SettingsError> {
        let settings = file.map(Self::read).transpose()?.unwrap_or_default();
        Ok(settings.with_variables(|name| std::env::var(name).ok()))
    }

    fn with_variables(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (base_url, has_key) = (get("STEPMILL_LLM_BASE_URL"), get("STEPMILL_LLM_API_KEY").is_some());
        if base_url.is_some() || has_key {
            let key = has_key.then(|| KeyRef::Variable { env: "STEPMILL_LLM_API_KEY".into() });
            let service = ProviderSettings { base_url, key, ..ProviderSettings::of(ProviderFormat::OpenaiChat) };
            self.providers.insert(FROM_VARIABLES.into(), service);
            self.provider = Some(FROM_VARIABLES.into());
        }
        if let Some(script) = get("STEPMILL_LLM_SCRIPT") {
            self = self.or_rules(ScriptSource::File(script.into()));
        }
        self.model = get("STEPMILL_LLM_MODEL").or(self.model);
        self.cassette = get("STEPMILL_CASSETTE").or(self.cassette);
        self
    }

    /// The same settings with a scripted model, where there is no service.
    #[must_use]
    pub fn or_rules(mut self, rules: ScriptSource) -> Self {
        if self.providers.is_empty() {
            let scripted = ProviderSettings { rules: Some(rules), ..ProviderSettings::of(ProviderFormat::Scripted) };
            self.providers.insert(FROM_VARIABLES.into(), scripted);
            self.model.get_or_insert_with(|| "scripted".into());
        }
        self
    }

    /// The provider that is meant where a name says nothing else.
    #[must_use]
    pub fn usual(&self) -> Option<(&str, &ProviderSettings)> {
        let only = || (self.providers.len() == 1).then(|| self.providers.keys().next()).flatten();
        let name = self.provider.as_ref().or_else(only)?;
        self.providers.get_key_value(name).map(|(name, provider)| (name.as_str(), provider))
    }
}

impl ProviderSettings {
    /// A provider of which nothing is said but its format.
    #[must_use]
    pub fn of(format: ProviderFormat) -> Self {
        Self {
            format,
            base_url: None,
            key: None,
            headers: BTreeMap::new(),
            stream: true,
            structured: Structured::Native,
            max_tokens_name: None,
            prompt_cache: true,
            timeouts: TimeoutSettings::default(),
            script: None,
            rules: None,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        let usual = match self.format {
            ProviderFormat::OpenaiChat | ProviderFormat::OpenaiResponses => OPENAI,
            ProviderFormat::Anthropic => ANTHROPIC,
            ProviderFormat::Scripted => "",
        };
        self.base_url.as_deref().unwrap_or(usual)
    }

    /// The name of the limit of an answer's tokens.
    #[must_use]
    pub fn max_tokens_name(&self) -> MaxTokensName {
        let newer = self.url().contains("//api.openai.com");
        self.max_tokens_name.unwrap_or(if newer {
            MaxTokensName::MaxCompletionTokens
        } else {
            MaxTokensName::MaxTokens
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_make_a_provider_and_win() {
        let file = "providers: {claude: {format: anthropic, key: claude}}\nmodel: claude-x";
        let with = |variables: &[(&str, &str)]| {
            let all: BTreeMap<_, _> = variables.iter().copied().collect();
            ModelSettings::parse(file).unwrap().with_variables(|name| all.get(name).map(|v| (*v).to_owned()))
        };
        let plain = with(&[("STEPMILL_LLM_SCRIPT", "rules.yaml")]);
        assert_eq!((plain.usual().unwrap().0, plain.model.as_deref()), ("claude", Some("claude-x")));
        let url = ("STEPMILL_LLM_BASE_URL", "http://localhost/v1");
        let over = with(&[url, ("STEPMILL_LLM_MODEL", "small"), ("STEPMILL_LLM_API_KEY", "sk-1")]);
        let (name, provider) = over.usual().unwrap();
        assert_eq!((name, provider.url(), over.model.as_deref()), ("default", url.1, Some("small")));
        assert!(!format!("{over:?}").contains("sk-1"), "{over:?}");
    }

    #[test]
    fn openai_itself_gets_the_newer_name_of_the_limit() {
        let mut provider = ProviderSettings::of(ProviderFormat::OpenaiChat);
        assert_eq!(provider.max_tokens_name(), MaxTokensName::MaxCompletionTokens);
        provider.base_url = Some("http://localhost:1/v1".into());
        assert_eq!(provider.max_tokens_name(), MaxTokensName::MaxTokens);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, expected) in [
            ("providers: {a: {format: chat}}", "chat"),
            ("providers: {a: {format: anthropic, kee: x}}", "kee"),
            ("timeouts: {first_token: 3}", "first_token"),
        ] {
            let error = ModelSettings::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
