//! Whether an event fits a filter. What does not depend on the run is asked once for all runs of a definition; values that
//! a run expects are compared by their digests.

use serde_json::Value;
use stepmill_definition::expression::{ExpressionError, Variables};
use stepmill_definition::plan::{Correlation, Filter, Template, Wanted};
use stepmill_protocol::CloudEvent;

use crate::bin::Bin;

/// The digest of a value that an event must have. A text and the number that it spells are the same, since attributes travel as
/// texts.
pub(crate) fn digest_of(value: &Value) -> Bin<16> {
    let mut short = [0; 16];
    let hash = match value {
        Value::String(text) => blake3::hash(text.as_bytes()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            blake3::hash(value.to_string().as_bytes())
        }
    };
    short.copy_from_slice(&hash.as_bytes()[..16]);
    Bin(short)
}

/// The text of an attribute.
fn text(value: &Value) -> std::borrow::Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string().into()
        }
    }
}

/// Whether the event fits as far as that does not depend on a run: constant attributes, and `data` where it names no variable.
pub(crate) fn fits_alone(filter: &Filter, event: &CloudEvent) -> bool {
    let attributes = filter.attributes.iter().all(|(name, wanted)| {
        let Some(given) = event.attribute(name) else { return false };
        match wanted {
            Wanted::Text(text_) => text(given) == **text_,
            Wanted::Pattern(pattern) => pattern.matches(&text(given)),
            Wanted::Value(_) => true,
        }
    });
    attributes
        && match &filter.data {
            Some(data) if !names_variables(data) => {
                is_wanted(event.data(), data.evaluate(event.data(), &Variables::default()).map(|v| v.as_ref().clone()))
            }
            Some(_) | None => true,
        }
}

/// Whether data is what a filter wants: `true` and `false` decide, any other value must be equal. An expression that fails on the data
/// does not want it.
pub(crate) fn is_wanted(data: &Value, wanted: Result<Value, ExpressionError>) -> bool {
    match wanted {
        Ok(Value::Bool(decided)) => decided,
        Ok(value @ (Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_))) => {
            value == *data
        }
        Err(_) => false,
    }
}

fn names_variables(template: &Template) -> bool {
    match template {
        Template::Const(_) => false,
        Template::Expr(e) => e.source.contains('$'),
        Template::Array(items) => items.iter().any(names_variables),
        Template::Object(fields) => fields.iter().any(|(_, t)| names_variables(t)),
    }
}

/// What an event has where a filter's expressions say what must be there: for attributes in order, then for correlations. None: it
/// lacks one, so it does not fit.
pub(crate) fn found(filter: &Filter, event: &CloudEvent) -> Option<Vec<Bin<16>>> {
    let attributes = filter.attributes.iter().filter_map(|(name, wanted)| match wanted {
        Wanted::Value(_) => Some(event.attribute(name).map(digest_of)),
        Wanted::Text(_) | Wanted::Pattern(_) => None,
    });
    attributes.chain(filter.correlate.iter().map(|key| correlated(key, event))).collect()
}

fn correlated(key: &Correlation, event: &CloudEvent) -> Option<Bin<16>> {
    let value = key.from.evaluate(event.value(), &Variables::default()).ok()?;
    (!value.is_null()).then(|| digest_of(&value))
}

/// What a filter expects where its expressions say so, in the order of [`found`]; none where the first event decides.
pub(crate) fn pin(filter: &Filter) -> impl Iterator<Item = Option<&Template>> {
    let attributes = filter.attributes.iter().filter_map(|(_, wanted)| match wanted {
        Wanted::Value(template) => Some(Some(template)),
        Wanted::Text(_) | Wanted::Pattern(_) => None,
    });
    attributes.chain(filter.correlate.iter().map(|key| key.expect.as_ref()))
}
