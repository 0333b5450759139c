//! `validate`: checks definitions here, without a server, and shows all mistakes at once.

use std::path::{Path, PathBuf};

use miette::{Diagnostic, NamedSource, Report, SourceCode};
use serde_json::{Value, json};
use stepmill_definition::{Compiled, Mistakes, Severity, compile};

use super::Context;
use crate::definitions;
use crate::error::{CliError, FAILED};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  stepmill validate flow.yaml
  stepmill validate flows/                   every definition in a folder and its folders
  stepmill validate flows/*.yaml --json

The exit code is 1 when a file has a mistake. Warnings change nothing.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ValidateArgs {
    /// Definitions, YAML or JSON, or folders with some
    #[arg(required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(context: &Context, args: &ValidateArgs) -> Result<(), CliError> {
    let mut answers = Vec::new();
    let mut wrong = 0;
    for definition in definitions::read(context.out, &args.files)? {
        let (name, source) = (definition.name(), definition.source);
        match compile(&source) {
            Ok(compiled) => answers.push(accepted(context.out, &name, &source, compiled)?),
            Err(mistakes) => {
                wrong += 1;
                let mistakes = mistakes.with_name(&name);
                answers.push(json!({ "file": name, "ok": false, "mistakes": mistakes, "warnings": [] }));
                context.out.note(&format!("{:?}", Report::new(Wrong::new(&name, &source, mistakes))));
            }
        }
    }
    context.out.json(&json!({ "ok": wrong == 0, "files": answers }))?;
    if wrong == 0 { Ok(()) } else { Err(CliError::silent(FAILED)) }
}

/// Checks one definition for a command that needs it to be right.
pub(crate) fn check(file: &Path, source: &str) -> Result<(), CliError> {
    match compile(source) {
        Ok(_) => Ok(()),
        Err(mistakes) => Err(CliError::diagnostic(Wrong::new(&file.display().to_string(), source, mistakes))),
    }
}

fn accepted(out: Output, name: &str, source: &str, compiled: Compiled) -> Result<Value, CliError> {
    let Compiled { plan, warnings } = compiled;
    out.text(&format!("{name}: {} {} is in order", plan.name, plan.version))?;
    let listed = json!({
        "file": name, "ok": true, "workflow": plan.name, "version": plan.version, "namespace": plan.namespace,
        "digest": plan.digest, "mistakes": [], "warnings": warnings,
    });
    for warning in warnings {
        out.note(&format!("{:?}", Report::new(warning).with_source_code(NamedSource::new(name, source.to_owned()))));
    }
    Ok(listed)
}

/// A file with mistakes, as people see it: a heading, then each mistake over the source.
#[derive(Debug)]
pub(crate) struct Wrong {
    source: NamedSource<String>,
    mistakes: Mistakes,
}

impl Wrong {
    pub(crate) fn new(name: &str, source: &str, mistakes: Mistakes) -> Self {
        Self { source: NamedSource::new(name, source.to_owned()), mistakes }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |grade| self.mistakes.list().iter().filter(|m| m.severity == grade).count();
        let parts = [(count(Severity::Error), "mistake"), (count(Severity::Warning), "warning")]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| format!("{n} {word}{}", if n == 1 { "" } else { "s" }));
        write!(f, "{} has {}", self.source.name(), parts.collect::<Vec<_>>().join(" and "))
    }
}

impl std::error::Error for Wrong {}

impl Diagnostic for Wrong {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.mistakes.list().iter().map(|m| m as &dyn Diagnostic)))
    }
}
