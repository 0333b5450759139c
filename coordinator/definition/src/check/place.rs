//! Where the parts of a plan stand in its source.

use std::collections::HashMap;

use crate::tree::{self, Kind, Span, Tree, escape};

/// The bodies of functions are compiled once per call, below the call; written they are once, at the top.
const FUNCTIONS: &str = "/use/functions/";

/// All places of a source, by JSON pointer.
pub(super) struct Places(HashMap<String, Span>);

impl Places {
    pub(super) fn of(source: &str) -> Self {
        let mut places = HashMap::new();
        if let (Some(root), _) = tree::parse(source) {
            gather(&root, &mut String::new(), root.span, &mut places);
        }
        Self(places)
    }

    /// The place of something below a node, or the nearest place above that is written out.
    pub(super) fn below(&self, path: &str, below: &str) -> (String, Option<Span>) {
        let node = path.rfind(FUNCTIONS).and_then(|i| path.get(i..)).unwrap_or(path);
        let whole = format!("{node}{below}");
        let mut at = whole.as_str();
        loop {
            if let Some(span) = self.0.get(at) {
                return (at.to_owned(), Some(*span));
            }
            match at.rfind('/') {
                Some(i) => at = &at[..i],
                None => return (whole, None),
            }
        }
    }
}

/// The place of a value that has a key is its key.
fn gather(tree: &Tree, path: &mut String, span: Span, places: &mut HashMap<String, Span>) {
    places.insert(path.clone(), span);
    let length = path.len();
    match &tree.kind {
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
        Kind::List(items) => {
            for (i, item) in items.iter().enumerate() {
                path.push_str(&format!("/{i}"));
                gather(item, path, item.span, places);
                path.truncate(length);
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                path.push('/');
                path.push_str(&escape(&entry.key));
                gather(&entry.value, path, entry.key_span, places);
                path.truncate(length);
            }
        }
    }
}
