//! A document's tree as serde reads it: every failure with its place.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{PLACED, PLACED_FIELDS, Place};
use crate::mistake::Mistake;
use crate::near::nearest;
use crate::tree::{self, Entry, Kind, Tree};

/// How reading failed.
#[derive(Debug)]
pub(crate) struct Failed(pub(super) Box<Mistake>);

impl Failed {
    fn new(code: &'static str, message: String, help: String) -> Self {
        Self(Box::new(Mistake::error(code, &Place::default(), message, help)))
    }

    /// The same at this place, unless it has one.
    fn at(mut self, span: tree::Span, path: impl FnOnce() -> String) -> Self {
        if self.0.span.is_none() {
            self.0.span = Some(span);
            self.0.path = path();
        }
        self
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failed {}

impl de::Error for Failed {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("wrong-value", message.to_string(), String::new())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = if found == de::Unexpected::Map {
            "an object".to_owned()
        } else if found == de::Unexpected::Seq {
            "a list".to_owned()
        } else if found == de::Unexpected::Unit {
            "nothing".to_owned()
        } else {
            found.to_string()
        };
        Self::new("wrong-type", format!("this must be {expected}, not {found}"), format!("write {expected} here"))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let help = match nearest(field, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("remove it; known here: {}", known.join(", ")),
        };
        Self::new("unknown-key", format!("there is no key `{field}` here"), help)
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let help = match nearest(variant, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use one of {}", known.join(", ")),
        };
        Self::new("wrong-value", format!("`{variant}` is not known here"), help)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("missing-key", format!("`{field}` is missing here"), format!("add `{field}:`"))
    }
}

impl<'de> Deserializer<'de> for &Tree {
    type Error = Failed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        let read = match &self.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(b) => visitor.visit_bool(*b),
            Kind::Number(n) => match (n.as_u64(), n.as_i64()) {
                (Some(n), _) => visitor.visit_u64(n),
                (None, Some(n)) => visitor.visit_i64(n),
                (None, None) => visitor.visit_f64(n.as_f64().unwrap_or_default()),
            },
            Kind::Text(text) => visitor.visit_str(text),
            Kind::List(items) => visitor.visit_seq(Items(items.iter())),
            Kind::Map(entries) => visitor.visit_map(Fields { entries: entries.iter(), value: None }),
        };
        read.map_err(|e| e.at(self.span, || self.at.to_string()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        match self.kind {
            Kind::Null => visitor.visit_none(),
            Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_newtype_struct(self).map_err(|e| e.at(self.span, || self.at.to_string()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        match name {
            PLACED => visitor.visit_map(Parts {
                span: self.span,
                path: self.at.to_string(),
                inner: Inner::Value(self),
                given: 0,
            }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        let read = match &self.kind {
            Kind::Map(entries) => {
                let fields = Fields { entries: entries.iter(), value: None };
                MapAccessDeserializer::new(fields).deserialize_enum(name, variants, visitor)
            }
            Kind::Text(text) => StrDeserializer::new(text).deserialize_enum(name, variants, visitor),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => {
                let expected = variants.join(", ");
                Err(Failed::custom(format!("this must be one of {expected}, not {}", self.noun())))
            }
        };
        read.map_err(|e| e.at(self.span, || self.at.to_string()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items<'t>(std::slice::Iter<'t, Tree>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failed;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failed> {
        self.0.next().map(|item| seed.deserialize(item)).transpose()
    }
}

struct Fields<'t> {
    entries: std::slice::Iter<'t, Entry>,
    value: Option<&'t Tree>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Failed;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failed> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(&entry.value);
        let key = seed.deserialize(Key(entry)).map_err(|e| e.at(entry.key_span, || entry.value.at.to_string()));
        key.map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failed> {
        match self.value.take() {
            Some(value) => seed.deserialize(value),
            None => Err(Failed::custom("a value was asked for before its key")),
        }
    }
}

#[derive(Clone, Copy)]
struct Key<'t>(&'t Entry);

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Failed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_str(&self.0.key)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        if name != PLACED {
            return self.deserialize_any(visitor);
        }
        let (span, path) = (self.0.key_span, self.0.value.at.to_string());
        visitor.visit_map(Parts { span, path, inner: Inner::Key(self), given: 0 })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        StrDeserializer::new(&self.0.key).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

enum Inner<'t> {
    Value(&'t Tree),
    Key(Key<'t>),
}

/// The parts of a [`Placed`], one after the other.
struct Parts<'t> {
    span: tree::Span,
    path: String,
    inner: Inner<'t>,
    given: usize,
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Failed;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failed> {
        let Some(name) = PLACED_FIELDS.get(self.given) else { return Ok(None) };
        self.given += 1;
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failed> {
        match (self.given, &self.inner) {
            (1, _) => seed.deserialize((self.span.0 as u64).into_deserializer()),
            (2, _) => seed.deserialize((self.span.1 as u64).into_deserializer()),
            (3, _) => seed.deserialize(std::mem::take(&mut self.path).into_deserializer()),
            (_, Inner::Value(tree)) => seed.deserialize(*tree),
            (_, Inner::Key(key)) => seed.deserialize(*key),
        }
    }
}
