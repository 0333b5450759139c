//! Which steps of a definition a text means.

use stepmill_definition::plan::{Node, NodeId, NodeKind, Plan, SystemStep};
use stepmill_definition::{Mistake, Placed, nearest};

/// The steps of a definition; what was added to its plan to run one alone is none of them.
#[derive(Clone, Copy)]
pub(crate) struct Names<'p> {
    pub(crate) plan: &'p Plan,
    /// Nodes from this number on were added.
    pub(crate) count: usize,
}

impl<'p> Names<'p> {
    /// All of a definition.
    pub(crate) fn of(plan: &'p Plan) -> Self {
        Self { plan, count: plan.nodes.len() }
    }

    /// The steps: every task, but not the lists of tasks inside of one.
    pub(crate) fn steps(self) -> impl Iterator<Item = &'p Node> {
        self.plan.nodes.iter().take(self.count).filter(|node| is_task(node))
    }

    /// The step with this number.
    pub(crate) fn step(self, id: NodeId) -> Option<&'p Node> {
        self.plan.get(id).filter(|node| (id.0 as usize) < self.count && is_task(node))
    }

    /// The steps that a text means: those of this name, or the one with this path.
    pub(crate) fn find(self, text: &Placed<String>) -> Result<Vec<NodeId>, Mistake> {
        let wanted = text.value.as_str();
        let is_it = |node: &&Node| &*node.name == wanted || &*node.path.0 == wanted;
        let found: Vec<NodeId> = self.steps().filter(is_it).map(|node| node.id).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let names = self.steps().map(|node| if wanted.starts_with('/') { &*node.path.0 } else { &*node.name });
        let help = match nearest(wanted, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write the name of a step, or its path such as `/do/0/charge`".into(),
        };
        Err(Mistake::error("unknown-step", &text.place, format!("the definition has no step `{wanted}`"), help))
    }

    /// The one step that a text means.
    pub(crate) fn find_one(self, text: &Placed<String>) -> Result<NodeId, Mistake> {
        match self.find(text)?.as_slice() {
            [one] => Ok(*one),
            several => {
                let paths: Vec<&str> =
                    several.iter().filter_map(|id| self.plan.get(*id)).map(|node| &*node.path.0).collect();
                let message = format!("{} steps are called `{}`", paths.len(), text.value);
                let help = format!("write one of their paths: {}", paths.join(", "));
                Err(Mistake::error("ambiguous-step", &text.place, message, help))
            }
        }
    }

    /// How to write a step: its name, or its path where the name is not enough.
    pub(crate) fn shown(self, id: NodeId) -> String {
        let Some(node) = self.plan.get(id) else { return String::new() };
        let alone = self.steps().filter(|other| other.name == node.name).count() == 1;
        if alone { node.name.as_ref().into() } else { node.path.0.as_ref().into() }
    }
}

/// Lists inside of tasks have no text of their own in the definition.
fn is_task(node: &Node) -> bool {
    !node.definition.is_null()
}

/// Whether something outside of the run answers: a worker, or another run.
pub(crate) fn is_call(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Call(call) if !matches!(call.system, Some(SystemStep::Emit)))
}
