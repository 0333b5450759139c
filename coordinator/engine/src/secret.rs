//! Everything that is derived from a run's secret: task tokens, the mark of secret references, the chance in a jitter.

use stepmill_protocol::{CommandId, SecretScope, TaskToken};

use crate::bin::Bin;

/// What a run derives from; itself the hash of what the submission brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct RunSecret(Bin<32>);

impl RunSecret {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(Bin(blake3::derive_key("stepmill 2026 run secret", bytes)))
    }

    fn derive(&self, purpose: &str, numbers: &[u64]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.0);
        hasher.update(purpose.as_bytes());
        hasher.update(&[0]);
        for n in numbers {
            hasher.update(&n.to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// The token of a dispatch.
    pub(crate) fn token(&self, id: &CommandId) -> TaskToken {
        let hash = self.derive("token", &[id.visit.0, u64::from(id.pass.0), u64::from(id.dispatch)]);
        let mut token = [0; 16];
        token.copy_from_slice(&hash[..16]);
        TaskToken(token)
    }

    /// Whether `token` is that of the dispatch; takes the same time for every wrong one.
    pub(crate) fn knows(&self, id: &CommandId, token: &TaskToken) -> bool {
        let right = self.token(id).0;
        right.iter().zip(token.0).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }

    /// How expressions refer to secrets in this run.
    pub(crate) fn scope(&self, names: &[String]) -> SecretScope {
        let hash = self.derive("secret mark", &[]);
        let hex: String = hash[..12].iter().map(|b| format!("{b:02x}")).collect();
        SecretScope { mark: format!("\u{2063}{hex}\u{2063}"), names: names.to_vec() }
    }

    /// An evenly spread number for the jitter of one retry, the same for whoever folds the same failure.
    pub(crate) fn chance(&self, place: u64, failed: u32) -> u64 {
        let hash = self.derive("jitter", &[place, u64::from(failed)]);
        let mut low = [0; 8];
        low.copy_from_slice(&hash[..8]);
        u64::from_le_bytes(low)
    }
}
