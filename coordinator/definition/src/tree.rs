//! A document as a tree of values, each with its place in the source. YAML 1.2 with the core schema; JSON is YAML here.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};
use stepmill_protocol::limit::DEFINITION_BYTES_MAX;

use crate::mistake::{Mistake, Severity};
use crate::scalar::resolve;

/// Values of a document, with what its aliases repeat.
const NODES_MAX: usize = 100_000;
/// Nesting of a document.
const DEPTH_MAX: usize = 250;
/// Bytes of a key.
const KEY_BYTES_MAX: usize = 1024;

/// Offset and length in the source.
pub(crate) type Span = (usize, usize);

/// The place of a value in the document, from the value upwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pointer(Option<Rc<(Pointer, Rc<str>)>>);

impl Pointer {
    fn child(&self, segment: impl Into<Rc<str>>) -> Self {
        Self(Some(Rc::new((self.clone(), segment.into()))))
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut segments = Vec::new();
        let mut at = self;
        while let Some(inner) = &at.0 {
            segments.push(&inner.1);
            at = &inner.0;
        }
        segments.iter().rev().try_for_each(|s| write!(f, "/{}", escape(s)))
    }
}

/// A segment of a JSON pointer.
pub(crate) fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// A collection's span ends with its first line.
    pub(crate) span: Span,
    pub(crate) at: Pointer,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    List(Vec<Tree>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Rc<str>,
    pub(crate) key_span: Span,
    pub(crate) value: Tree,
}

impl Tree {
    /// What kind of value this is, for messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "an object",
        }
    }

    /// The value without its places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(b) => Value::Bool(*b),
            Kind::Number(n) => Value::Number(n.clone()),
            Kind::Text(s) => Value::String(s.to_string()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Map(entries) => {
                let pairs = entries.iter().map(|e| (e.key.to_string(), e.value.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|e| &*e.key == key).map(|e| &e.value),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => None,
        }
    }

    /// The same value at another place, as an alias repeats it.
    fn moved(&self, at: &Pointer) -> Self {
        let kind = match &self.kind {
            Kind::List(items) => {
                Kind::List(items.iter().enumerate().map(|(i, t)| t.moved(&at.child(i.to_string()))).collect())
            }
            Kind::Map(entries) => Kind::Map(
                entries
                    .iter()
                    .map(|e| Entry {
                        key: Rc::clone(&e.key),
                        key_span: e.key_span,
                        value: e.value.moved(&at.child(Rc::clone(&e.key))),
                    })
                    .collect(),
            ),
            scalar @ (Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_)) => scalar.clone(),
        };
        Self { span: self.span, at: at.clone(), kind }
    }

    fn nodes(&self) -> usize {
        match &self.kind {
            Kind::List(items) => 1 + items.iter().map(Self::nodes).sum::<usize>(),
            Kind::Map(entries) => 1 + entries.iter().map(|e| e.value.nodes()).sum::<usize>(),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => 1,
        }
    }

    fn depth(&self) -> usize {
        match &self.kind {
            Kind::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Kind::Map(entries) => 1 + entries.iter().map(|e| e.value.depth()).max().unwrap_or(0),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => 1,
        }
    }
}

/// A collection whose end has not been read yet.
struct Open {
    tree: Tree,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(Rc<str>, Span)>,
}

struct Builder<'s> {
    source: &'s str,
    open: Vec<Open>,
    root: Option<Tree>,
    anchors: HashMap<usize, Tree>,
    nodes: usize,
    mistakes: Vec<Mistake>,
}

/// Reads a document.
///
/// # Errors
/// The mistakes that keep it from being a document; with them the tree, where there is one to go on with.
pub(crate) fn parse(source: &str) -> (Option<Tree>, Vec<Mistake>) {
    let mut builder =
        Builder { source, open: Vec::new(), root: None, anchors: HashMap::new(), nodes: 0, mistakes: Vec::new() };
    if source.len() > DEFINITION_BYTES_MAX {
        let message = format!("the definition has {} bytes, {DEFINITION_BYTES_MAX} are allowed", source.len());
        builder.report("too-large", (0, 0), &Pointer::default(), message, "split it into several workflows");
        return (None, builder.mistakes);
    }
    match builder.read() {
        Ok(()) => {}
        Err(()) => builder.root = None,
    }
    if builder.root.is_none() && builder.mistakes.is_empty() {
        let help = "write at least `document` and `do`; see the examples";
        builder.report("empty", (0, 0), &Pointer::default(), "the file is empty".into(), help);
    }
    (builder.root, builder.mistakes)
}

impl Builder<'_> {
    fn report(&mut self, code: &'static str, span: Span, at: &Pointer, message: String, help: &str) {
        let path = at.to_string();
        self.mistakes.push(Mistake {
            code,
            message,
            help: help.into(),
            span: Some(span),
            path,
            severity: Severity::Error,
        });
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser may add events; what it says beyond values is presentation"
    )]
    fn read(&mut self) -> Result<(), ()> {
        let mut documents = 0;
        for next in Parser::new_from_str(self.source) {
            let (event, span) = match next {
                Ok(next) => next,
                Err(e) => {
                    let offset = e.marker().byte_offset().unwrap_or(0).min(self.source.len());
                    let help = "check indentation, quotes and brackets around this place";
                    self.report(
                        "syntax",
                        (offset, 0),
                        &Pointer::default(),
                        format!("not valid YAML: {}", e.info()),
                        help,
                    );
                    return Err(());
                }
            };
            let range = span.byte_range().unwrap_or(0..0);
            let span = (range.start.min(self.source.len()), range.len());
            match event {
                Event::DocumentStart(..) => {
                    documents += 1;
                    if documents > 1 {
                        let help = "put each definition into a file of its own";
                        self.report(
                            "syntax",
                            span,
                            &Pointer::default(),
                            "the file holds a second document".into(),
                            help,
                        );
                        return Err(());
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let tag = tag.map(|t| t.core_suffix().map_or_else(|| t.original(), |s| format!("!!{s}")));
                    self.scalar(&text, style, tag.as_deref(), span, anchor)?;
                }
                Event::SequenceStart(_, anchor, _) => self.begin(Kind::List(Vec::new()), span, anchor)?,
                Event::MappingStart(_, anchor, _) => self.begin(Kind::Map(Vec::new()), span, anchor)?,
                Event::SequenceEnd | Event::MappingEnd => self.end(span)?,
                Event::Alias(id) => {
                    let Some(target) = self.anchors.get(&id).cloned() else {
                        let help = "an alias may not stand inside what it repeats";
                        self.report("syntax", span, &Pointer::default(), "the alias is not known yet".into(), help);
                        return Err(());
                    };
                    self.count(target.nodes(), self.open.len() + target.depth(), span)?;
                    let at = self.place();
                    let tree = Tree { span, ..target.moved(&at) };
                    self.add(tree, 0)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, depth: usize, span: Span) -> Result<(), ()> {
        self.nodes += nodes;
        let message = if self.nodes > NODES_MAX {
            format!("the definition holds more than {NODES_MAX} values")
        } else if depth > DEPTH_MAX {
            format!("the definition is nested more than {DEPTH_MAX} levels deep")
        } else {
            return Ok(());
        };
        self.report("too-large", span, &Pointer::default(), message, "split it into several workflows");
        Err(())
    }

    /// The place of the value that comes next.
    fn place(&self) -> Pointer {
        match self.open.last() {
            None => Pointer::default(),
            Some(open) => match (&open.tree.kind, &open.key) {
                (Kind::List(items), _) => open.tree.at.child(items.len().to_string()),
                (_, Some((key, _))) => open.tree.at.child(Rc::clone(key)),
                (_, None) => open.tree.at.clone(),
            },
        }
    }

    fn begin(&mut self, kind: Kind, span: Span, anchor: usize) -> Result<(), ()> {
        self.count(1, self.open.len() + 1, span)?;
        if self.wants_key() {
            let help = "keys are text";
            self.report("syntax", span, &self.place(), "a list or an object cannot be a key".into(), help);
            return Err(());
        }
        let tree = Tree { span, at: self.place(), kind };
        self.open.push(Open { tree, anchor, key: None });
        Ok(())
    }

    fn wants_key(&self) -> bool {
        self.open.last().is_some_and(|o| matches!(o.tree.kind, Kind::Map(_)) && o.key.is_none())
    }

    fn end(&mut self, span: Span) -> Result<(), ()> {
        let Some(Open { mut tree, anchor, .. }) = self.open.pop() else { return Ok(()) };
        let all = self.source.get(tree.span.0..(span.0 + span.1).max(tree.span.0)).unwrap_or_default();
        tree.span.1 = all.lines().next().unwrap_or_default().trim_end().len();
        self.add(tree, anchor)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&str>,
        span: Span,
        anchor: usize,
    ) -> Result<(), ()> {
        self.count(1, self.open.len() + 1, span)?;
        if self.wants_key() {
            return self.key(text, span);
        }
        let at = self.place();
        let kind = match (style, tag) {
            (_, Some("!!str")) => Kind::Text(text.into()),
            (ScalarStyle::Plain, None | Some("!!null" | "!!bool" | "!!int" | "!!float")) => resolve(text)
                .unwrap_or_else(|message| {
                    self.report("number", span, &at, message, "put it into quotes to keep it as text");
                    Kind::Null
                }),
            (_, None) => Kind::Text(text.into()),
            (_, Some(tag)) => {
                self.report("syntax", span, &at, format!("the tag `{tag}` has no meaning here"), "remove it");
                Kind::Text(text.into())
            }
        };
        // literal and folded texts go over several lines: their first line is their place
        let shown = self.source.get(span.0..span.0 + span.1).and_then(|s| s.lines().next()).map_or(0, str::len);
        let span = if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) { (span.0, shown) } else { span };
        self.add(Tree { span, at, kind }, anchor)
    }

    fn key(&mut self, text: &str, span: Span) -> Result<(), ()> {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        open.key = Some((text.into(), span));
        let at = open.tree.at.clone();
        let twice = match &open.tree.kind {
            Kind::Map(entries) => entries.iter().any(|e| &*e.key == text),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => false,
        };
        if twice {
            let help = "an object has each key once; remove one or rename it";
            self.report("duplicate-key", span, &at, format!("the key `{text}` stands here a second time"), help);
        }
        if text.len() > KEY_BYTES_MAX {
            let message = format!("the key has {} bytes, {KEY_BYTES_MAX} are allowed", text.len());
            self.report("too-large", span, &at, message, "shorten it");
            return Err(());
        }
        Ok(())
    }

    fn add(&mut self, tree: Tree, anchor: usize) -> Result<(), ()> {
        if anchor > 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(tree);
            return Ok(());
        };
        match &mut open.tree.kind {
            Kind::List(items) => items.push(tree),
            Kind::Map(entries) => match open.key.take() {
                Some((key, key_span)) => entries.push(Entry { key, key_span, value: tree }),
                None => {
                    let help = "keys are text";
                    self.report("syntax", tree.span, &tree.at, "an alias cannot be a key".into(), help);
                    return Err(());
                }
            },
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
        }
        Ok(())
    }
}
