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
///
/// # Errors
/// When an expression does more than it may.
pub(crate) fn fits_alone(filter: &Filter, event: &CloudEvent) -> Result<bool, ExpressionError> {
    let attributes = filter.attributes.iter().all(|(name, wanted)| {
        let Some(given) = event.attribute(name) else { return false };
        match wanted {
            Wanted::Text(text_) => text(given) == **text_,
            Wanted::Pattern(pattern) => pattern.matches(&text(given)),
            Wanted::Value(_) => true,
        }
    });
    match &filter.data {
        Some(data) if attributes && !names_variables(data) => {
            is_wanted(event.data(), data.evaluate(event.data(), &Variables::default()).map(|v| v.as_ref().clone()))
        }
        Some(_) | None => Ok(attributes),
    }
}

/// Whether data is what a filter wants: `true` and `false` decide, any other value must be equal. An expression that fails on the data
/// does not want it; one that does more than it may is an error.
pub(crate) fn is_wanted(data: &Value, wanted: Result<Value, ExpressionError>) -> Result<bool, ExpressionError> {
    Ok(match within_limits(wanted)? {
        Some(Value::Bool(decided)) => decided,
        Some(value @ (Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_))) => {
            value == *data
        }
        None => false,
    })
}

/// What an expression gave, none where it failed on what it was asked about.
fn within_limits(value: Result<Value, ExpressionError>) -> Result<Option<Value>, ExpressionError> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(ExpressionError::Failed { .. } | ExpressionError::Empty { .. }) => Ok(None),
        Err(error @ ExpressionError::Limit { .. }) => Err(error),
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
///
/// # Errors
/// When an expression does more than it may.
pub(crate) fn found(filter: &Filter, event: &CloudEvent) -> Result<Option<Vec<Bin<16>>>, ExpressionError> {
    let attributes = filter.attributes.iter().filter_map(|(name, wanted)| match wanted {
        Wanted::Value(_) => Some(Ok(event.attribute(name).map(digest_of))),
        Wanted::Text(_) | Wanted::Pattern(_) => None,
    });
    attributes.chain(filter.correlate.iter().map(|key| correlated(key, event))).collect()
}

fn correlated(key: &Correlation, event: &CloudEvent) -> Result<Option<Bin<16>>, ExpressionError> {
    let value = within_limits(key.from.evaluate(event.value(), &Variables::default()))?;
    Ok(value.filter(|value| !value.is_null()).map(|value| digest_of(&value)))
}

/// What a filter expects where its expressions say so, in the order of [`found`]; none where the first event decides.
pub(crate) fn pin(filter: &Filter) -> impl Iterator<Item = Option<&Template>> {
    let attributes = filter.attributes.iter().filter_map(|(_, wanted)| match wanted {
        Wanted::Value(template) => Some(Some(template)),
        Wanted::Text(_) | Wanted::Pattern(_) => None,
    });
    attributes.chain(filter.correlate.iter().map(|key| key.expect.as_ref()))
}
