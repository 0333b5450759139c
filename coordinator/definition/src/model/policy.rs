//! The reusable parts of a definition: data flow, timeouts, retries, errors.

use super::reader::{Fields, Reader, Text};
use crate::duration::UNITS;
use crate::tree::{Kind, Tree};

/// `input`, `output` and `export` of a task or the workflow.
#[derive(Default)]
pub(crate) struct Flow<'t> {
    pub(crate) input: Shape<'t>,
    pub(crate) output: Shape<'t>,
    pub(crate) export: Shape<'t>,
}

/// One of them: a schema and what transforms the value.
#[derive(Default)]
pub(crate) struct Shape<'t> {
    pub(crate) schema: Option<&'t Tree>,
    pub(crate) value: Option<&'t Tree>,
}

impl<'t> Flow<'t> {
    /// `output` and `export` only.
    pub(crate) fn out(reader: &Reader<'_>, fields: &mut Fields<'t>) -> Self {
        Self {
            input: Shape::default(),
            output: fields.take("output").and_then(|t| shape(reader, t, "`output`", "as")).unwrap_or_default(),
            export: fields.take("export").and_then(|t| shape(reader, t, "`export`", "as")).unwrap_or_default(),
        }
    }

    pub(crate) fn read(reader: &Reader<'_>, fields: &mut Fields<'t>, with_export: bool) -> Self {
        let mut flow = Self {
            input: fields.take("input").and_then(|t| shape(reader, t, "`input`", "from")).unwrap_or_default(),
            output: fields.take("output").and_then(|t| shape(reader, t, "`output`", "as")).unwrap_or_default(),
            export: Shape::default(),
        };
        if with_export {
            flow.export = fields.take("export").and_then(|t| shape(reader, t, "`export`", "as")).unwrap_or_default();
        }
        flow
    }
}

fn shape<'t>(reader: &Reader<'_>, tree: &'t Tree, what: &'static str, key: &'static str) -> Option<Shape<'t>> {
    let mut fields = reader.object(tree, what)?;
    let schema = fields.take("schema").and_then(|t| schema(reader, t));
    let value = fields.take(key).filter(|t| match &t.kind {
        Kind::Text(_) | Kind::Map(_) => true,
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => {
            let message = format!("`{key}` must be an expression or an object, not {}", t.noun());
            reader.error("wrong-type", t.span, &t.at, message, "write it as `${ … }`");
            false
        }
    });
    fields.finish(reader);
    Some(Shape { schema, value })
}

/// The inline document of a schema.
fn schema<'t>(reader: &Reader<'_>, tree: &'t Tree) -> Option<&'t Tree> {
    let mut fields = reader.object(tree, "`schema`")?;
    if let Some(format) = fields.take("format").and_then(|t| reader.text(t, "`format`"))
        && &*format.text != "json"
        && !format.text.starts_with("json:")
    {
        reader.unsupported(&format!("schema format `{}`", format.text), format.span, &format.at);
    }
    let document = fields.take("document");
    match (document, fields.entry("resource")) {
        (Some(_), Some(resource)) => {
            let message = "`schema` has both `document` and `resource`";
            reader.error("wrong-type", resource.key_span, &resource.value.at, message, "remove one of them");
        }
        (None, Some(resource)) => {
            reader.unsupported(
                "schema resource; write the schema inline as `document`",
                resource.key_span,
                &resource.value.at,
            );
        }
        (None, None) => {
            reader.error(
                "missing-key",
                tree.span,
                &tree.at,
                "`schema` needs `document`",
                "add `document:` with the JSON Schema",
            );
        }
        (Some(_), None) => {}
    }
    fields.finish(reader);
    document
}

/// `timeout`: in place, or the name of one of `use.timeouts`.
pub(crate) enum TimeoutRef<'t> {
    Inline(&'t Tree),
    Named(Text),
}

impl<'t> TimeoutRef<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        match tree.kind {
            Kind::Text(_) => reader.text(tree, "`timeout`").map(Self::Named),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => {
                timeout(reader, tree).map(Self::Inline)
            }
        }
    }
}

/// The `after` of a timeout.
pub(crate) fn timeout<'t>(reader: &Reader<'_>, tree: &'t Tree) -> Option<&'t Tree> {
    let mut fields = reader.object(tree, "`timeout`")?;
    let after = fields.need("after").filter(|t| duration(reader, t, "`after`"));
    fields.finish(reader);
    after
}

/// Checks the form of a duration.
pub(crate) fn duration(reader: &Reader<'_>, tree: &Tree, what: &'static str) -> bool {
    match &tree.kind {
        Kind::Text(_) => true,
        Kind::Map(entries) => {
            let mut fine = true;
            if let Some(mut fields) = reader.object(tree, what) {
                for (unit, _) in UNITS {
                    if let Some(n) = fields.take(unit) {
                        fine &= reader.integer(n, "a part of a duration").is_some();
                    }
                }
                fine &= entries.iter().all(|e| UNITS.iter().any(|u| u.0 == &*e.key));
                fields.finish(reader);
            }
            fine
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => {
            let message = format!("{what} must be a duration, not {}", tree.noun());
            let help = "write ISO 8601 text such as `PT30S`, or an object such as `seconds: 30`";
            reader.error("duration", tree.span, &tree.at, message, help);
            false
        }
    }
}

/// A retry policy.
pub(crate) struct Retry<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) when: Option<Text>,
    pub(crate) except_when: Option<Text>,
    pub(crate) delay: Option<&'t Tree>,
    pub(crate) backoff: Backoff,
    pub(crate) jitter: Option<(&'t Tree, &'t Tree)>,
    pub(crate) count: Option<i64>,
    pub(crate) attempt_duration: Option<&'t Tree>,
    pub(crate) duration: Option<&'t Tree>,
}

#[derive(Clone, Copy)]
pub(crate) enum Backoff {
    Constant,
    Linear,
    Exponential(f64),
}

/// `retry`: in place, or the name of one of `use.retries`.
pub(crate) enum RetryRef<'t> {
    Inline(Box<Retry<'t>>),
    Named(Text),
}

impl<'t> RetryRef<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        match tree.kind {
            Kind::Text(_) => reader.text(tree, "`retry`").map(Self::Named),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => {
                Retry::read(reader, tree).map(|r| Self::Inline(Box::new(r)))
            }
        }
    }
}

impl<'t> Retry<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "a retry policy")?;
        let mut retry = Self {
            tree,
            when: fields.take("when").and_then(|t| reader.text(t, "`when`")),
            except_when: fields.take("exceptWhen").and_then(|t| reader.text(t, "`exceptWhen`")),
            delay: fields.take("delay").filter(|t| duration(reader, t, "`delay`")),
            backoff: fields.take("backoff").and_then(|t| backoff(reader, t)).unwrap_or(Backoff::Constant),
            jitter: fields.take("jitter").and_then(|t| jitter(reader, t)),
            count: None,
            attempt_duration: None,
            duration: None,
        };
        if let Some(mut limit) = fields.take("limit").and_then(|t| reader.object(t, "`limit`")) {
            if let Some(mut attempt) = limit.take("attempt").and_then(|t| reader.object(t, "`attempt`")) {
                retry.count = attempt.take("count").and_then(|t| count(reader, t));
                retry.attempt_duration = attempt.take("duration").filter(|t| duration(reader, t, "`duration`"));
                attempt.finish(reader);
            }
            retry.duration = limit.take("duration").filter(|t| duration(reader, t, "`duration`"));
            limit.finish(reader);
        }
        fields.finish(reader);
        Some(retry)
    }
}

fn count(reader: &Reader<'_>, tree: &Tree) -> Option<i64> {
    let n = reader.integer(tree, "`count`")?;
    if (1..=i64::from(u32::MAX)).contains(&n) {
        return Some(n);
    }
    let help = "write how many attempts there may be in all, the first included";
    reader.error("retry-limit", tree.span, &tree.at, format!("`count` must be at least 1, not {n}"), help);
    None
}

fn jitter<'t>(reader: &Reader<'_>, tree: &'t Tree) -> Option<(&'t Tree, &'t Tree)> {
    let mut fields = reader.object(tree, "`jitter`")?;
    let from = fields.need("from").filter(|t| duration(reader, t, "`from`"));
    let to = fields.need("to").filter(|t| duration(reader, t, "`to`"));
    fields.finish(reader);
    from.zip(to)
}

fn backoff(reader: &Reader<'_>, tree: &Tree) -> Option<Backoff> {
    /// What an exponential delay is multiplied with, unless said.
    const FACTOR: f64 = 2.0;
    let mut fields = reader.object(tree, "`backoff`")?;
    let kinds =
        [("constant", Backoff::Constant), ("linear", Backoff::Linear), ("exponential", Backoff::Exponential(FACTOR))];
    let given: Vec<_> = kinds.into_iter().filter_map(|(key, kind)| Some((key, kind, fields.take(key)?))).collect();
    fields.finish(reader);
    let [(key, kind, body)] = given.as_slice() else {
        let help = "write `exponential: {}`, `linear: {}` or `constant: {}`";
        reader.error("wrong-type", tree.span, &tree.at, "`backoff` must have exactly one kind", help);
        return None;
    };
    let body = reader.object(body, "a kind of backoff")?;
    let mut kind = *kind;
    for entry in body.entries {
        match (&kind, &*entry.key, &entry.value.kind) {
            (Backoff::Exponential(_), "factor", Kind::Number(n)) => match n.as_f64().filter(|f| *f >= 1.0) {
                Some(factor) => kind = Backoff::Exponential(factor),
                None => {
                    let message = "`factor` must be at least 1";
                    reader.error(
                        "retry-limit",
                        entry.value.span,
                        &entry.value.at,
                        message,
                        "use `constant: {}` for equal delays",
                    );
                }
            },
            _ => reader.unsupported(&format!("backoff.{key}.{}", entry.key), entry.key_span, &entry.value.at),
        }
    }
    Some(kind)
}

/// An error to raise.
pub(crate) struct ErrorModel<'t> {
    /// Its fields in the order of the definition.
    pub(crate) fields: Vec<(&'static str, &'t Tree)>,
}

/// `raise.error`: in place, or the name of one of `use.errors`.
pub(crate) enum ErrorRef<'t> {
    Inline(ErrorModel<'t>),
    Named(Text),
}

/// The fields of an error.
pub(crate) const ERROR_FIELDS: [&str; 5] = ["type", "status", "title", "detail", "instance"];

impl<'t> ErrorModel<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "an error")?;
        fields.need("type");
        fields.need("status");
        let model = Self { fields: error_fields(reader, &mut fields) };
        fields.finish(reader);
        Some(model)
    }
}

/// The fields that are there, with their types checked.
pub(crate) fn error_fields<'t>(reader: &Reader<'_>, fields: &mut Fields<'t>) -> Vec<(&'static str, &'t Tree)> {
    let mut found = Vec::new();
    for key in ERROR_FIELDS {
        let Some(tree) = fields.take(key) else { continue };
        let fine = match key {
            "status" => reader.integer(tree, "`status`").is_some(),
            "type" => reader.text(tree, "`type`").is_some_and(|t| uri(reader, &t, "`type`")),
            _ => reader.text(tree, "a field of an error").is_some(),
        };
        if fine {
            found.push((key, tree));
        }
    }
    found
}

/// Checks that a text can be a URI, or an expression.
pub(crate) fn uri(reader: &Reader<'_>, text: &Text, what: &str) -> bool {
    let is_expression = super::expression_inside(&text.text).is_some();
    let fine = is_expression
        || (!text.text.is_empty()
            && !text.text.contains(char::is_whitespace)
            && !text.text.trim_start().starts_with("${"));
    if !fine {
        let help = "write a URI without blanks, or an expression `${ … }`";
        reader.error("uri", text.span, &text.at, format!("{what} is not a URI"), help);
    }
    fine
}
