//! The fast way for plain expressions: constants and paths such as `.a.b[0]` or `$context.x` are evaluated on the JSON
//! value itself, with the results that jaq gives.

use std::sync::Arc;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::path::{Opt, Part};
use serde_json::Value;

use super::{Reads, Variables};

/// An expression that needs no interpreter.
#[derive(Debug)]
pub(super) enum Plain {
    Const(Value),
    Path { root: Root, steps: Vec<Key> },
}

#[derive(Debug)]
pub(super) enum Root {
    Input,
    Variable(Arc<str>),
}

#[derive(Debug)]
pub(super) enum Key {
    Field(String),
    Item(i64),
}

impl Plain {
    /// The plain form of a term, if it has one.
    pub(super) fn of(term: &Term<&str>) -> Option<Self> {
        match term {
            Term::Call(name, args) if args.is_empty() => match *name {
                "null" => Some(Self::Const(Value::Null)),
                "true" => Some(Self::Const(Value::Bool(true))),
                "false" => Some(Self::Const(Value::Bool(false))),
                _ => None,
            },
            Term::Num(n) => n.parse::<i64>().ok().map(|i| Self::Const(i.into())),
            Term::Str(None, parts) => text(parts).map(|s| Self::Const(s.into())),
            Term::Id => Some(Self::Path { root: Root::Input, steps: Vec::new() }),
            Term::Var(name) => Some(Self::Path { root: variable(name), steps: Vec::new() }),
            Term::BinOp(l, BinaryOp::Pipe(None), r) => Self::of(l)?.then(Self::of(r)?),
            Term::Path(from, path) => {
                let Self::Path { root, mut steps } = Self::of(from)? else { return None };
                for part in &path.0 {
                    match part {
                        (Part::Index(i), Opt::Essential) => steps.push(Key::of(i)?),
                        (Part::Index(_) | Part::Range(..), _) => return None,
                    }
                }
                Some(Self::Path { root, steps })
            }
            Term::Recurse
            | Term::Call(..)
            | Term::Str(Some(_), _)
            | Term::Arr(_)
            | Term::Obj(_)
            | Term::Neg(_)
            | Term::BinOp(..)
            | Term::Label(..)
            | Term::Break(_)
            | Term::Fold(..)
            | Term::TryCatch(..)
            | Term::IfThenElse(..)
            | Term::Def(..) => None,
        }
    }

    /// What its value depends on.
    pub(super) fn reads(&self) -> Reads {
        match self {
            Self::Const(_) => Reads { input: false, variables: Vec::new() },
            Self::Path { root: Root::Input, .. } => Reads { input: true, variables: Vec::new() },
            Self::Path { root: Root::Variable(name), .. } => Reads { input: false, variables: vec![Arc::clone(name)] },
        }
    }

    /// `self | next`, where `next` begins at its input.
    fn then(self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Path { root, mut steps }, Self::Path { root: Root::Input, steps: more }) => {
                steps.extend(more);
                Some(Self::Path { root, steps })
            }
            _ => None,
        }
    }

    /// The value, or why there is none.
    pub(super) fn find<'v>(&'v self, input: &'v Value, vars: &'v Variables) -> Result<&'v Value, String> {
        let (root, steps) = match self {
            Self::Const(v) => return Ok(v),
            Self::Path { root, steps } => (root, steps),
        };
        let mut at = match root {
            Root::Input => input,
            Root::Variable(name) => vars.get(name).unwrap_or(&Value::Null),
        };
        for key in steps {
            at = key.follow(at)?;
        }
        Ok(at)
    }
}

fn variable(name: &str) -> Root {
    Root::Variable(name.trim_start_matches('$').into())
}

fn text(parts: &[StrPart<&str, Term<&str>>]) -> Option<String> {
    let mut out = String::new();
    for part in parts {
        match part {
            StrPart::Str(s) => out.push_str(s),
            StrPart::Char(c) => out.push(*c),
            StrPart::Term(_) => return None,
        }
    }
    Some(out)
}

impl Key {
    fn of(term: &Term<&str>) -> Option<Self> {
        match term {
            Term::Str(None, parts) => text(parts).map(Self::Field),
            Term::Num(n) => n.parse().ok().map(Self::Item),
            Term::Neg(n) => match Self::of(n)? {
                Self::Item(i) => Some(Self::Item(-i)),
                Self::Field(_) => None,
            },
            Term::Id
            | Term::Recurse
            | Term::Str(Some(_), _)
            | Term::Arr(_)
            | Term::Obj(_)
            | Term::BinOp(..)
            | Term::Label(..)
            | Term::Break(_)
            | Term::Fold(..)
            | Term::TryCatch(..)
            | Term::IfThenElse(..)
            | Term::Def(..)
            | Term::Call(..)
            | Term::Var(_)
            | Term::Path(..) => None,
        }
    }

    fn follow<'v>(&self, at: &'v Value) -> Result<&'v Value, String> {
        match (at, self) {
            (Value::Null, _) => Ok(&Value::Null),
            (Value::Object(map), Self::Field(k)) => Ok(map.get(k).unwrap_or(&Value::Null)),
            (Value::Array(items), Self::Item(i)) => {
                let i = if *i < 0 { i.saturating_add_unsigned(items.len() as u64) } else { *i };
                Ok(usize::try_from(i).ok().and_then(|i| items.get(i)).unwrap_or(&Value::Null))
            }
            (v, Self::Field(k)) => Err(format!("cannot index {} with \"{k}\"", short(v))),
            (v, Self::Item(i)) => Err(format!("cannot index {} with {i}", short(v))),
        }
    }
}

/// A value's kind and beginning, for a message.
fn short(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => {
            let shown: String = s.chars().take(40).collect();
            if shown.len() < s.len() { format!("\"{shown}…\"") } else { format!("\"{shown}\"") }
        }
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(map) => format!("an object with {} fields", map.len()),
    }
}
