//! What a stand-in is asked, and what it answers: JSON, always.

use bytes::Bytes;
use serde_json::Value;

/// One request.
pub(super) struct Asked {
    pub(super) host: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) authorization: String,
    pub(super) body: Bytes,
}

/// One answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Asked {
    /// The parts of the path.
    pub(super) fn parts(&self) -> Vec<&str> {
        self.path.split('/').filter(|p| !p.is_empty()).collect()
    }

    /// The body as JSON, or null.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// 200 with this body.
pub(super) fn fine(body: Value) -> Answer {
    Answer { status: 200, body }
}

/// Another status, with a sentence.
pub(super) fn refused(status: u16, message: &str) -> Answer {
    Answer { status, body: serde_json::json!({ "code": status, "message": message }) }
}
