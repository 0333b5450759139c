//! Tells whether two submissions of one run ask for the same: a hash of workflow and input. The definition's digest is not
//! part of it, since a submission that is repeated after a new version was registered is still the same submission.

use serde_json::Value;
use stepmill_protocol::{Namespace, WorkflowName};

use crate::bin::Bin;

/// The hash. The order of an object's fields does not count.
pub(crate) fn fingerprint(namespace: &Namespace, workflow: &WorkflowName, input: &Value) -> Bin<16> {
    let mut hasher = blake3::Hasher::new();
    text(&mut hasher, namespace.as_str());
    text(&mut hasher, workflow.as_str());
    add(&mut hasher, input);
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Bin(short)
}

fn text(hasher: &mut blake3::Hasher, s: &str) {
    hasher.update(&(s.len() as u64).to_le_bytes());
    hasher.update(s.as_bytes());
}

fn add(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Null => drop(hasher.update(b"n")),
        Value::Bool(b) => drop(hasher.update(if *b { b"t" } else { b"f" })),
        Value::Number(n) => {
            hasher.update(b"#");
            text(hasher, &n.to_string());
        }
        Value::String(s) => {
            hasher.update(b"s");
            text(hasher, s);
        }
        Value::Array(items) => {
            hasher.update(b"a");
            hasher.update(&(items.len() as u64).to_le_bytes());
            items.iter().for_each(|v| add(hasher, v));
        }
        Value::Object(fields) => {
            hasher.update(b"o");
            hasher.update(&(fields.len() as u64).to_le_bytes());
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_by_key(|(k, _)| *k);
            for (k, v) in sorted {
                text(hasher, k);
                add(hasher, v);
            }
        }
    }
}
