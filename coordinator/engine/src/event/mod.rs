//! CloudEvents: which of them a filter takes, what is read from one, and which runs may be waiting for one.

mod index;
mod matching;

pub(crate) use index::Ear;
pub use index::{Candidates, Listeners};
pub(crate) use matching::{digest_of, fits_alone, found, is_wanted, pin};

use serde_json::Value;
use stepmill_definition::plan::ReadAs;
use stepmill_protocol::CloudEvent;

/// What a task gets of an event.
pub(crate) fn read(event: &CloudEvent, read: ReadAs) -> Value {
    match read {
        ReadAs::Data => event.data().clone(),
        ReadAs::Envelope => event.value().clone(),
        ReadAs::Raw => match event.data() {
            Value::String(text) => text.clone().into(),
            Value::Null => Value::Null,
            data @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => data.to_string().into(),
        },
    }
}
