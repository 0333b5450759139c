//! Mistakes of a definition: all of one file together, each with its place and what to do about it.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity as Grade, SourceCode};
use serde::Serialize;

/// Mistakes of one file that are shown; a file with more is of another kind.
const MISTAKES_MAX: usize = 200;

/// How bad a mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The definition is refused.
    Error,
    /// The definition is accepted; its author should look.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// What kind, for instance `unknown-key` or `unsupported`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub help: String,
    /// Where in the source: offset and length in bytes.
    pub span: Option<(usize, usize)>,
    /// Where in the document: a JSON pointer.
    pub path: String,
    /// How bad it is.
    pub severity: Severity,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl Diagnostic for Mistake {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<Grade> {
        Some(match self.severity {
            Severity::Error => Grade::Error,
            Severity::Warning => Grade::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span?;
        let label = if self.path.is_empty() { "here".to_owned() } else { format!("at {}", self.path) };
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some(label), span))))
    }
}

/// The mistakes of one file, in the order of their places.
#[derive(Debug)]
pub struct Mistakes {
    source: NamedSource<String>,
    list: Vec<Mistake>,
}

impl Mistakes {
    pub(crate) fn new(source: &str, mut list: Vec<Mistake>) -> Self {
        tidy(&mut list);
        Self { source: NamedSource::new("definition", source.to_owned()), list }
    }

    /// The same mistakes, shown as those of this file.
    #[must_use]
    pub fn with_name(mut self, file: &str) -> Self {
        self.source = NamedSource::new(file, self.source.inner().clone());
        self
    }

    /// The mistakes.
    #[must_use]
    pub fn list(&self) -> &[Mistake] {
        &self.list
    }

    /// The same mistakes under a heading that counts them, to be rendered by miette.
    #[must_use]
    pub const fn shown(&self) -> Shown<'_> {
        Shown(self)
    }

    fn place(&self, mistake: &Mistake) -> (usize, usize) {
        let offset = mistake.span.map_or(0, |s| s.0);
        let before = self.source.inner().get(..offset).unwrap_or_default();
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        (line, column)
    }
}

/// Puts mistakes in the order of their places and drops those said twice (a function is checked at each of its calls).
pub(crate) fn tidy(list: &mut Vec<Mistake>) {
    list.sort_by(|a, b| (a.span, a.code, &a.message).cmp(&(b.span, b.code, &b.message)));
    list.dedup_by(|a, b| a.span == b.span && a.code == b.code && a.message == b.message);
    if list.len() > MISTAKES_MAX {
        let more = list.len() - MISTAKES_MAX;
        list.truncate(MISTAKES_MAX);
        list.push(Mistake {
            code: "more",
            message: format!("and {more} more mistakes"),
            help: "correct these first".into(),
            span: None,
            path: String::new(),
            severity: Severity::Error,
        });
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            let (line, column) = self.place(mistake);
            write!(f, "{line}:{column}: {}", mistake.message)?;
            if !mistake.help.is_empty() {
                write!(f, " ({})", mistake.help)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl Diagnostic for Mistakes {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self.list.as_slice() {
            [one] => Some(Box::new(one.code)),
            _ => None,
        }
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.list.iter().map(|m| m as &dyn Diagnostic)))
    }
}

/// See [`Mistakes::shown`].
#[derive(Debug)]
pub struct Shown<'m>(&'m Mistakes);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |grade| self.0.list.iter().filter(|m| m.severity == grade).count();
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let parts: Vec<String> = [(errors, "mistake"), (warnings, "warning")]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| plural(n, word))
            .collect();
        write!(f, "{} in {}", parts.join(" and "), self.0.source.name())
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.0.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        self.0.related()
    }
}

impl Serialize for Mistakes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Placed<'a> {
            line: usize,
            column: usize,
            #[serde(flatten)]
            mistake: &'a Mistake,
        }
        serializer.collect_seq(self.list.iter().map(|mistake| {
            let (line, column) = self.place(mistake);
            Placed { line, column, mistake }
        }))
    }
}
