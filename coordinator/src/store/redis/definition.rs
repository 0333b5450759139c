//! Definitions: the text under its address, and versions of a name that point to it.

use stepmill_protocol::{Digest, Namespace, Timestamp, Version, WorkflowName};

use super::RedisStore;
use super::codec::{SCORE_MAX, corrupt, number_from};
use super::key::field;
use super::script;
use crate::port::store::{StoreError, StoredDefinition};

/// What a version of a name points to. Text: `<registered> <digest> <version>`.
struct Pointer {
    registered_at: Timestamp,
    digest: Digest,
    version: Version,
}

impl Pointer {
    fn text(definition: &StoredDefinition) -> String {
        format!("{} {} {}", definition.registered_at.0, definition.digest, definition.version)
    }

    fn read(text: &str) -> Result<Self, StoreError> {
        let mut words = text.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some(registered), Some(digest), Some(version)) => Ok(Self {
                registered_at: Timestamp(number_from(registered.as_bytes())?),
                digest: Digest(digest.into()),
                version: Version(version.into()),
            }),
            _ => Err(corrupt("a pointer to a definition", text.as_bytes())),
        }
    }
}

fn version_field(version: &Version) -> String {
    format!("v{version}")
}

impl RedisStore {
    pub(super) async fn define(&self, given: &StoredDefinition) -> Result<(StoredDefinition, bool), StoreError> {
        if given.registered_at.0 > SCORE_MAX {
            return Err(StoreError::Refused(format!("registration time {} is out of range", given.registered_at.0)));
        }
        let text = rmp_serde::to_vec_named(given)
            .map_err(|e| StoreError::Refused(format!("a definition cannot be written: {e}")))?;
        let keys = [self.keys.definition(&given.digest), self.keys.versions(&given.namespace, &given.name)];
        let mut cmd = script::call(&script::DEFINE, &keys);
        cmd.arg(text).arg(version_field(&given.version)).arg(Pointer::text(given)).arg(given.registered_at.0);
        match self.fast.command::<Option<String>>(&cmd).await? {
            None => Ok((given.clone(), true)),
            Some(taken) => Ok((self.follow(&given.namespace, &given.name, &taken).await?, false)),
        }
    }

    pub(super) async fn definition_at(&self, digest: &Digest) -> Result<Option<StoredDefinition>, StoreError> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(self.keys.definition(digest));
        let text: Option<Vec<u8>> = self.fast.command(&cmd).await?;
        text.map(|t| rmp_serde::from_slice(&t).map_err(|e| StoreError::Corrupt(format!("definition {digest}: {e}"))))
            .transpose()
    }

    pub(super) async fn digest_named(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
        version: Option<&Version>,
    ) -> Result<Option<Digest>, StoreError> {
        let pointer = self.pointer(namespace, name, version).await?;
        pointer.map(|text| Pointer::read(&text).map(|pointer| pointer.digest)).transpose()
    }

    pub(super) async fn definition_named(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
        version: Option<&Version>,
    ) -> Result<Option<StoredDefinition>, StoreError> {
        match self.pointer(namespace, name, version).await? {
            Some(pointer) => self.follow(namespace, name, &pointer).await.map(Some),
            None => Ok(None),
        }
    }

    async fn pointer(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
        version: Option<&Version>,
    ) -> Result<Option<String>, StoreError> {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(self.keys.versions(namespace, name));
        match version {
            Some(version) => cmd.arg(version_field(version)),
            None => cmd.arg(field::LATEST),
        };
        self.fast.command(&cmd).await
    }

    /// The definition that a pointer leads to. The text is stored once, even if several names have it.
    async fn follow(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
        to: &str,
    ) -> Result<StoredDefinition, StoreError> {
        let Pointer { registered_at, digest, version } = Pointer::read(to)?;
        let Some(stored) = self.definition_at(&digest).await? else {
            // Both are written by one script: the store was emptied between the two readings.
            return Err(StoreError::Unavailable(format!(
                "{namespace}/{name} {version} points to definition {digest}, which is gone: the store is being emptied"
            )));
        };
        Ok(StoredDefinition {
            digest,
            namespace: namespace.clone(),
            name: name.clone(),
            version,
            source: stored.source,
            registered_at,
        })
    }
}
