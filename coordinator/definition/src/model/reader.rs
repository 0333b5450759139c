//! Reading typed things from a tree: each step either gives what was asked for or notes a mistake, and goes on.

use std::cell::RefCell;
use std::rc::Rc;

use crate::mistake::{Mistake, Severity};
use crate::near::nearest;
use crate::tree::{Entry, Kind, Pointer, Span, Tree};

/// A text and its place.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) text: Rc<str>,
    pub(crate) span: Span,
    pub(crate) at: Pointer,
}

/// Collects mistakes.
pub(crate) struct Reader<'s> {
    pub(crate) source: &'s str,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'s> Reader<'s> {
    pub(crate) fn new(source: &'s str, mistakes: Vec<Mistake>) -> Self {
        Self { source, mistakes: RefCell::new(mistakes) }
    }

    pub(crate) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner()
    }

    pub(crate) fn error(
        &self,
        code: &'static str,
        span: Span,
        at: &Pointer,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.note(Severity::Error, code, span, at, message.into(), help.into());
    }

    pub(crate) fn warn(
        &self,
        code: &'static str,
        span: Span,
        at: &Pointer,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.note(Severity::Warning, code, span, at, message.into(), help.into());
    }

    fn note(&self, severity: Severity, code: &'static str, span: Span, at: &Pointer, message: String, help: String) {
        let mistake = Mistake { code, message, help, span: Some(span), path: at.to_string(), severity };
        self.mistakes.borrow_mut().push(mistake);
    }

    /// The standard has it, we do not yet.
    pub(crate) fn unsupported(&self, feature: &str, span: Span, at: &Pointer) {
        let help = "remove it; docs/language.md lists what can be used";
        self.error("unsupported", span, at, format!("not supported yet: {feature}"), help);
    }

    fn wrong_type(&self, tree: &Tree, what: &str, wanted: &str) {
        let message = format!("{what} must be {wanted}, not {}", tree.noun());
        self.error("wrong-type", tree.span, &tree.at, message, format!("write {wanted} here"));
    }

    /// The fields of an object.
    pub(crate) fn object<'t>(&self, tree: &'t Tree, what: &'static str) -> Option<Fields<'t>> {
        match &tree.kind {
            Kind::Map(entries) => Some(Fields { entries, tree, what, known: Vec::new(), missing: Vec::new() }),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => {
                self.wrong_type(tree, what, "an object");
                None
            }
        }
    }

    pub(crate) fn list<'t>(&self, tree: &'t Tree, what: &str) -> Option<&'t [Tree]> {
        match &tree.kind {
            Kind::List(items) => Some(items),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_) => {
                self.wrong_type(tree, what, "a list");
                None
            }
        }
    }

    pub(crate) fn text(&self, tree: &Tree, what: &str) -> Option<Text> {
        match &tree.kind {
            Kind::Text(text) => Some(Text { text: Rc::clone(text), span: tree.span, at: tree.at.clone() }),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => {
                let message = format!("{what} must be text, not {}", tree.noun());
                self.error("wrong-type", tree.span, &tree.at, message, "put it into quotes");
                None
            }
            Kind::List(_) | Kind::Map(_) => {
                self.wrong_type(tree, what, "text");
                None
            }
        }
    }

    pub(crate) fn boolean(&self, tree: &Tree, what: &str) -> Option<bool> {
        match &tree.kind {
            Kind::Bool(b) => Some(*b),
            Kind::Null | Kind::Number(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
                self.wrong_type(tree, what, "true or false");
                None
            }
        }
    }

    /// A whole number. JSON Schema takes `3.0` for one, too.
    pub(crate) fn integer(&self, tree: &Tree, what: &str) -> Option<i64> {
        let number = match &tree.kind {
            Kind::Number(n) => n.as_i64().or_else(|| n.as_f64().filter(|f| f.fract() == 0.0).map(|f| f as i64)),
            Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => None,
        };
        if number.is_none() {
            self.wrong_type(tree, what, "a whole number");
        }
        number
    }

    /// An object with one field, as in lists of named things.
    pub(crate) fn single<'t>(&self, tree: &'t Tree, what: &'static str) -> Option<&'t Entry> {
        let fields = self.object(tree, what)?;
        match fields.entries {
            [one] => Some(one),
            [] => {
                self.error(
                    "wrong-type",
                    tree.span,
                    &tree.at,
                    format!("{what} is empty"),
                    "write `name:` and what it is below",
                );
                None
            }
            [_, second, ..] => {
                let help = format!("begin `{}` with a `-` of its own", second.key);
                let message = format!("{what} must have one name, but `{}` is a second one", second.key);
                self.error("two-in-one", second.key_span, &second.value.at, message, help);
                None
            }
        }
    }
}

/// The fields of an object that is being read.
pub(crate) struct Fields<'t> {
    pub(crate) entries: &'t [Entry],
    pub(crate) tree: &'t Tree,
    what: &'static str,
    known: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    /// A field that may be there.
    pub(crate) fn entry(&mut self, key: &'static str) -> Option<&'t Entry> {
        self.known.push(key);
        self.entries.iter().find(|e| &*e.key == key)
    }

    /// Its value.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'t Tree> {
        self.entry(key).map(|e| &e.value)
    }

    /// A field that must be there; [`Fields::finish`] notes it otherwise.
    pub(crate) fn need(&mut self, key: &'static str) -> Option<&'t Tree> {
        let found = self.take(key);
        if found.is_none() {
            self.missing.push(key);
        }
        found
    }

    /// Notes the fields that nobody asked for and those that are missing.
    pub(crate) fn finish(mut self, reader: &Reader<'_>) {
        let mut known = self.known.clone();
        known.sort_unstable();
        known.dedup();
        for entry in self.entries.iter().filter(|e| !self.known.contains(&&*e.key)) {
            let near = nearest(&entry.key, known.iter().copied());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    format!("remove it; known here: {}", known.join(", "))
                }
            };
            let message = format!("{} has no key `{}`", self.what, entry.key);
            reader.error("unknown-key", entry.key_span, &entry.value.at, message, help);
            // a key that is misspelt is not missing as well
            self.missing.retain(|m| near != Some(*m));
        }
        for key in &self.missing {
            let message = format!("{} needs `{key}`", self.what);
            reader.error("missing-key", self.tree.span, &self.tree.at, message, format!("add `{key}:`"));
        }
    }
}
