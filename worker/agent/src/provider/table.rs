//! The table of providers: finds the model that a name means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stepmill_worker::Secrets;
use stepmill_worker_engine::model::Format;

use super::cassette::{Cassette, CassetteError};
use super::{Http, KeyRef, Service, Transport};
use crate::model::Model;
use crate::price::{PriceError, Prices};
use crate::script::{ScriptError, ScriptSource, Scripted};
use crate::settings::{ModelSettings, ProviderSettings, SettingsError};
use crate::wire::Style;

/// What a name that is no provider's is called in prices and outputs.
const OWN: &str = "with";

/// Model calls that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client: {0}; check the TLS certificates of this machine")]
    Client(#[from] reqwest::Error),
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The scripted model's rules are wrong.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The price table is wrong.
    #[error(transparent)]
    Prices(#[from] PriceError),
    /// The cassette cannot be used.
    #[error(transparent)]
    Cassette(#[from] CassetteError),
    /// A name leads nowhere.
    #[error("{0}")]
    Name(String),
}

/// The providers of a worker, ready to be asked.
pub struct Providers {
    models: BTreeMap<String, Arc<dyn Model>>,
    usual: Option<String>,
    model: Option<String>,
    prices: Prices,
    total: Duration,
    /// What a call with a base URL of its own is sent with.
    own: Service,
    usual_url: Option<(Format, String)>,
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers")
            .field("names", &self.models.keys().collect::<Vec<_>>())
            .field("usual", &self.usual)
            .finish_non_exhaustive()
    }
}

/// A model that was found.
#[derive(Clone)]
pub struct Found {
    /// Whose it is.
    pub provider: String,
    /// Its name there.
    pub name: String,
    /// The model.
    pub model: Arc<dyn Model>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.name)
    }
}

impl Providers {
    /// Sets all of them up.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(settings: &ModelSettings, secrets: Secrets) -> Result<Self, SetupError> {
        if let Some(name) = settings.provider.as_ref().filter(|name| !settings.providers.contains_key(*name)) {
            return Err(SetupError::Name(format!("`provider: {name}` is not among `providers`")));
        }
        let transport: Arc<dyn Transport> = Arc::new(Http::new(settings.timeouts.connect())?);
        let transport = match &settings.cassette {
            None => transport,
            Some(setting) => Arc::new(Cassette::open(&setting.parse()?, transport)?),
        };
        let own = Service {
            name: "the model service".into(),
            format: Format::OpenaiChat,
            style: Style::default(),
            base_url: String::new(),
            key: None,
            headers: Vec::new(),
            timeouts: settings.timeouts.call(),
            secrets,
            transport,
        };
        let mut models: BTreeMap<String, Arc<dyn Model>> = BTreeMap::new();
        for (name, provider) in &settings.providers {
            models.insert(name.clone(), model(name, provider, settings, &own)?);
        }
        let usual = settings.usual();
        Ok(Self {
            models,
            usual: usual.map(|(name, _)| name.to_owned()),
            usual_url: usual.and_then(|(_, p)| Some((p.format.wire()?, p.url().to_owned()))),
            model: settings.model.clone(),
            prices: Prices::load(settings.prices.as_deref())?,
            total: settings.timeouts.total(),
            own,
        })
    }

    /// One model of your own, under the name `default`.
    ///
    /// # Errors
    /// [`SetupError::Client`].
    pub fn with_model(model: Arc<dyn Model>, name: &str) -> Result<Self, SetupError> {
        let mut providers = Self::new(&ModelSettings::default(), Secrets::from_env(None))?;
        providers.models.insert("default".into(), model);
        providers.usual = Some("default".into());
        providers.model = Some(name.to_owned());
        Ok(providers)
    }

    /// The model that a name means: `provider/model`, or a model of the usual provider. No name means the usual model.
    ///
    /// # Errors
    /// What to correct.
    pub fn find(&self, name: Option<&str>) -> Result<Found, String> {
        if self.models.is_empty() {
            return Err(
                "no model is configured; set STEPMILL_LLM_BASE_URL or STEPMILL_LLM_API_KEY for the workers of this \
                pool, STEPMILL_LLM_SCRIPT for a scripted model, or name a file of providers in STEPMILL_MODELS"
                    .into(),
            );
        }
        let Some(name) = name.or(self.model.as_deref()) else {
            return Err("no model is named; give `model` or set STEPMILL_LLM_MODEL for the workers of this pool".into());
        };
        // The names of models hold slashes, too.
        let named = name.split_once('/').filter(|(provider, _)| self.models.contains_key(*provider));
        let Some((provider, name)) = named.or_else(|| Some((self.usual.as_deref()?, name))) else {
            let known: Vec<&str> = self.models.keys().map(String::as_str).collect();
            return Err(format!(
                "`{name}` names no provider, and none is the usual one; write `PROVIDER/{name}` with one of: {}",
                known.join(", ")
            ));
        };
        let Some(model) = self.models.get(provider) else { return Err(format!("there is no provider `{provider}`")) };
        Ok(Found { provider: provider.to_owned(), name: name.to_owned(), model: Arc::clone(model) })
    }

    /// A service that a call names itself. The worker's own keys never go there: a definition must not be able to send
    /// them elsewhere.
    ///
    /// # Errors
    /// What to correct.
    pub fn named_by_call(
        &self,
        name: Option<&str>,
        format: Option<Format>,
        base_url: Option<&str>,
        key: Option<&str>,
    ) -> Result<Found, String> {
        let Some(name) = name.or(self.model.as_deref()) else {
            return Err("no model is named; give `model` or set STEPMILL_LLM_MODEL for the workers of this pool".into());
        };
        let usual = self.usual_url.clone();
        let format = format.or_else(|| usual.as_ref().map(|(format, _)| *format)).unwrap_or(Format::OpenaiChat);
        let plain = ProviderSettings::of(match format {
            Format::OpenaiChat => crate::settings::ProviderFormat::OpenaiChat,
            Format::OpenaiResponses => crate::settings::ProviderFormat::OpenaiResponses,
            Format::Anthropic => crate::settings::ProviderFormat::Anthropic,
        });
        let usual = usual.filter(|(usual, _)| *usual == format).map(|(_, url)| url);
        let base_url = base_url.map(str::to_owned).or(usual).unwrap_or_else(|| plain.url().to_owned());
        let settings = ProviderSettings { base_url: Some(base_url.clone()), ..plain };
        let service = Service {
            name: format!("the model service at {base_url}"),
            format,
            style: style(&settings),
            base_url,
            key: key.map(|key| KeyRef::Given(key.to_owned())),
            ..self.own.clone()
        };
        Ok(Found { provider: OWN.into(), name: name.to_owned(), model: Arc::new(service) })
    }

    /// What models cost.
    #[must_use]
    pub const fn prices(&self) -> &Prices {
        &self.prices
    }

    /// How long all calls of a step may take.
    #[must_use]
    pub const fn total(&self) -> Duration {
        self.total
    }
}

fn model(
    name: &str,
    provider: &ProviderSettings,
    settings: &ModelSettings,
    own: &Service,
) -> Result<Arc<dyn Model>, SetupError> {
    let Some(format) = provider.format.wire() else {
        let file = provider.script.clone().map(ScriptSource::File);
        let Some(rules) = provider.rules.clone().or(file) else {
            return Err(SetupError::Name(format!("provider `{name}` is scripted and names no `script`")));
        };
        return Ok(Arc::new(Scripted::load(&rules)?));
    };
    let url = provider.url();
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(SetupError::Name(format!("provider `{name}`: `base_url` must begin with http:// or https://")));
    }
    Ok(Arc::new(Service {
        name: format!("provider `{name}` at {url}"),
        format,
        style: style(provider),
        base_url: url.to_owned(),
        key: provider.key.clone(),
        headers: provider.headers.clone().into_iter().collect(),
        timeouts: provider.timeouts.or(settings.timeouts).call(),
        ..own.clone()
    }))
}

fn style(provider: &ProviderSettings) -> Style {
    Style {
        stream: provider.stream,
        structured: provider.structured,
        max_tokens_name: provider.max_tokens_name(),
        prompt_cache: provider.prompt_cache,
    }
}
