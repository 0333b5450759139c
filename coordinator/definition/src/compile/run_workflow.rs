//! `run: workflow` to a step that the system itself does.

use stepmill_protocol::{PoolName, StepKind, Version, WorkflowName};

use super::Compiler;
use super::policy::all;
use crate::model::run_workflow::RunWorkflow;
use crate::plan::{Call, NodeKind, SystemStep};

/// What views and logs call such a step.
const KIND: &str = "run-workflow";

impl<'t> Compiler<'_, 't> {
    pub(super) fn run_workflow(&mut self, model: &RunWorkflow<'t>) -> Option<NodeKind> {
        let own = self.namespace.is_none_or(|own| own == &*model.namespace.text);
        if !own {
            let message = format!("a run of namespace `{}` cannot be started from here", model.namespace.text);
            let help = "namespaces do not see each other: name a workflow of this document's own";
            self.reader.error("other-namespace", model.namespace.span, &model.namespace.at, message, help);
        }
        let workflow = WorkflowName::new(&model.name.text);
        if let Err(e) = &workflow {
            let help = "name a workflow of this namespace";
            self.reader.error("name", model.name.span, &model.name.at, e.to_string(), help);
        }
        let with = model.input.map(|tree| self.template(tree, false));
        let step = SystemStep::Workflow {
            workflow: workflow.ok().filter(|_| own)?,
            version: model.version.as_ref().map(|v| Version(v.text.to_string())),
            wait: model.wait,
            give_output: model.give_output,
            detached: self.is_keeper,
        };
        Some(NodeKind::Call(Box::new(Call {
            kind: StepKind::new(KIND).ok()?,
            with: all(with)?,
            pool: PoolName::system(),
            priority: stepmill_protocol::Priority::default(),
            broker_retry: None,
            emits: false,
            system: Some(step),
        })))
    }
}
