//! Reading other documents than definitions into types of their own, with the places of their mistakes: for files that
//! stand beside definitions.

mod reader;

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};

use crate::mistake::{Mistake, Mistakes, Severity};
use crate::tree::{self, Kind, Tree};

/// A YAML or JSON text, read.
#[derive(Debug)]
pub struct Document<'s> {
    source: &'s str,
    root: Tree,
}

/// Where something stands: nowhere for what was made in a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Offset and length in the source, in bytes.
    pub span: Option<(usize, usize)>,
    /// A JSON pointer.
    pub path: String,
}

/// A value with its place.
#[derive(Clone, Debug, Default)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Place,
}

impl<T: PartialEq> PartialEq for Placed<T> {
    /// The same value may stand at two places.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Placed<T> {}

impl<T: PartialOrd> PartialOrd for Placed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<T: Ord> Ord for Placed<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.value.cmp(&other.value)
    }
}

impl<T> From<T> for Placed<T> {
    fn from(value: T) -> Self {
        Self { value, place: Place::default() }
    }
}

impl From<&str> for Placed<String> {
    fn from(value: &str) -> Self {
        Self::from(value.to_owned())
    }
}

impl<'s> Document<'s> {
    /// Reads a text.
    ///
    /// # Errors
    /// The mistakes that keep it from being a document.
    pub fn parse(source: &'s str) -> Result<Self, Mistakes> {
        let (root, mistakes) = tree::parse(source);
        match root {
            Some(root) if mistakes.is_empty() => Ok(Self { source, root }),
            Some(_) | None => Err(Mistakes::new(source, mistakes)),
        }
    }

    /// The document as a value of this type.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        T::deserialize(&self.root).map_err(|e| *e.0)
    }

    /// The items of the list `key` of the document's own object, each read by itself: what fits, and the first mistake of
    /// each item that does not.
    #[must_use]
    pub fn read_each<T: DeserializeOwned>(&self, key: &str) -> (Vec<T>, Vec<Mistake>) {
        let items = match self.root.get(key).map(|tree| &tree.kind) {
            Some(Kind::List(items)) => items.as_slice(),
            Some(Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_)) | None => &[],
        };
        let (mut read, mut mistakes) = (Vec::new(), Vec::new());
        for item in items {
            match T::deserialize(item) {
                Ok(item) => read.push(item),
                Err(e) => mistakes.push(*e.0),
            }
        }
        (read, mistakes)
    }

    /// Mistakes of this document, to be shown over its text.
    #[must_use]
    pub fn mistakes(&self, list: Vec<Mistake>) -> Mistakes {
        Mistakes::new(self.source, list)
    }
}

impl Mistake {
    /// An error at a place.
    #[must_use]
    pub fn error(code: &'static str, place: &Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: help.into(),
            span: place.span,
            path: place.path.clone(),
            severity: Severity::Error,
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn as_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }
}

const PLACED: &str = "$placed";
const PLACED_FIELDS: [&str; 4] = ["$offset", "$length", "$path", "$value"];

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlacedVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for PlacedVisitor<T> {
            type Value = Placed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value of a document")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Placed<T>, A::Error> {
                let [offset, length, path, value] = PLACED_FIELDS;
                let span = (part(&mut map, offset)?, part(&mut map, length)?);
                let path = part(&mut map, path)?;
                let value = part(&mut map, value)?;
                Ok(Placed { value, place: Place { span: Some(span), path } })
            }
        }

        deserializer.deserialize_struct(PLACED, &PLACED_FIELDS, PlacedVisitor(PhantomData))
    }
}

fn part<'de, A: MapAccess<'de>, V: Deserialize<'de>>(map: &mut A, name: &str) -> Result<V, A::Error> {
    match map.next_key::<String>()? {
        Some(key) if key == name => map.next_value(),
        Some(_) | None => Err(A::Error::custom("only a document can tell the places of its values")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        name: Placed<String>,
        #[serde(default)]
        counts: BTreeMap<Placed<String>, u32>,
        #[serde(default)]
        any: Option<Value>,
    }

    const SOURCE: &str = "name: a\ncounts:\n  first: 1\n  second: 2\nany: {x: [1, -2, 2.5, null, true]}\n";

    #[test]
    fn values_keys_and_their_places_are_read() {
        let thing: Thing = Document::parse(SOURCE).unwrap().read().unwrap();
        assert_eq!((thing.name.value.as_str(), thing.name.place.path.as_str()), ("a", "/name"));
        let (second, n) = thing.counts.last_key_value().unwrap();
        assert_eq!((second.value.as_str(), *n), ("second", 2));
        let (offset, length) = second.place.span.unwrap();
        assert_eq!(&SOURCE[offset..offset + length], "second");
        assert_eq!(thing.any.unwrap(), serde_json::json!({"x": [1, -2, 2.5, null, true]}));
    }

    #[test]
    fn a_mistake_has_its_place_and_says_what_to_do() {
        let read = |source: &str| {
            let mistake = Document::parse(source).unwrap().read::<Thing>().unwrap_err();
            let span = mistake.span.unwrap();
            (mistake.code, source[span.0..span.0 + span.1].to_owned(), mistake.path, mistake.help)
        };
        let (code, at, path, help) = read("name: a\ncuonts: {}\n");
        assert_eq!((code, at.as_str(), path.as_str()), ("unknown-key", "cuonts", "/cuonts"));
        assert_eq!(help, "did you mean `counts`?");
        let (code, at, path, _) = read("name: a\ncounts:\n  first: many\n");
        assert_eq!((code, at.as_str(), path.as_str()), ("wrong-type", "many", "/counts/first"));
        let (code, _, _, help) = read("counts: {}\n");
        assert_eq!((code, help.as_str()), ("missing-key", "add `name:`"));
    }

    #[test]
    fn each_item_of_a_list_is_read_by_itself() {
        let source = "things:\n  - name: a\n  - nam: b\n  - name: 3\n  - name: c\n";
        let document = Document::parse(source).unwrap();
        let (things, mistakes) = document.read_each::<Thing>("things");
        assert_eq!(things.iter().map(|t| t.name.value.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(mistakes.iter().map(|m| m.path.as_str()).collect::<Vec<_>>(), ["/things/1/nam", "/things/2/name"]);
    }
}
