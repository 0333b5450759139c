//! How a command fails: what is shown, and the exit code.
//!
//! Exit codes: 0 done; 1 it failed, or the run that it waited for did not complete; 2 the command line, the configuration
//! or an input is wrong; 130 stopped by Ctrl-C.

use miette::{Diagnostic, MietteDiagnostic, Report};
use serde_json::{Value, json};
use stepmill_protocol::Problem;

/// The command failed.
pub(crate) const FAILED: u8 = 1;
/// What the command was given is wrong.
pub(crate) const USAGE: u8 = 2;
/// Somebody pressed Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command ended without success.
#[derive(Debug)]
pub(crate) struct CliError {
    code: u8,
    shown: Option<Box<Shown>>,
}

#[derive(Debug)]
struct Shown {
    report: Report,
    problem: Option<Problem>,
}

impl CliError {
    /// It failed; `message` says what happened.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::from_report(FAILED, MietteDiagnostic::new(message).into(), None)
    }

    /// It failed; `message` says what happened and `help` what to do.
    pub(crate) fn with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::from_report(FAILED, MietteDiagnostic::new(message).with_help(help).into(), None)
    }

    /// It was used wrongly.
    pub(crate) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::from_report(USAGE, MietteDiagnostic::new(message).with_help(help).into(), None)
    }

    /// A finished diagnostic about what the command was given.
    pub(crate) fn diagnostic(diagnostic: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self::from_report(USAGE, Report::new(diagnostic), None)
    }

    /// A labelled diagnostic over a source text.
    pub(crate) fn labelled(diagnostic: MietteDiagnostic, name: &str, source: &str) -> Self {
        let source = miette::NamedSource::new(name, source.to_owned());
        Self::from_report(USAGE, Report::new(diagnostic).with_source_code(source), None)
    }

    /// Everything has been said already.
    pub(crate) const fn silent(code: u8) -> Self {
        Self { code, shown: None }
    }

    fn from_report(code: u8, report: Report, problem: Option<Problem>) -> Self {
        Self { code, shown: Some(Box::new(Shown { report, problem })) }
    }

    /// The process's exit code.
    pub(crate) const fn code(&self) -> u8 {
        self.code
    }

    /// The report for people; none when everything has been said.
    pub(crate) fn render(&self) -> Option<String> {
        self.shown.as_ref().map(|s| format!("{:?}", s.report))
    }

    /// The same for machines: `{"error": {…}}`, in the form of problem details.
    pub(crate) fn as_json(&self) -> Option<Value> {
        let shown = self.shown.as_ref()?;
        if let Some(problem) = &shown.problem {
            return Some(json!({ "error": problem }));
        }
        let kind = if self.code == USAGE { "usage" } else { "failed" };
        let status = if self.code == USAGE { 400 } else { 500 };
        let mut problem = Problem::own(kind, status, &shown.report.to_string(), String::new());
        problem.detail = shown.report.help().map(|h| h.to_string());
        let related: Vec<Value> = shown.report.related().into_iter().flatten().map(part).collect();
        let labels = labels(shown.report.as_ref());
        if !labels.is_empty() || !related.is_empty() {
            problem.extra = Some(json!({ "labels": labels, "mistakes": related }));
        }
        Some(json!({ "error": problem }))
    }
}

fn part(diagnostic: &dyn Diagnostic) -> Value {
    let help = diagnostic.help().map(|h| h.to_string());
    json!({ "message": diagnostic.to_string(), "help": help, "labels": labels(diagnostic) })
}

fn labels(diagnostic: &dyn Diagnostic) -> Vec<Value> {
    let all = diagnostic.labels().into_iter().flatten();
    all.map(|l| json!({ "offset": l.offset(), "length": l.len(), "label": l.label() })).collect()
}

impl From<crate::local::LocalError> for CliError {
    fn from(error: crate::local::LocalError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        let mut diagnostic = MietteDiagnostic::new(problem.to_string());
        if let Some(place) = &problem.instance {
            diagnostic = diagnostic.with_help(format!("at {place}"));
        }
        let code = if problem.status == 400 { USAGE } else { FAILED };
        Self::from_report(code, diagnostic.into(), Some(problem))
    }
}

/// Reads a whole text file, or says which one could not be read.
pub(crate) fn read_file(path: &std::path::Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|e| {
        CliError::usage(
            format!("cannot read {}: {e}", path.display()),
            "check the path and the permissions; text files must be UTF-8",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_keep_their_form_for_machines() {
        let problem = Problem::own("not-found", 404, "Not found", "no run with this id");
        let error = CliError::from(problem.clone());
        assert_eq!(error.code(), FAILED);
        assert_eq!(error.as_json(), Some(json!({ "error": problem })));
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        assert!(CliError::silent(1).render().is_none());
        assert!(CliError::silent(1).as_json().is_none());
    }
}
