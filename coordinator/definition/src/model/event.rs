//! `listen` and the events that it speaks of.

use std::rc::Rc;

use super::policy::{Flow, uri};
use super::reader::{Fields, Reader, Text};
use super::task::{Task, tasks, variable};
use crate::plan::{Mode, ReadAs};
use crate::tree::{Entry, Kind, Tree};

/// `listen` with its `foreach`.
pub(crate) struct Listen<'t> {
    pub(crate) events: Option<Consumption<'t>>,
    pub(crate) foreach: Option<Foreach<'t>>,
}

/// Which events.
pub(crate) struct Consumption<'t> {
    pub(crate) mode: Mode,
    pub(crate) filters: Vec<Filter<'t>>,
    pub(crate) until: Option<Until<'t>>,
    pub(crate) read: ReadAs,
    pub(crate) tree: &'t Tree,
}

/// What ends an `any`.
pub(crate) enum Until<'t> {
    Condition(Text),
    Consumed(Box<Consumption<'t>>),
}

/// Which events fit.
pub(crate) struct Filter<'t> {
    pub(crate) with: Vec<&'t Entry>,
    pub(crate) correlate: Vec<Correlate<'t>>,
}

/// One key of `correlate`.
pub(crate) struct Correlate<'t> {
    pub(crate) key: Rc<str>,
    pub(crate) from: Text,
    pub(crate) expect: Option<&'t Tree>,
}

/// `foreach`.
pub(crate) struct Foreach<'t> {
    pub(crate) item: Option<Text>,
    pub(crate) at: Option<Text>,
    pub(crate) body: Option<Vec<Task<'t>>>,
    pub(crate) flow: Flow<'t>,
}

impl<'t> Listen<'t> {
    pub(crate) fn read(reader: &Reader<'_>, task: &mut Fields<'t>, tree: &'t Tree) -> Option<Self> {
        let foreach = task.take("foreach").and_then(|t| Foreach::read(reader, t));
        let mut fields = reader.object(tree, "`listen`")?;
        let to = fields.need("to");
        let read = fields.take("read").and_then(|t| read_as(reader, t)).unwrap_or(ReadAs::Data);
        fields.finish(reader);
        Some(Self { events: to.and_then(|t| Consumption::read(reader, t, read, true)), foreach })
    }
}

/// `read`.
pub(crate) fn read_as(reader: &Reader<'_>, tree: &Tree) -> Option<ReadAs> {
    let text = reader.text(tree, "`read`")?;
    match &*text.text {
        "data" => Some(ReadAs::Data),
        "envelope" => Some(ReadAs::Envelope),
        "raw" => Some(ReadAs::Raw),
        other => {
            let message = format!("`read` cannot be `{other}`");
            reader.error("wrong-value", text.span, &text.at, message, "use data, envelope or raw");
            None
        }
    }
}

impl<'t> Consumption<'t> {
    /// `outer`: an `until` may follow; the events of an `until` have none of their own.
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree, read: ReadAs, outer: bool) -> Option<Self> {
        let mut fields = reader.object(tree, "which events")?;
        let given: Vec<&Entry> = ["one", "any", "all"].into_iter().filter_map(|key| fields.entry(key)).collect();
        let (first, second) = (given.first().copied(), given.get(1));
        let until = if outer && first.is_none_or(|f| &*f.key == "any") { fields.take("until") } else { None };
        fields.finish(reader);
        let Some(first) = first else {
            let help = "write `one:` with a filter, or `any:` or `all:` with a list of them";
            reader.error("missing-key", tree.span, &tree.at, "it is not said which events", help);
            return None;
        };
        if let Some(second) = second {
            let message = format!("there is both `{}` and `{}`", first.key, second.key);
            reader.error("two-in-one", second.key_span, &second.value.at, message, "remove one of them");
        }
        let filters = match &*first.key {
            "one" => vec![Filter::read(reader, &first.value)],
            key => {
                let items = reader.list(&first.value, &format!("`{key}`"))?;
                items.iter().map(|t| Filter::read(reader, t)).collect()
            }
        };
        let until = until.map(|t| match &t.kind {
            Kind::Map(_) => Self::read(reader, t, read, false).map(|c| Until::Consumed(Box::new(c))),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => {
                reader.text(t, "`until`").map(Until::Condition)
            }
        });
        let until = match until {
            None => None,
            Some(until) => Some(until?),
        };
        let mode = if &*first.key == "all" { Mode::All } else { Mode::One };
        let filters: Option<Vec<_>> = filters.into_iter().collect();
        Some(Self { mode, filters: filters?, until, read, tree })
    }
}

impl<'t> Filter<'t> {
    fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "an event filter")?;
        let with = fields.need("with");
        let correlate = fields.take("correlate").and_then(|t| reader.object(t, "`correlate`"));
        fields.finish(reader);
        let correlate = correlate.iter().flat_map(|c| c.entries).map(|e| Correlate::read(reader, e));
        let correlate: Option<Vec<_>> = correlate.collect();
        let with = attributes(reader, with?, "`with`")?;
        if with.is_empty() {
            let help = "name an attribute, for instance `type: com.example.order.placed`";
            reader.error("missing-key", tree.span, &tree.at, "`with` of an event filter is empty", help);
            return None;
        }
        Some(Self { with, correlate: correlate? })
    }
}

impl<'t> Correlate<'t> {
    fn read(reader: &Reader<'_>, entry: &'t Entry) -> Option<Self> {
        let mut fields = reader.object(&entry.value, "a key of `correlate`")?;
        let from = fields.need("from").and_then(|t| reader.text(t, "`from`"));
        let expect = fields.take("expect");
        fields.finish(reader);
        if let Some(expect) = expect {
            reader.text(expect, "`expect`")?;
        }
        Some(Self { key: Rc::clone(&entry.key), from: from?, expect })
    }
}

/// The attributes of an event, each of the right kind.
pub(super) fn attributes<'t>(reader: &Reader<'_>, tree: &'t Tree, what: &'static str) -> Option<Vec<&'t Entry>> {
    let fields = reader.object(tree, what)?;
    let wrong = fields.entries.iter().filter(|e| !attribute(reader, e)).count();
    (wrong == 0).then(|| fields.entries.iter().collect())
}

fn attribute(reader: &Reader<'_>, entry: &Entry) -> bool {
    let tree = &entry.value;
    match &*entry.key {
        "data" => true,
        key @ ("source" | "dataschema") => {
            reader.text(tree, &format!("`{key}`")).is_some_and(|t| uri(reader, &t, &format!("`{key}`")))
        }
        key @ ("id" | "type" | "time" | "subject" | "datacontenttype") => {
            reader.text(tree, &format!("`{key}`")).is_some()
        }
        key => {
            let is_name = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let is_simple = matches!(tree.kind, Kind::Text(_) | Kind::Number(_) | Kind::Bool(_));
            if !is_name || key == "specversion" {
                let message = format!("`{key}` cannot be the name of an event's attribute");
                let help = "attributes of CloudEvents have names of lower-case letters and digits";
                reader.error("event-attribute", entry.key_span, &tree.at, message, help);
            } else if !is_simple {
                let message = format!("the attribute `{key}` cannot be {}", tree.noun());
                let help = "attributes of CloudEvents are texts, whole numbers or booleans; put the rest into `data`";
                reader.error("event-attribute", tree.span, &tree.at, message, help);
            }
            is_name && is_simple && key != "specversion"
        }
    }
}

impl<'t> Foreach<'t> {
    fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "`foreach`")?;
        let foreach = Self {
            item: fields.take("item").and_then(|t| variable(reader, t, "`item`")),
            at: fields.take("at").and_then(|t| variable(reader, t, "`at`")),
            body: fields.take("do").map(|t| tasks(reader, t, "`do`")),
            flow: Flow::out(reader, &mut fields),
        };
        fields.finish(reader);
        Some(foreach)
    }
}
