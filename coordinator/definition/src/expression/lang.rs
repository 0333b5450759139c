//! The jq that definitions are written in: jaq's core over our values, with the built-ins of `prelude` and nothing that
//! reads a clock, the environment or other inputs.
#![expect(clippy::wildcard_enum_match_arm, reason = "JSON has six kinds for good; every other kind is the same error")]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jaq_core::load::parse::Def;
use jaq_core::native::{Fun, bome, run, unary, v};
use jaq_core::{Bind, DataT, Error, Exn, Native, ValXs, data::HasLut};

use super::json;
use super::meter::{self, PATTERN_SIZE_MAX, Stop, check_stack, spend, spend_bulk, stop};
use super::number::Num;
use super::value::{Val, positions};

/// Ties the interpreter to our values and our counting.
pub(super) struct Lang;

/// What every context of an evaluation carries. It is cloned with the context, at each call and pipe: there we count.
pub(super) struct Shared<'a>(pub(super) &'a jaq_core::Lut<Lang>);

/// Work of a call or a pipe, in units (see [`meter`]); a copy of a value is 1.
const STEP: u64 = 10;
/// Work of building a regular expression.
const PATTERN: u64 = 2_000;

impl DataT for Lang {
    type V<'a> = Val;
    type Data<'a> = Shared<'a>;
}

impl<'a> HasLut<'a, Lang> for Shared<'a> {
    fn lut(&self) -> &'a jaq_core::Lut<Lang> {
        self.0
    }
}

impl Clone for Shared<'_> {
    fn clone(&self) -> Self {
        spend(STEP);
        check_stack();
        Self(self.0)
    }
}

/// Native filters of jaq that are left out, and why.
pub(super) const FORBIDDEN: &[(&str, &str)] = &[
    (
        "now",
        "it reads the clock; a run must give the same result whenever it is folded. Use `$task.startedAt` or `$workflow.startedAt`",
    ),
    ("env", "it reads the environment of the coordinator"),
    ("localtime", "it depends on the time zone of the machine; use `gmtime`"),
    ("strflocaltime", "it depends on the time zone of the machine; use `strftime`"),
    ("halt", "it would end the coordinator; use `error`"),
    ("halt_error", "it would end the coordinator; use `error`"),
    ("debug", "expressions have no output but their value"),
    ("stderr", "expressions have no output but their value"),
    ("input", "an expression has one input, `.`"),
    ("inputs", "an expression has one input, `.`"),
    ("input_filename", "an expression has one input, `.`"),
    ("input_line_number", "an expression has one input, `.`"),
];

const LEFT_OUT: &[&str] = &["now", "env", "localtime", "strflocaltime", "halt", "debug_empty", "stderr_empty"];

/// All definitions that an expression may use; see [`needed`].
static PRELUDE: LazyLock<Vec<Def<&'static str>>> = LazyLock::new(|| {
    let forbidden: BTreeSet<&str> = FORBIDDEN.iter().map(|f| f.0).collect();
    let own = jaq_core::load::parse(include_str!("prelude.jq"), |p| p.defs()).unwrap_or_default();
    // a definition sees only those before it: the guards of native filters must come first
    let guards = jaq_core::load::parse(GUARDS, |p| p.defs()).unwrap_or_default();
    let theirs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let replaced: BTreeSet<(&str, usize)> = own.iter().map(|d| (d.name, d.args.len())).collect();
    let kept = theirs.filter(|d| !forbidden.contains(d.name) && !replaced.contains(&(d.name, d.args.len())));
    guards.into_iter().chain(kept).chain(own.iter().cloned()).collect()
});

/// Definitions that count the cost of a native filter before they run it.
const GUARDS: &str = "
def matches($re; $flags): __pattern($re) | __matches($re; $flags);
def split_matches($re; $flags): __pattern($re) | __split_matches($re; $flags);
def split_($re; $flags): __pattern($re) | __split($re; $flags);
";

/// The definitions of the prelude that `names` need, themselves or through others, in their order. The whole prelude
/// in each compiled expression would cost hundreds of kilobytes.
pub(super) fn needed(mut names: BTreeSet<String>) -> Vec<Def<&'static str>> {
    loop {
        let before = names.len();
        let used: Vec<String> = PRELUDE
            .iter()
            .filter(|d| names.contains(d.name))
            .flat_map(|d| super::syntax::names(&mut d.body.clone()).calls)
            .collect();
        names.extend(used);
        if names.len() == before {
            return PRELUDE.iter().filter(|d| names.contains(d.name)).cloned().collect();
        }
    }
}

/// Whether the prelude or a native filter has this name.
pub(super) fn known_names() -> impl Iterator<Item = &'static str> {
    PRELUDE.iter().map(|d| d.name).chain(natives().map(|n| n.0)).filter(|n| !n.starts_with('_'))
}

/// The native filters.
pub(super) fn natives() -> impl Iterator<Item = Fun<Lang>> {
    let jaq = jaq_core::funs().chain(jaq_std::funs()).filter(|f| !LEFT_OUT.contains(&f.0)).map(|(name, args, f)| {
        // guarded by definitions of the prelude that count their cost first
        let name = match name {
            "matches" => "__matches",
            "split_matches" => "__split_matches",
            "split_" => "__split",
            other => other,
        };
        (name, args, f)
    });
    jaq.chain(own().into_iter().map(run::<Lang>)).chain([deep()])
}

fn own() -> [jaq_core::native::Filter<jaq_core::RunPtr<Lang>>; 10] {
    [
        ("fromjson", v(0), |cv| bome(from_json(&cv.1))),
        ("tojson", v(0), |cv| bome(Ok(Val::text(json::write(&cv.1))))),
        ("length", v(0), |cv| bome(length(&cv.1))),
        ("contains", v(1), |cv| unary(cv, |x, y| Ok(Val::Bool(x.contains(&y))))),
        ("has", v(1), |cv| unary(cv, |x, k| has(&x, &k))),
        ("indices", v(1), |cv| unary(cv, |x, y| indices(&x, &y))),
        ("bsearch", v(1), |cv| unary(cv, |x, y| bsearch(&x, &y))),
        ("__percent", v(1), |cv| unary(cv, |x, name| percent(&x, &name))),
        ("__segment", v(1), |cv| unary(cv, |x, name| segment(&x, &name))),
        ("__pattern", v(1), |cv| {
            unary(cv, |x, pattern| {
                if let (Val::Str(text), Val::Str(pattern)) = (&x, &pattern) {
                    let size = pattern_size(&pattern.text);
                    if size > PATTERN_SIZE_MAX {
                        stop(Stop::Pattern);
                    }
                    spend(PATTERN.saturating_add(size.saturating_mul(4 * (text.text.len() as u64 + 8))));
                }
                Ok(x)
            })
        }),
    ]
}

fn from_json(x: &Val) -> jaq_core::ValR<Val> {
    match x {
        Val::Str(s) => {
            spend_bulk(s.text.len() * 8);
            let value: serde_json::Value =
                serde_json::from_str(&s.text).map_err(|e| Error::str(format_args!("cannot parse {x} as JSON: {e}")))?;
            Ok(json::read(&value))
        }
        x => Err(Error::typ(x.clone(), "string")),
    }
}

fn length(x: &Val) -> jaq_core::ValR<Val> {
    Ok(match x {
        Val::Null => Val::int(0),
        Val::Num(n) => Val::Num(if n.order(Num::Int(0)).is_lt() { n.neg() } else { *n }),
        Val::Str(s) => {
            spend_bulk(s.text.len());
            Val::int(s.text.chars().count())
        }
        Val::Arr(a) => Val::int(a.items.len()),
        Val::Obj(o) => Val::int(o.map.len()),
        x @ Val::Bool(_) => return Err(Error::str(format_args!("{x} has no length"))),
    })
}

fn has(x: &Val, k: &Val) -> jaq_core::ValR<Val> {
    match (x, k) {
        (Val::Obj(_), Val::Str(_)) | (Val::Arr(_), Val::Num(_)) => Ok(Val::Bool(x.entry(k)?.is_some())),
        (x, k) => Err(Error::str(format_args!("cannot check whether {x} has a key {k}"))),
    }
}

fn indices(x: &Val, y: &Val) -> jaq_core::ValR<Val> {
    match (x, y) {
        (Val::Null, _) => Ok(Val::Null),
        (Val::Str(x), Val::Str(y)) => {
            spend_bulk((x.text.len() + 1) * (y.text.len() + 1));
            let starts = x.text.char_indices().enumerate();
            let found = starts.filter(|(_, (b, _))| !y.text.is_empty() && x.text[*b..].starts_with(y.text.as_str()));
            Ok(Val::arr(found.map(|(n, _)| Val::int(n)).collect()))
        }
        (Val::Arr(x), Val::Arr(y)) => Ok(positions(&x.items, &y.items)),
        (Val::Arr(x), y) => {
            let found = x.items.iter().enumerate().filter(|(_, v)| *v == y);
            Ok(Val::arr(found.map(|(n, _)| Val::int(n)).collect()))
        }
        (x, y) => Err(Error::index(x.clone(), y.clone())),
    }
}

fn bsearch(x: &Val, y: &Val) -> jaq_core::ValR<Val> {
    match x {
        Val::Arr(a) => Ok(match a.items.binary_search(y) {
            Ok(i) => Val::int(i),
            Err(i) => Val::Num(Num::Int(-1 - i as i128)),
        }),
        x => Err(Error::typ(x.clone(), "array")),
    }
}

/// Percent-encodes a value for one place of a URI template; only scalars have a form there.
fn percent(x: &Val, name: &Val) -> jaq_core::ValR<Val> {
    let text = match x {
        Val::Str(s) => s.text.clone(),
        Val::Bool(_) | Val::Num(_) => json::write(x),
        x @ (Val::Null | Val::Arr(_) | Val::Obj(_)) => {
            let what = "a string, number or boolean is needed in a URI";
            return Err(Error::str(format_args!("the field {name} of the input is {x}: {what}")));
        }
    };
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    Ok(Val::text(out))
}

/// The same for a place in the path, which `.` and `..` would lead out of: they have no other spelling there.
fn segment(x: &Val, name: &Val) -> jaq_core::ValR<Val> {
    match x {
        Val::Str(s) if matches!(s.text.as_str(), "." | "..") => Err(Error::str(format_args!(
            "the field {name} of the input is {x}, which leads to another place in a URI's path"
        ))),
        x => percent(x, name),
    }
}

/// An upper bound of the size of a compiled pattern: its length with all counted repetitions multiplied out.
fn pattern_size(pattern: &str) -> u64 {
    let repeats = pattern.split('{').skip(1).filter_map(|rest| {
        let inside = rest.split('}').next()?;
        inside.split(',').filter_map(|n| n.trim().parse::<u64>().ok()).max()
    });
    repeats.fold(pattern.len() as u64, |size, n| size.saturating_mul(n.max(1)))
}

/// An iterator that counts as a call while it works.
struct Deep<I>(I, u32);

impl<I: Iterator> Iterator for Deep<I> {
    type Item = I::Item;
    fn next(&mut self) -> Option<I::Item> {
        meter::enter(self.1);
        let item = self.0.next();
        meter::leave(self.1);
        item
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

fn weight(v: &Val) -> u32 {
    match v {
        Val::Num(n) => n.floor().and_then(|i| u32::try_from(i).ok()).unwrap_or(1).max(1),
        Val::Null | Val::Bool(_) | Val::Str(_) | Val::Arr(_) | Val::Obj(_) => 1,
    }
}

/// `__deep(w; f)` is `f`, counted as `w` levels of calls while it runs. Every definition of an expression is wrapped so.
fn deep() -> Fun<Lang> {
    let args = Box::new([Bind::Var(()), Bind::Fun(())]);
    let native = Native::<Lang>::new(|mut cv| {
        let ((f, fc), w) = (cv.0.pop_fun(), weight(&cv.0.pop_var()));
        meter::enter(w);
        let out: ValXs<'_, Val> = f.run((fc, cv.1));
        meter::leave(w);
        Box::new(Deep(out, w))
    });
    let native = native.with_paths(|mut cv| {
        let ((f, fc), w) = (cv.0.pop_fun(), weight(&cv.0.pop_var()));
        meter::enter(w);
        let out = f.paths((fc, cv.1));
        meter::leave(w);
        Box::new(Deep(out, w))
    });
    let native = native.with_update(|mut cv, update| {
        let ((f, fc), w) = (cv.0.pop_fun(), weight(&cv.0.pop_var()));
        meter::enter(w);
        let out = f.update((fc, cv.1), update);
        meter::leave(w);
        Box::new(Deep(out, w))
    });
    ("__deep", args, native)
}

/// The text of an error as jq shows it.
pub(super) fn reason(exn: Exn<'_, Val>) -> String {
    match exn.get_err() {
        Ok(error) => match error.into_val() {
            Val::Str(s) => s.text.chars().take(500).collect(),
            v => v.to_string(),
        },
        Err(_) => "it left a label that it is not in".into(),
    }
}
