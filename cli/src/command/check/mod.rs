//! `check`: looks at definitions that compile for what will not work as meant, and says what a run can cost at most.

mod sarif;
mod steps;

use std::path::PathBuf;

use miette::Report;
use serde_json::{Value, json};
use stepmill_definition::check::{Bounds, Checked, Most, Options, check};
use stepmill_definition::{Compiled, Mistakes, Severity, compile};

use super::Context;
use super::validate::Wrong;
use crate::definitions::{self, Definition};
use crate::error::{CliError, FAILED};

const EXAMPLES: &str = "\
Examples:
  stepmill check flow.yaml
  stepmill check flows/ --steps charge,ship,refund   which steps your workers have
  stepmill check flows/ --steps steps.txt --deny warnings
  stepmill check flows/ --sarif > check.sarif        for editors and CI

Beyond what `validate` finds: tasks that are never reached, loops that nothing ends, model calls without a budget, waiting without \
a timeout, steps that no worker has, and values that never fit the schema of where they go. docs/checking.md explains each.

The exit code is 1 when a file has a mistake; with `--deny warnings` also when there is a warning.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// Definitions, YAML or JSON, or folders with some
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// The steps that your workers have, or a file that lists them; calls of others are mistakes [default: not checked]
    #[arg(long, value_name = "FILE|KIND,KIND")]
    steps: Option<String>,
    /// Answer as SARIF 2.1.0
    #[arg(long)]
    sarif: bool,
    /// What else makes the check fail
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Option<Deny>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Deny {
    Warnings,
}

/// A definition with what was found in it.
struct Judged {
    definition: Definition,
    /// None where it does not compile.
    head: Option<Value>,
    findings: Mistakes,
    bounds: Option<Bounds>,
}

impl Judged {
    fn of(definition: Definition, options: &Options) -> Self {
        match compile(&definition.source) {
            Ok(compiled) => {
                let Checked { findings, bounds } = check(&definition.source, &compiled, options);
                let Compiled { plan, .. } = compiled;
                let head = json!({
                    "workflow": plan.name, "version": plan.version, "namespace": plan.namespace, "digest": plan.digest,
                });
                Self { definition, head: Some(head), findings, bounds: Some(bounds) }
            }
            Err(findings) => Self { definition, head: None, findings, bounds: None },
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.list().iter().filter(|m| m.severity == severity).count()
    }

    fn as_json(&self) -> Value {
        let mut shown = json!({
            "file": self.definition.name(), "ok": self.count(Severity::Error) == 0,
            "findings": self.findings, "bounds": self.bounds,
        });
        if let (Some(shown), Some(Value::Object(head))) = (shown.as_object_mut(), &self.head) {
            shown.extend(head.clone());
        }
        shown
    }
}

pub(crate) fn run(context: &Context, args: &CheckArgs) -> Result<(), CliError> {
    let options = Options { steps: args.steps.as_deref().map(steps::known).transpose()? };
    let all: Vec<Judged> = definitions::read(context.out, &args.paths)?
        .into_iter()
        .map(|definition| Judged::of(definition, &options))
        .collect();
    let errors: usize = all.iter().map(|j| j.count(Severity::Error)).sum();
    let warnings: usize = all.iter().map(|j| j.count(Severity::Warning)).sum();
    let ok = errors == 0 && (warnings == 0 || args.deny != Some(Deny::Warnings));
    if args.sarif {
        let mut text = sarif::log(&all).to_string();
        text.push('\n');
        context.out.raw(text.as_bytes())?;
    } else {
        context.out.json(&json!({ "ok": ok, "files": all.iter().map(Judged::as_json).collect::<Vec<_>>() }))?;
        for judged in all {
            tell(context, judged)?;
        }
    }
    if ok { Ok(()) } else { Err(CliError::silent(FAILED)) }
}

fn tell(context: &Context, judged: Judged) -> Result<(), CliError> {
    let name = judged.definition.name();
    if let (Some(head), Some(bounds)) = (&judged.head, &judged.bounds) {
        let text = |key: &str| head.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let found = match (judged.count(Severity::Error), judged.count(Severity::Warning)) {
            (0, 0) => "nothing to report".to_owned(),
            (errors, warnings) => {
                let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
                format!("{}, {}", plural(errors, "mistake"), plural(warnings, "warning"))
            }
        };
        context.out.text(&format!("{name}: {} {}: {found}", text("workflow"), text("version")))?;
        context.out.text(&format!("  {}", cost(bounds)))?;
        for part in &bounds.unbounded {
            context.out.text(&format!("  no bound at {}: {}", part.path, part.why))?;
        }
    }
    if !judged.findings.list().is_empty() {
        let wrong = Wrong::new(&name, &judged.definition.source, judged.findings);
        context.out.note(&format!("{:?}", Report::new(wrong)));
    }
    Ok(())
}

/// What a run can cost at most, in one line.
fn cost(bounds: &Bounds) -> String {
    let most = |bound: Most, one: &str, many: &str| match bound {
        Most::AtMost(0) => format!("no {many}"),
        Most::AtMost(1) => format!("at most 1 {one}"),
        Most::AtMost(n) => format!("at most {n} {many}"),
        Most::Unbounded => format!("any number of {many}"),
    };
    let steps = most(bounds.steps, "attempt at a step", "attempts at steps");
    let calls = most(bounds.model_calls, "model call", "model calls");
    match (bounds.money, bounds.model_calls) {
        (Some(_), Most::AtMost(0)) => format!("{steps}, {calls}"),
        (Some(money), _) => format!("{steps}, {calls}, money {money}"),
        (None, _) => format!("{steps}, {calls}; money not known: a model call has no budget or no bound"),
    }
}
