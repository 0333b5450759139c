//! Expressions: jq, compiled once per definition, bounded by counted work, depth and output size. Same input, same
//! result, everywhere. How they are bounded: `docs/decision/0003-expression-limits.md`.

pub mod budget;
mod jaq;
mod json;
mod lang;
mod meter;
mod number;
mod operators;
mod path;
mod syntax;
mod uri;
mod value;

use std::sync::Arc;

use serde_json::Value;

use lang::{Lang, Shared};
use path::Plain;
pub use syntax::ExpressionMistake;

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Expression {
    /// Its text without `${ }`.
    pub source: Arc<str>,
    program: Arc<Program>,
}

enum Program {
    Plain(Plain),
    Filter {
        filter: jaq_core::Filter<Lang>,
        /// The variables that it uses, in the order in which it wants them.
        vars: Vec<Arc<str>>,
        reads_input: bool,
    },
}

/// What the value of an expression depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reads {
    /// Its input, or at least it cannot be told that it does not.
    pub input: bool,
    /// Variables, by name without `$`.
    pub variables: Vec<Arc<str>>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "${{ {} }}", self.source)
    }
}

/// The variables of an evaluation, by name without `$`. Every variable the plan's compiler accepts is passed in by name; one that has
/// no value at this place is absent and evaluates to null.
#[derive(Clone, Debug, Default)]
pub struct Variables(pub Vec<(Arc<str>, Arc<Value>)>);

impl Variables {
    /// The value of a variable; the last one of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(n, _)| &**n == name).map(|(_, v)| &**v)
    }
}

/// Why an expression gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It failed, in jq's words.
    #[error("expression `{source_text}` failed: {reason}")]
    Failed {
        /// Its text.
        source_text: String,
        /// jq's words.
        reason: String,
    },
    /// It gave no value.
    #[error("expression `{source_text}` gave no value")]
    Empty {
        /// Its text.
        source_text: String,
    },
    /// It used more than it may.
    #[error("expression `{source_text}` exceeded its limit of {limit}")]
    Limit {
        /// Its text.
        source_text: String,
        /// Which limit, with its number.
        limit: String,
    },
}

impl Expression {
    /// Compiles an expression (its text without `${ }`) that may use the variables `known` (names without `$`).
    ///
    /// # Errors
    /// [`ExpressionMistake`] when the text is no jq, uses what is not known or not allowed, or is too large.
    pub fn compile(text: &str, known: &[&str]) -> Result<Self, ExpressionMistake> {
        Self::build(text, known, false).map(|program| Self { source: text.into(), program: Arc::new(program) })
    }

    /// Compiles a URI template whose `{names}` are fields of the input; none where it has no such places.
    ///
    /// # Errors
    /// [`ExpressionMistake`] when it is no URI template of the simple kind.
    pub fn uri_template(template: &str) -> Result<Option<Self>, ExpressionMistake> {
        let Some(text) = uri::expression_of(template)? else { return Ok(None) };
        let program = Self::build(&text, &[], true)?;
        Ok(Some(Self { source: template.into(), program: Arc::new(program) }))
    }

    /// `own`: the text is ours and may use our internal filters.
    fn build(text: &str, known: &[&str], own: bool) -> Result<Program, ExpressionMistake> {
        let arena = syntax::Arena::default();
        let mut term = syntax::parse(text)?;
        let syntax::Names { vars: used, input: reads_input, .. } = syntax::names(&mut term);
        let is_known = |name: &str| known.iter().any(|k| Some(*k) == name.strip_prefix('$'));
        let vars: Vec<String> = used.into_iter().filter(|name| is_known(name)).collect();
        let bare = |name: &String| Arc::<str>::from(name.trim_start_matches('$'));
        Ok(match Plain::of(&term) {
            Some(plain) => {
                if let Plain::Path { root: path::Root::Variable(name), .. } = &plain
                    && !known.contains(&&**name)
                {
                    return Err(syntax::unknown_variable(text, &format!("${name}"), known));
                }
                Program::Plain(plain)
            }
            None => {
                let filter = syntax::link(text, term, &arena, &vars, known, own)?;
                Program::Filter { filter, vars: vars.iter().map(bare).collect(), reads_input }
            }
        })
    }

    /// The same expression with the interpreter, plain or not.
    #[cfg(test)]
    fn interpreted(text: &str, known: &[&str]) -> Result<Self, ExpressionMistake> {
        let arena = syntax::Arena::default();
        let vars: Vec<String> = known.iter().map(|k| format!("${k}")).collect();
        let filter = syntax::link(text, syntax::parse(text)?, &arena, &vars, known, false)?;
        let vars = known.iter().map(|k| Arc::from(*k)).collect();
        Ok(Self { source: text.into(), program: Arc::new(Program::Filter { filter, vars, reads_input: true }) })
    }

    #[cfg(test)]
    fn is_plain(&self) -> bool {
        matches!(&*self.program, Program::Plain(_))
    }

    /// The value that it gives; the first, where it gives several.
    ///
    /// # Errors
    /// [`ExpressionError`] when it fails, gives nothing, or uses more than it may.
    pub fn evaluate(&self, input: &Value, vars: &Variables) -> Result<Value, ExpressionError> {
        self.first(input, vars)?.ok_or_else(|| ExpressionError::Empty { source_text: self.shown() })
    }

    /// Whether it holds: its value is neither false nor null, and there is one.
    ///
    /// # Errors
    /// [`ExpressionError`] when it fails or uses more than it may.
    pub fn holds(&self, input: &Value, vars: &Variables) -> Result<bool, ExpressionError> {
        if let Program::Plain(plain) = &*self.program {
            let failed = |reason| ExpressionError::Failed { source_text: self.shown(), reason };
            return Ok(!matches!(plain.find(input, vars).map_err(failed)?, Value::Null | Value::Bool(false)));
        }
        let value = self.first(input, vars)?.unwrap_or(Value::Null);
        Ok(!matches!(value, Value::Null | Value::Bool(false)))
    }

    /// What its value depends on.
    #[must_use]
    pub fn reads(&self) -> Reads {
        match &*self.program {
            Program::Plain(plain) => plain.reads(),
            Program::Filter { vars, reads_input, .. } => Reads { input: *reads_input, variables: vars.clone() },
        }
    }

    /// Its value, where it is the same whatever happens.
    #[must_use]
    pub fn constant(&self) -> Option<Value> {
        let reads = self.reads();
        if reads.input || !reads.variables.is_empty() {
            return None;
        }
        self.evaluate(&Value::Null, &Variables::default()).ok()
    }

    fn first(&self, input: &Value, vars: &Variables) -> Result<Option<Value>, ExpressionError> {
        let failed = |reason| ExpressionError::Failed { source_text: self.shown(), reason };
        let stopped = |stop: meter::Stop| ExpressionError::Limit { source_text: self.shown(), limit: stop.to_string() };
        let (filter, names) = match &*self.program {
            Program::Plain(plain) => {
                let value = plain.find(input, vars).map_err(failed)?;
                let _within = meter::enter_unit(None);
                return meter::copied(value).map(|()| Some(value.clone())).map_err(stopped);
            }
            Program::Filter { filter, vars, .. } => (filter, vars),
        };
        let outcome = meter::metered(|| {
            let values: Vec<value::Val> =
                names.iter().map(|name| json::read(vars.get(name).unwrap_or(&Value::Null))).collect();
            let ctx = jaq_core::Ctx::<Lang>::new(Shared(&filter.lut), jaq_core::Vars::new(values));
            let first = filter.id.run((ctx, json::read(input))).next();
            first.map(|out| out.map(|v| json::give(&v)).map_err(lang::reason)).transpose()
        });
        match outcome {
            Ok(value) => value.map_err(failed),
            Err(stop) => Err(stopped(stop)),
        }
    }

    /// The text for messages.
    fn shown(&self) -> String {
        /// Characters of an expression shown in a message.
        const SHOWN: usize = 200;
        let mut shown: String = self.source.trim().chars().take(SHOWN).collect();
        if self.source.trim().chars().count() > SHOWN {
            shown.push('…');
        }
        shown
    }
}

#[cfg(test)]
mod tests;
