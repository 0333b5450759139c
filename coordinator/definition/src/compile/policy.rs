//! Data flow, timeouts, retries and errors.

use std::sync::Arc;

use serde_json::Value;
use stepmill_protocol::limit::{ATTEMPTS_MAX, DURATION_MAX};
use stepmill_protocol::problem::STANDARD_PREFIX;
use stepmill_protocol::retry::Backoff as Growth;
use stepmill_protocol::{Millis, RetryPolicy};

use super::Compiler;
use super::value::object;
use crate::model::policy::{Backoff, ErrorModel, ErrorRef, Flow, Retry as Model, RetryRef, Shape, TimeoutRef};
use crate::model::reader::Text;
use crate::near::nearest;
use crate::plan::{Catch, DataFlow, DurationSpec, Retry, Template};
use crate::schema::Schema;
use crate::tree::Tree;

/// Other prefixes under which the standard's error types are written; the standard was renamed.
const OTHER_PREFIXES: [&str; 3] = [
    "https://open-workflow-specification.org/spec/1.0.0/errors/",
    "https://open-workflow-specification.org/dsl/errors/types/",
    "https://serverlessworkflow.io/dsl/errors/types/",
];

impl<'a, 't> Compiler<'a, 't> {
    pub(super) fn flow(&mut self, flow: &Flow<'t>) -> Option<DataFlow> {
        let (input_schema, input_from) = self.shape(&flow.input)?;
        let (output_schema, output_as) = self.shape(&flow.output)?;
        let (export_schema, export_as) = self.shape(&flow.export)?;
        Some(DataFlow { input_schema, input_from, output_as, output_schema, export_as, export_schema })
    }

    fn shape(&mut self, shape: &Shape<'t>) -> Option<(Option<Arc<Schema>>, Option<Template>)> {
        let schema = shape.schema.map(|t| self.schema(t));
        let value = shape.value.map(|t| self.template(t, true));
        Some((all(schema)?, all(value)?))
    }

    pub(super) fn timeout(&mut self, timeout: &TimeoutRef<'t>) -> Option<DurationSpec> {
        match timeout {
            TimeoutRef::Inline(after) => self.duration(after),
            TimeoutRef::Named(name) => {
                let uses = self.uses;
                let found =
                    self.named(name, "timeout", "timeouts", uses.timeouts.get(&*name.text), uses.timeouts.keys());
                found.and_then(|after| self.duration(after))
            }
        }
    }

    /// Looks up a reference into `use`; `found` is none of none where the thing has mistakes of its own.
    pub(super) fn named<T>(
        &self,
        name: &Text,
        what: &str,
        block: &str,
        found: Option<&'a Option<T>>,
        known: impl Iterator<Item = &'a &'t str>,
    ) -> Option<&'a T>
    where
        't: 'a,
    {
        if let Some(found) = found {
            return found.as_ref();
        }
        let help = match nearest(&name.text, known.copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("define it under `use.{block}`"),
        };
        let message = format!("there is no {what} `{}`", name.text);
        self.reader.error("unknown-reference", name.span, &name.at, message, help);
        None
    }

    pub(super) fn retry(&mut self, retry: &'a RetryRef<'t>) -> Option<Retry> {
        let model = match retry {
            RetryRef::Inline(model) => model,
            RetryRef::Named(name) => {
                let uses = self.uses;
                self.named(name, "retry policy", "retries", uses.retries.get(&*name.text), uses.retries.keys())?
            }
        };
        self.retry_model(model)
    }

    pub(super) fn retry_model(&mut self, model: &Model<'t>) -> Option<Retry> {
        let when = model.when.as_ref().map(|t| self.bare(t));
        let except_when = model.except_when.as_ref().map(|t| self.bare(t));
        let delay = model.delay.map_or(Some(DurationSpec::Const(Millis(0))), |t| self.duration(t));
        let jitter = model.jitter.map(|(from, to)| self.jitter(from, to));
        let attempt_duration = model.attempt_duration.map(|t| self.duration(t));
        let duration_max = model.duration.map(|t| self.duration(t));
        if model.count.is_none() && model.duration.is_none() && model.tree.get("limit").is_none() {
            let message = format!("a retry policy without a limit tries {ATTEMPTS_MAX} times");
            let help = "add `limit: { attempt: { count: 5 } }` or `limit: { duration: … }`";
            self.reader.warn("retry-limit", model.tree.span, &model.tree.at, message, help);
        }
        let count = model.count.and_then(|n| u32::try_from(n).ok());
        if count.is_some_and(|n| n > ATTEMPTS_MAX) {
            let message = format!("a step may be tried {ATTEMPTS_MAX} times at most");
            self.reader.error("retry-limit", model.tree.span, &model.tree.at, message, "lower `limit.attempt.count`");
        }
        Some(Retry {
            when: all(when)?,
            except_when: all(except_when)?,
            delay: delay?,
            backoff: match model.backoff {
                Backoff::Constant => Growth::Constant,
                Backoff::Linear => Growth::Linear,
                Backoff::Exponential(factor) => Growth::Exponential { factor },
            },
            jitter: all(jitter)?,
            attempts_max: count,
            attempt_duration: all(attempt_duration)?,
            duration_max: all(duration_max)?,
        })
    }

    fn jitter(&mut self, from: &Tree, to: &Tree) -> Option<(DurationSpec, DurationSpec)> {
        let (a, b) = (self.duration(from), self.duration(to));
        let (a, b) = (a?, b?);
        if let (DurationSpec::Const(a), DurationSpec::Const(b)) = (&a, &b)
            && a > b
        {
            self.reader.error("duration", to.span, &to.at, "`to` is shorter than `from`", "swap them");
        }
        Some((a, b))
    }

    /// The template of the error that a `raise` gives.
    pub(super) fn raised(&mut self, error: &'a ErrorRef<'t>) -> Option<Template> {
        let model = match error {
            ErrorRef::Inline(model) => model,
            ErrorRef::Named(name) => {
                let uses = self.uses;
                self.named(name, "error", "errors", uses.errors.get(&*name.text), uses.errors.keys())?
            }
        };
        self.error_model(model)
    }

    pub(super) fn error_model(&mut self, model: &ErrorModel<'t>) -> Option<Template> {
        let parts = self.error_fields(&model.fields)?;
        Some(object(parts.into_iter().map(|(k, t)| (k.to_string(), t)).collect()))
    }

    /// Fields of an error, the names of the standard's types as this system writes them.
    pub(super) fn error_fields(&mut self, fields: &[(&'static str, &'t Tree)]) -> Option<Vec<(Arc<str>, Template)>> {
        let parts: Vec<_> = fields
            .iter()
            .map(|(key, tree)| {
                let template = self.template(tree, false)?;
                Some((Arc::from(*key), if *key == "type" { standard_type(template) } else { template }))
            })
            .collect();
        parts.into_iter().collect()
    }
}

fn standard_type(template: Template) -> Template {
    let Template::Const(value) = &template else { return template };
    let Value::String(text) = &**value else { return template };
    match OTHER_PREFIXES.iter().find_map(|p| text.strip_prefix(p)) {
        Some(name) => Template::Const(Arc::new(Value::String(format!("{STANDARD_PREFIX}{name}")))),
        None => template,
    }
}

/// None where something was given and had mistakes.
pub(super) fn all<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    match given {
        None => Some(None),
        Some(None) => None,
        Some(Some(t)) => Some(Some(t)),
    }
}

/// The policy that a worker may follow by itself, if the catch needs no expression and no look at the error.
pub(super) fn broker_policy(catch: &Catch) -> Option<RetryPolicy> {
    let retry = catch.retry.as_ref()?;
    let filtered = !catch.with.is_empty()
        || catch.when.is_some()
        || catch.except_when.is_some()
        || retry.when.is_some()
        || retry.except_when.is_some()
        || retry.attempt_duration.is_some();
    if filtered {
        return None;
    }
    let jitter = match &retry.jitter {
        None => None,
        Some((from, to)) => Some((constant(from)?, constant(to)?)),
    };
    let duration_max = match &retry.duration_max {
        None => None,
        Some(d) => Some(constant(d)?),
    };
    Some(RetryPolicy {
        delay: constant(&retry.delay)?,
        backoff: retry.backoff,
        delay_max: DURATION_MAX,
        jitter,
        attempts_max: retry.attempts_max.unwrap_or(ATTEMPTS_MAX),
        duration_max,
    })
}

fn constant(duration: &DurationSpec) -> Option<Millis> {
    match duration {
        DurationSpec::Const(ms) => Some(*ms),
        DurationSpec::Template(_) => None,
    }
}
