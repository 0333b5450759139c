//! Keys of services, by reference: what is configured is where a key is, never the key.

use serde::Deserialize;
use stepmill_worker::Secrets;
use stepmill_worker_engine::model::{ModelError, ModelErrorKind};

/// Where a key is.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum KeyRef {
    /// A secret of the worker: `STEPMILL_SECRET_<NAME>`, or a file of its folder of secrets.
    Secret(String),
    /// A variable of the worker's environment.
    Variable {
        /// Its name.
        env: String,
    },
    /// The key itself, as a call brings it from a secret of its own.
    #[serde(skip)]
    Given(String),
}

impl std::fmt::Debug for KeyRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(name) => write!(f, "secret {name}"),
            Self::Variable { env } => write!(f, "variable {env}"),
            Self::Given(_) => write!(f, "given"),
        }
    }
}

impl KeyRef {
    /// The key.
    pub(super) async fn read(&self, secrets: &Secrets) -> Result<String, ModelError> {
        let missing = |text: String| ModelError::new(ModelErrorKind::Authentication, text);
        match self {
            Self::Given(key) => Ok(key.clone()),
            Self::Secret(name) => {
                secrets.look_up(name).await.map_err(|e| missing(e.problem().detail.clone().unwrap_or_default()))
            }
            Self::Variable { env } => std::env::var(env)
                .map(|key| key.trim().to_owned())
                .map_err(|_| missing(format!("the provider's key is missing: set {env} for the workers of this pool"))),
        }
    }
}
