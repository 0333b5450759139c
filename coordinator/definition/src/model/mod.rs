//! The typed model of a document: what the standard's schema says, with the place of everything. It borrows the values that
//! are data (templates, schemas) from the tree.

pub(crate) mod authentication;
pub(crate) mod call;
pub(crate) mod emit;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod extension;
pub(crate) mod mcp;
pub(crate) mod openapi;
pub(crate) mod policy;
pub(crate) mod process;
pub(crate) mod reader;
pub(crate) mod refuse;
pub(crate) mod run;
pub(crate) mod run_workflow;
pub(crate) mod schedule;
pub(crate) mod task;

use std::collections::BTreeMap;

use authentication::Authentication;
use extension::Extension;
use policy::{ErrorModel, Flow, Retry, TimeoutRef, timeout};
use reader::{Fields, Reader, Text};
use schedule::Scheduled;
use task::{Task, tasks};

use crate::tree::Tree;

/// A document.
pub(crate) struct Workflow<'t> {
    pub(crate) document: Option<Document<'t>>,
    pub(crate) flow: Flow<'t>,
    pub(crate) timeout: Option<TimeoutRef<'t>>,
    pub(crate) uses: Uses<'t>,
    pub(crate) tasks: Vec<Task<'t>>,
    pub(crate) schedule: Option<Scheduled<'t>>,
    pub(crate) root: &'t Tree,
}

/// `document`.
pub(crate) struct Document<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) namespace: Text,
    pub(crate) name: Text,
    pub(crate) version: Text,
}

/// `use`.
#[derive(Default)]
pub(crate) struct Uses<'t> {
    pub(crate) authentications: BTreeMap<&'t str, Option<Authentication<'t>>>,
    pub(crate) errors: BTreeMap<&'t str, Option<ErrorModel<'t>>>,
    pub(crate) functions: BTreeMap<&'t str, Option<Task<'t>>>,
    pub(crate) retries: BTreeMap<&'t str, Option<Retry<'t>>>,
    pub(crate) timeouts: BTreeMap<&'t str, Option<&'t Tree>>,
    pub(crate) extensions: Vec<Option<Extension<'t>>>,
    pub(crate) secrets: Vec<Text>,
}

/// The expression inside `${ }`, if the whole text is one.
pub(crate) fn expression_inside(text: &str) -> Option<&str> {
    text.trim().strip_prefix("${")?.strip_suffix('}').filter(|inside| !inside.is_empty())
}

impl<'t> Workflow<'t> {
    pub(crate) fn read(reader: &Reader<'_>, root: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(root, "a definition")?;
        let document = fields.need("document").and_then(|t| Document::read(reader, t));
        let uses = fields.take("use").and_then(|t| Uses::read(reader, t)).unwrap_or_default();
        let tasks = fields.need("do").map(|t| tasks(reader, t, "`do`")).unwrap_or_default();
        let flow = Flow::read(reader, &mut fields, false);
        let timeout = fields.take("timeout").and_then(|t| TimeoutRef::read(reader, t));
        let name = document.as_ref().map(|d| &d.name);
        let schedule = fields.take("schedule").and_then(|t| Scheduled::read(reader, t, name));
        if let Some(evaluate) = fields.take("evaluate") {
            read_evaluate(reader, evaluate);
        }
        fields.finish(reader);
        Some(Self { document, flow, timeout, uses, tasks, schedule, root })
    }
}

fn read_evaluate(reader: &Reader<'_>, tree: &Tree) {
    let Some(mut fields) = reader.object(tree, "`evaluate`") else { return };
    if let Some(language) = fields.take("language").and_then(|t| reader.text(t, "`language`"))
        && &*language.text != "jq"
    {
        reader.unsupported(&format!("expressions in `{}`", language.text), language.span, &language.at);
    }
    if let Some(mode) = fields.take("mode").and_then(|t| reader.text(t, "`mode`")) {
        match &*mode.text {
            "strict" => {}
            "loose" => reader.unsupported("`evaluate.mode: loose`; write expressions as `${ … }`", mode.span, &mode.at),
            other => {
                reader.error("wrong-value", mode.span, &mode.at, format!("`mode` cannot be `{other}`"), "use strict");
            }
        }
    }
    fields.finish(reader);
}

impl<'t> Document<'t> {
    fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "`document`")?;
        let dsl = fields.need("dsl").and_then(|t| reader.text(t, "`dsl`")).filter(|t| semantic(reader, t, "`dsl`"));
        if let Some(dsl) = dsl.filter(|d| !d.text.starts_with("1.0.")) {
            reader.unsupported(&format!("version {} of the language; use 1.0.3", dsl.text), dsl.span, &dsl.at);
        }
        let mut name = |key: &'static str| {
            fields.need(key).and_then(|t| reader.text(t, &format!("`{key}`"))).filter(|t| host_name(reader, t, key))
        };
        let (namespace, name) = (name("namespace"), name("name"));
        let version = fields.need("version").and_then(|t| reader.text(t, "`version`"));
        let version = version.filter(|t| semantic(reader, t, "`version`"));
        for key in ["title", "summary"] {
            if let Some(text) = fields.take(key) {
                reader.text(text, &format!("`{key}`"));
            }
        }
        for key in ["tags", "metadata"] {
            if let Some(object) = fields.take(key) {
                reader.object(object, "this");
            }
        }
        fields.finish(reader);
        Some(Self { tree, namespace: namespace?, name: name?, version: version? })
    }
}

/// Letters, digits and inner hyphens, at most 63: what the standard asks of names.
fn host_name(reader: &Reader<'_>, text: &Text, key: &str) -> bool {
    // A workflow that keeps the schedule of another one is the system's own; `define` takes none.
    let s = text.text.strip_suffix(crate::schedule::SUFFIX).filter(|_| key == "name").unwrap_or(&text.text);
    let fine = (1..=63).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !s.starts_with('-')
        && !s.ends_with('-');
    if !fine {
        let help = "use letters, digits and inner hyphens, at most 63 characters";
        reader.error("name", text.span, &text.at, format!("`{key}` cannot be `{s}`"), help);
    }
    fine
}

/// A semantic version.
fn semantic(reader: &Reader<'_>, text: &Text, what: &str) -> bool {
    let (rest, build) = text.text.split_once('+').map_or((&*text.text, None), |(r, b)| (r, Some(b)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(c, p)| (c, Some(p)));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let number = |s: &str| digits(s) && (s == "0" || !s.starts_with('0'));
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let fine = core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(|p| p.split('.').all(|s| word(s) && (!digits(s) || number(s))))
        && build.is_none_or(|b| b.split('.').all(word));
    if !fine {
        let help = "write three numbers with dots, for instance `1.0.0`";
        reader.error(
            "version",
            text.span,
            &text.at,
            format!("{what} is not a semantic version: `{}`", text.text),
            help,
        );
    }
    fine
}

impl<'t> Uses<'t> {
    fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "`use`")?;
        if let Some(entry) = fields.entry("catalogs") {
            reader.left_out(&refuse::CATALOGS, entry.key_span, &entry.value.at);
        }
        let mut uses = Self {
            authentications: named(reader, &mut fields, "authentications", |_, t| Authentication::read(reader, t)),
            errors: named(reader, &mut fields, "errors", |_, t| ErrorModel::read(reader, t)),
            functions: named(reader, &mut fields, "functions", |name, t| Task::read(reader, name, t)),
            retries: named(reader, &mut fields, "retries", |_, t| Retry::read(reader, t)),
            timeouts: named(reader, &mut fields, "timeouts", |_, t| timeout(reader, t)),
            extensions: fields.take("extensions").map(|t| Extension::list(reader, t)).unwrap_or_default(),
            secrets: Vec::new(),
        };
        if let Some(items) = fields.take("secrets").and_then(|t| reader.list(t, "`secrets`")) {
            uses.secrets = items.iter().filter_map(|t| reader.text(t, "the name of a secret")).collect();
        }
        fields.finish(reader);
        Some(uses)
    }
}

/// A block of named things; those with mistakes stay in it as none, so that references to them are no mistakes of their own.
fn named<'t, T>(
    reader: &Reader<'_>,
    fields: &mut Fields<'t>,
    key: &'static str,
    mut read: impl FnMut(Text, &'t Tree) -> Option<T>,
) -> BTreeMap<&'t str, Option<T>> {
    let Some(block) = fields.take(key).and_then(|t| reader.object(t, "this block of `use`")) else {
        return BTreeMap::new();
    };
    let entries = block.entries.iter().map(|e| {
        let name = Text { text: e.key.clone(), span: e.key_span, at: e.value.at.clone() };
        (&*e.key, read(name, &e.value))
    });
    entries.collect()
}
