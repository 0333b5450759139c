//! From the model to the plan: names resolved, expressions compiled, constants checked.

mod budget;
mod call;
mod check;
mod compensate;
mod emit;
mod event;
mod extension;
mod flow;
mod join;
mod node;
mod outside;
mod policy;
mod run_workflow;
mod schedule;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use stepmill_protocol::limit::{PLAN_DEPTH_MAX, PLAN_NODES_MAX};
use stepmill_protocol::{Digest, Namespace, Version, WorkflowName};

use crate::mistake::{Mistake, Mistakes, Severity, tidy};
use crate::model::reader::Reader;
use crate::model::{Uses, Workflow};
use crate::plan::{Node, NodeId, Plan};
use crate::tree::{self, Pointer, Span};

/// A definition that was accepted.
#[derive(Debug)]
pub struct Compiled {
    /// What runs.
    pub plan: Plan,
    /// What its author should look at.
    pub warnings: Vec<Mistake>,
}

/// The address of a definition.
#[must_use]
pub fn digest(source: &str) -> Digest {
    Digest(blake3::hash(source.as_bytes()).to_hex().as_str().into())
}

/// Compiles a definition: YAML or JSON text of an Open Workflow DSL 1.0 document.
///
/// # Errors
/// All mistakes of the file at once, warnings among them.
pub fn compile(source: &str) -> Result<Compiled, Mistakes> {
    let (root, mistakes) = tree::parse(source);
    let reader = Reader::new(source, mistakes);
    let plan = root.as_ref().and_then(|root| {
        let workflow = Workflow::read(&reader, root)?;
        Compiler::new(&reader, &workflow).workflow(&workflow)
    });
    let mut mistakes = reader.into_mistakes();
    let refused = mistakes.iter().any(|m| m.severity == Severity::Error);
    match plan {
        Some(plan) if !refused => {
            tidy(&mut mistakes);
            Ok(Compiled { plan, warnings: mistakes })
        }
        Some(_) => Err(Mistakes::new(source, mistakes)),
        None => {
            if !refused {
                // nothing should end here; if something does, its author gets an answer all the same
                mistakes.push(Mistake {
                    code: "internal",
                    message: "the definition could not be compiled".into(),
                    help: "this is a fault of Stepmill; please report it with the definition".into(),
                    span: None,
                    path: String::new(),
                    severity: Severity::Error,
                });
            }
            Err(Mistakes::new(source, mistakes))
        }
    }
}

/// The variables that every expression may use.
const VARIABLES: [&str; 8] = ["context", "input", "output", "secrets", "authorization", "task", "workflow", "runtime"];

struct Compiler<'a, 't> {
    reader: &'a Reader<'a>,
    uses: &'a Uses<'t>,
    /// `document.namespace`, where it could be read.
    namespace: Option<&'a str>,
    /// Whether the workflow keeps the schedule of another one.
    is_keeper: bool,
    nodes: Vec<Option<Node>>,
    /// Variables of enclosing tasks, the innermost last.
    scope: Vec<Arc<str>>,
    /// The functions whose bodies are being compiled.
    functions: Vec<&'a str>,
    /// From tasks to what undoes them; none is added while such a thing is compiled itself.
    compensations: BTreeMap<NodeId, NodeId>,
    undoing: bool,
    /// The task around which an extension is being compiled.
    extends: Option<NodeId>,
    depth: usize,
    /// Whether a limit of the plan was reached and said.
    full: bool,
}

impl<'a, 't> Compiler<'a, 't> {
    fn new(reader: &'a Reader<'a>, workflow: &'a Workflow<'t>) -> Self {
        Self {
            reader,
            uses: &workflow.uses,
            namespace: workflow.document.as_ref().map(|d| &*d.namespace.text),
            is_keeper: workflow.document.as_ref().is_some_and(|d| d.name.text.ends_with(crate::schedule::SUFFIX)),
            nodes: Vec::new(),
            scope: Vec::new(),
            functions: Vec::new(),
            compensations: BTreeMap::new(),
            undoing: false,
            extends: None,
            depth: 0,
            full: false,
        }
    }

    fn workflow(mut self, workflow: &'a Workflow<'t>) -> Option<Plan> {
        self.check_unused();
        let flow = self.flow(&workflow.flow);
        let timeout = workflow.timeout.as_ref().and_then(|t| self.timeout(t));
        let root = self.block(&workflow.tasks, "/do", "do", None, &workflow.root.at, workflow.root.span);
        if let Some(events) = workflow.schedule.as_ref().and_then(|s| s.events.as_ref()) {
            self.check_starts(events);
        }
        let document = workflow.document.as_ref()?;
        if let Some(budget) = document.tree.get("metadata").and_then(|m| m.get("budget")) {
            self.budget(budget);
        }
        let name = |text: &str| text.to_owned();
        let plan = Plan {
            digest: digest(self.reader.source),
            namespace: Namespace::new(&document.namespace.text).ok()?,
            name: WorkflowName::new(&document.name.text).ok()?,
            version: Version(name(&document.version.text)),
            nodes: self.nodes.into_iter().collect::<Option<Vec<Node>>>()?,
            root: root?,
            flow: flow?,
            timeout,
            schedule: workflow.schedule.as_ref().and_then(|s| s.when.clone()),
            secrets: self.uses.secrets.iter().map(|s| name(&s.text)).collect(),
            document: document.tree.to_json(),
            definition: self.reader.source.contains("$workflow").then(|| workflow.root.to_json()),
            compensations: self.compensations,
        };
        Some(plan)
    }

    /// A number for a node that is being compiled.
    fn reserve(&mut self, at: &Pointer, span: Span) -> Option<NodeId> {
        if self.nodes.len() >= PLAN_NODES_MAX {
            self.too_large(format!("the plan has more than {PLAN_NODES_MAX} tasks"), at, span);
            return None;
        }
        let id = u32::try_from(self.nodes.len()).ok().map(NodeId)?;
        self.nodes.push(None);
        Some(id)
    }

    fn put(&mut self, node: Node) {
        let at = node.id.0 as usize;
        if let Some(slot) = self.nodes.get_mut(at) {
            *slot = Some(node);
        }
    }

    /// Runs `f` one level deeper.
    fn deeper<T>(&mut self, at: &Pointer, span: Span, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= PLAN_DEPTH_MAX {
            self.too_large(format!("tasks are nested more than {PLAN_DEPTH_MAX} levels deep"), at, span);
            return None;
        }
        self.depth += 1;
        let out = f(self);
        self.depth -= 1;
        out
    }

    fn too_large(&mut self, message: String, at: &Pointer, span: Span) {
        if !self.full {
            self.reader.error("too-large", span, at, message, "split it into several workflows");
        }
        self.full = true;
    }
}

/// Whether there is an expression somewhere in a value.
fn value_has_expression(tree: &tree::Tree) -> bool {
    use crate::tree::Kind;
    match &tree.kind {
        Kind::Text(text) => crate::model::expression_inside(text).is_some(),
        Kind::List(items) => items.iter().any(value_has_expression),
        Kind::Map(entries) => entries.iter().any(|e| value_has_expression(&e.value)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => false,
    }
}
