//! Checks of a definition that compiles: what will not work as its author thinks, and how much a run may cost at most. Each
//! check is a file of its own; all of them look at the plan and at the places of its source, and at nothing else.

mod bound;
mod budget;
mod clash;
mod dead;
mod endless;
mod fit;
pub(crate) mod flow;
mod place;
mod shape;
mod step;
mod timeout;

use std::collections::BTreeSet;

use crate::compile::Compiled;
use crate::mistake::{Mistake, Mistakes, Severity};
use crate::plan::{Node, NodeId, Plan};

pub use bound::{Bounds, Most, Unbounded};
use flow::Flow;
pub use flow::items;
use place::Places;

/// What a check should know beyond the definition.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The kinds of steps that workers have beyond those of the language; calls of others are mistakes. None: not checked.
    pub steps: Option<BTreeSet<String>>,
}

/// What was found.
#[derive(Debug)]
pub struct Checked {
    /// What is wrong or doubtful, the warnings of the compiler among it, in the order of the places.
    pub findings: Mistakes,
    /// What one run may cost at most.
    pub bounds: Bounds,
}

impl Checked {
    /// How many findings are this bad.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.list().iter().filter(|m| m.severity == severity).count()
    }
}

/// Checks a definition that was compiled from this source.
#[must_use]
pub fn check(source: &str, compiled: &Compiled, options: &Options) -> Checked {
    let flow = Flow::of(&compiled.plan);
    let mut check = Check {
        plan: &compiled.plan,
        places: Places::of(source),
        flow: &flow,
        options,
        found: compiled.warnings.clone(),
    };
    dead::check(&mut check);
    endless::check(&mut check);
    budget::check(&mut check);
    timeout::check(&mut check);
    step::check(&mut check);
    clash::check(&mut check);
    let bounds = bound::bounds(&check);
    Checked { findings: Mistakes::new(source, check.found), bounds }
}

/// What a finding of this code is about, in one sentence; none for codes of the compiler.
#[must_use]
pub fn describe(code: &str) -> Option<&'static str> {
    Some(match code {
        "unreachable" => "A task or a case that no run ever gets to.",
        "endless-loop" => "A loop that nothing ends.",
        "constant-condition" => "A condition of a loop that no iteration can change.",
        "missing-budget" => "Model calls that nothing limits.",
        "missing-timeout" => "A task that may wait without end.",
        "unknown-step" => "A call of a step that no worker has.",
        "type-clash" => "A value that never fits the schema of the place where it goes.",
        _ => return None,
    })
}

/// What the checks work with.
struct Check<'p> {
    plan: &'p Plan,
    places: Places,
    flow: &'p Flow<'p>,
    options: &'p Options,
    found: Vec<Mistake>,
}

impl<'p> Check<'p> {
    /// The nodes that a token may get to.
    fn reached(&self) -> impl Iterator<Item = &'p Node> + use<'p> {
        let flow = self.flow;
        self.plan.nodes.iter().filter(|n| flow.is_reached(n.id))
    }

    /// Notes a finding at a task's name.
    fn note(&mut self, severity: Severity, code: &'static str, node: NodeId, message: String, help: impl Into<String>) {
        self.note_at(severity, code, self.plan.node(node), "", message, help);
    }

    /// Notes a finding at something below a task, for instance `/input/schema`, or at its name where that is not written out.
    fn note_at(
        &mut self,
        severity: Severity,
        code: &'static str,
        node: &Node,
        below: &str,
        message: String,
        help: impl Into<String>,
    ) {
        let place = self.places.below(&node.path.0, below);
        self.note_place(severity, code, place, message, help);
    }

    fn note_place(
        &mut self,
        severity: Severity,
        code: &'static str,
        (path, span): (String, Option<(usize, usize)>),
        message: String,
        help: impl Into<String>,
    ) {
        self.found.push(Mistake { code, message, help: help.into(), span, path, severity });
    }
}
