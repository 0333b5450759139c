//! From the text of an expression to jaq's program: parsed within a bound on nesting, every definition wrapped so that its
//! calls are counted, only those built-ins linked that it needs.

use std::collections::BTreeSet;

use jaq_core::compile::Undefined;
pub(super) use jaq_core::load::Arena;
use jaq_core::load::lex::{Lexer, StrPart, Token};
use jaq_core::load::parse::{BinaryOp, Def, Expect, Parser, Pattern, Term};
use jaq_core::load::{File, Loader};
use jaq_core::path::Part;

use super::lang::{FORBIDDEN, Lang, known_names, natives, needed};
use crate::near::nearest;

/// Bytes of an expression.
const BYTES_MAX: usize = 32 * 1024;
/// Nesting of an expression, operators in a row included: the parser and the interpreter go one level down for each.
const NESTING_MAX: usize = 100;

/// Why a text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionMistake {
    /// `expression-syntax`, `expression-unknown`, `expression-forbidden` or `expression-limit`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
    /// Where in the expression's text: offset and length in bytes.
    pub span: (usize, usize),
}

/// The names that a term uses.
#[derive(Default)]
pub(super) struct Names {
    pub(super) calls: BTreeSet<String>,
    pub(super) vars: BTreeSet<String>,
    /// Whether it may look at its input; true for what is not known.
    pub(super) input: bool,
}

/// Parses an expression.
#[expect(clippy::wildcard_enum_match_arm, reason = "jaq may add kinds of tokens that it expects")]
pub(super) fn parse(code: &str) -> Result<Term<&str>, ExpressionMistake> {
    check_size(code)?;
    let whole = |part: &str| span_of(code, part);
    let tokens = Lexer::new(code).lex().map_err(|errors| match errors.into_iter().next() {
        Some((expect, found)) => {
            let what = expect.as_str();
            syntax(format!("{what} expected"), whole(first_char(found)))
        }
        None => syntax("not an expression".into(), (0, code.len())),
    })?;
    Parser::new(&tokens).parse(|p| p.term()).map_err(|errors| match errors.into_iter().next() {
        Some((expect, found)) => {
            let found = Token::opt_as_str(found, code);
            let got = match found {
                "" => "the end".to_owned(),
                found => format!("`{}`", found.chars().take(20).collect::<String>()),
            };
            let message = match expect {
                Expect::Nothing => format!("unexpected {got}"),
                expect => format!("{} expected, but found {got}", expect.as_str()),
            };
            syntax(message, whole(found))
        }
        None => syntax("not an expression".into(), (0, code.len())),
    })
}

fn first_char(s: &str) -> &str {
    s.get(..s.chars().next().map_or(0, char::len_utf8)).unwrap_or(s)
}

fn span_of(code: &str, part: &str) -> (usize, usize) {
    // `part` may come from a built-in definition instead; then the whole expression is meant
    let start = (part.as_ptr() as usize).wrapping_sub(code.as_ptr() as usize);
    if start <= code.len() && part.len() <= code.len() - start { (start, part.len()) } else { (0, code.len()) }
}

fn syntax(message: String, span: (usize, usize)) -> ExpressionMistake {
    let help = "expressions are jq: paths like `.a.b`, operators, and functions such as `length` or `map(f)`".into();
    ExpressionMistake { code: "expression-syntax", message, help, span }
}

fn check_size(code: &str) -> Result<(), ExpressionMistake> {
    let too = |message: String| {
        let help = "split it over several tasks, or write the constant part of the data as YAML".into();
        Err(ExpressionMistake { code: "expression-limit", message, help, span: (0, code.len()) })
    };
    if code.len() > BYTES_MAX {
        return too(format!("the expression has {} bytes, {BYTES_MAX} are allowed", code.len()));
    }
    match nesting(code) {
        n if n > NESTING_MAX => too(format!("the expression is nested {n} levels deep, {NESTING_MAX} are allowed")),
        _ => Ok(()),
    }
}

/// An upper bound of how deep the parser will go, from the characters alone.
fn nesting(code: &str) -> usize {
    /// A pair of brackets that is open, with the levels that its operators make.
    struct Open {
        levels: usize,
        close: char,
    }
    let mut open = vec![Open { levels: 0, close: '\0' }];
    let (mut sum, mut max) = (0_usize, 0_usize);
    let mut word = String::new();
    let mut chars = code.chars().peekable();
    let mut in_text = false;
    while let Some(c) = chars.next() {
        if in_text {
            match c {
                '\\' if chars.next() == Some('(') => {
                    in_text = false;
                    open.push(Open { levels: 1, close: '"' });
                    sum += 1;
                }
                '"' => in_text = false,
                _ => {}
            }
            max = max.max(sum);
            continue;
        }
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
        } else {
            word.clear();
        }
        let ends_word = chars.peek().is_none_or(|n| !(n.is_alphanumeric() || *n == '_'));
        let keyword = matches!(
            word.as_str(),
            "if" | "elif" | "try" | "catch" | "reduce" | "foreach" | "def" | "label" | "as" | "and" | "or"
        );
        match c {
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '"' => in_text = true,
            '(' | '[' | '{' => {
                open.push(Open { levels: 1, close: c });
                sum += 1;
            }
            ')' | ']' | '}' => {
                if open.len() > 1
                    && let Some(closed) = open.pop()
                {
                    sum -= closed.levels;
                    in_text = closed.close == '"';
                }
                deepen(&mut open, &mut sum, |o| o.levels += 1);
            }
            ',' if open.last().is_some_and(|o| o.close == '{') => {
                deepen(&mut open, &mut sum, |o| o.levels = 1);
            }
            '|' | ',' | '+' | '-' | '*' | '/' | '%' | '=' | '<' | '>' | '?' | '.' => {
                deepen(&mut open, &mut sum, |o| o.levels += 1);
            }
            _ if keyword && ends_word => deepen(&mut open, &mut sum, |o| o.levels += 1),
            _ => {}
        }
        max = max.max(sum);
    }
    return max;

    fn deepen(open: &mut [Open], sum: &mut usize, change: impl FnOnce(&mut Open)) {
        if let Some(last) = open.last_mut() {
            *sum -= last.levels;
            change(last);
            *sum += last.levels;
        }
    }
}

/// The terms directly inside a term.
fn children<'t, 's>(term: &'t mut Term<&'s str>) -> Vec<&'t mut Term<&'s str>> {
    let mut out: Vec<&mut Term<&str>> = Vec::new();
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) | Term::Arr(None) => {}
        Term::Str(_, parts) => out.extend(parts.iter_mut().filter_map(|p| match p {
            StrPart::Term(t) => Some(t),
            StrPart::Str(_) | StrPart::Char(_) => None,
        })),
        Term::Arr(Some(t)) | Term::Neg(t) | Term::Label(_, t) => out.push(t),
        Term::Obj(entries) => entries.iter_mut().for_each(|(k, v)| {
            out.push(k);
            out.extend(v.as_mut());
        }),
        Term::BinOp(l, op, r) => {
            out.push(l);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                in_pattern(pattern, &mut out);
            }
            out.push(r);
        }
        Term::Fold(_, xs, pattern, rest) => {
            out.push(xs);
            in_pattern(pattern, &mut out);
            out.extend(rest.iter_mut());
        }
        Term::TryCatch(t, c) => {
            out.push(t);
            out.extend(c.as_deref_mut());
        }
        Term::IfThenElse(cases, other) => {
            cases.iter_mut().for_each(|(c, t)| out.extend([c, t]));
            out.extend(other.as_deref_mut());
        }
        Term::Def(defs, t) => {
            out.extend(defs.iter_mut().map(|d| &mut d.body));
            out.push(t);
        }
        Term::Call(_, args) => out.extend(args.iter_mut()),
        Term::Path(t, path) => {
            out.push(t);
            for (part, _) in &mut path.0 {
                match part {
                    Part::Index(i) => out.push(i),
                    Part::Range(from, to) => out.extend(from.iter_mut().chain(to.iter_mut())),
                }
            }
        }
    }
    out
}

fn in_pattern<'t, 's>(pattern: &'t mut Pattern<&'s str>, out: &mut Vec<&'t mut Term<&'s str>>) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(parts) => parts.iter_mut().for_each(|p| in_pattern(p, out)),
        Pattern::Obj(entries) => entries.iter_mut().for_each(|(k, p)| {
            out.push(k);
            in_pattern(p, out);
        }),
    }
}

/// The names that a term uses, local ones included.
pub(super) fn names(term: &mut Term<&str>) -> Names {
    let mut found = Names::default();
    collect(term, &mut found);
    found
}

fn collect(term: &mut Term<&str>, found: &mut Names) {
    match term {
        Term::Call(name, _) | Term::Str(Some(name), _) => {
            found.input |= !["null", "true", "false"].contains(name);
            found.calls.insert((*name).to_owned());
        }
        Term::Var(name) => drop(found.vars.insert((*name).to_owned())),
        Term::Obj(entries) => {
            // `{$x}` is short for `{x: $x}`
            for (k, v) in entries.iter() {
                if let (Term::Var(name), None) = (k, v) {
                    found.vars.insert((*name).to_owned());
                }
            }
        }
        Term::Id | Term::Recurse => found.input = true,
        Term::Num(_)
        | Term::Str(None, _)
        | Term::Arr(_)
        | Term::Neg(_)
        | Term::BinOp(..)
        | Term::Label(..)
        | Term::Break(_)
        | Term::Fold(..)
        | Term::TryCatch(..)
        | Term::IfThenElse(..)
        | Term::Def(..)
        | Term::Path(..) => {}
    }
    for child in children(term) {
        collect(child, found);
    }
}

/// Wraps the body of every definition in `__deep`, with its height as the weight. Gives the term's height.
fn guard<'s>(term: &mut Term<&'s str>, arena: &'s Arena) -> Result<usize, ExpressionMistake> {
    let mut height = 0;
    if let Term::Def(defs, rest) = term {
        for def in defs {
            if def.name.starts_with('_') {
                return Err(ExpressionMistake {
                    code: "expression-forbidden",
                    message: format!("a definition may not be called `{}`", def.name),
                    help: "names that begin with `_` are reserved; choose another".into(),
                    span: (0, 0),
                });
            }
            let weight = guard(&mut def.body, arena)?;
            height = height.max(weight);
            let weight: &'s str = arena.alloc(weight.to_string());
            let body = std::mem::take(&mut def.body);
            def.body = Term::Call("__deep", vec![Term::Num(weight), body]);
        }
        return Ok(height.max(guard(rest, arena)?) + 1);
    }
    for child in children(term) {
        height = height.max(guard(child, arena)?);
    }
    Ok(height + 1)
}

/// Compiles a parsed expression; `vars` are the global variables with `$`, in the order in which they will be given.
pub(super) fn link<'s>(
    code: &'s str,
    mut term: Term<&'s str>,
    arena: &'s Arena,
    vars: &'s [String],
    known: &[&str],
    own: bool,
) -> Result<jaq_core::Filter<Lang>, ExpressionMistake> {
    let calls = names(&mut term).calls;
    if let Some(name) = calls.iter().find(|n| n.starts_with('_') && !own) {
        return Err(unknown(name, code.find(name.as_str()).map_or((0, code.len()), |at| (at, name.len()))));
    }
    guard(&mut term, arena)?;
    let mut prelude: Vec<Def<&str>> = needed(calls).into_iter().collect();
    prelude.push(Def { name: "__main", args: Vec::new(), body: term });
    let modules = Loader::new(prelude)
        .load(arena, File { code: "__main", path: () })
        .map_err(|_| syntax("not an expression".into(), (0, code.len())))?;
    let compiler =
        jaq_core::Compiler::<_, Lang>::default().with_funs(natives()).with_global_vars(vars.iter().map(String::as_str));
    compiler.compile(modules).map_err(|errors| {
        let first = errors.into_iter().flat_map(|(_, e)| e).next();
        match first {
            Some((name, Undefined::Var)) => unknown_variable(code, name, known),
            Some((name, what)) => undefined(code, name, &what),
            None => syntax("not an expression".into(), (0, code.len())),
        }
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "jaq may add kinds of symbols")]
fn undefined(code: &str, name: &str, what: &Undefined) -> ExpressionMistake {
    let span = span_of(code, name);
    match what {
        Undefined::Filter(0) => unknown(name, span),
        Undefined::Filter(n) => {
            let mut mistake = unknown(name, span);
            if mistake.code == "expression-unknown" {
                mistake.message =
                    format!("there is no function `{name}` with {n} argument{}", if *n == 1 { "" } else { "s" });
            }
            mistake
        }
        other => ExpressionMistake {
            code: "expression-unknown",
            message: format!("there is no {} `{name}`", other.as_str()),
            help: "define it in the expression before it is used".into(),
            span,
        },
    }
}

fn unknown(name: &str, span: (usize, usize)) -> ExpressionMistake {
    if let Some((_, why)) = FORBIDDEN.iter().find(|f| f.0 == name) {
        let message = format!("`{name}` is not allowed in a workflow");
        return ExpressionMistake { code: "expression-forbidden", message, help: (*why).into(), span };
    }
    let help = match nearest(name, known_names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "text needs quotes inside an expression, fields begin with a dot: `\"text\"`, `.field`".into(),
    };
    ExpressionMistake { code: "expression-unknown", message: format!("there is no function `{name}`"), help, span }
}

/// The mistake of using a variable that is not known at this place.
pub(super) fn unknown_variable(code: &str, name: &str, known: &[&str]) -> ExpressionMistake {
    let (at, _) = if code.contains(name) && span_of(code, name).1 == code.len() {
        (code.find(name).unwrap_or(0), 0)
    } else {
        span_of(code, name)
    };
    let bare = name.trim_start_matches('$');
    let list = known.iter().map(|k| format!("`${k}`")).collect::<Vec<_>>().join(", ");
    let help = match nearest(bare, known.iter().copied()) {
        Some(near) => format!("did you mean `${near}`? Known here: {list}"),
        None => format!("known here: {list}"),
    };
    ExpressionMistake {
        code: "expression-unknown",
        message: format!("there is no variable `{name}` here"),
        help,
        span: (at, name.len()),
    }
}
