//! What a run asks of the system itself: runs of other workflows, answered by mocks as steps are.

use serde_json::Value;
use stepmill_definition::expression::Variables;
use stepmill_definition::plan::{NodeId, NodeKind};
use stepmill_protocol::{Acted, ChildEnd, CommandId, Event, Millis, RunId, StartRun, StepKind, SystemAction, Usage};

use crate::mock::{What, choose};
use crate::names::is_call;
use crate::outcome::Sent;
use crate::world::World;

/// A run of another workflow that will end.
#[derive(Debug)]
pub(crate) struct Child {
    id: CommandId,
    child: RunId,
    end: ChildEnd,
    usage: Usage,
}

/// How and when a child ends; never where it hangs.
struct Ending {
    after: Millis,
    usage: Usage,
    end: Option<ChildEnd>,
}

impl World<'_> {
    /// Does what the run asks of the system.
    pub(crate) fn act(&mut self, id: CommandId) {
        let action = self.run.as_ref().and_then(|run| run.action(self.names.plan, id));
        match action {
            Some(SystemAction::Start(start)) => self.start_child(id, &start),
            Some(SystemAction::Emit { event, .. }) => self.emit(id, *event),
            // Errands to other runs: there are none here, so each is done at once.
            Some(SystemAction::Tell { .. } | SystemAction::Cancel { .. }) => {
                let outcome = Acted::Done { output: Value::Null };
                self.fold(&Event::Acted { id, outcome });
            }
            None => {}
        }
    }

    fn start_child(&mut self, id: CommandId, start: &StartRun) {
        let Some(node) = self.names.plan.nodes.iter().find(|node| node.path == start.parent.path && is_call(node))
        else {
            return;
        };
        let NodeKind::Call(call) = &node.kind else { return };
        let sent = Sent {
            step: self.names.shown(node.id),
            call: call.kind.to_string(),
            pool: call.pool.to_string(),
            priority: call.priority,
            input: start.input.clone(),
            attempt: 1,
            at: self.elapsed(),
        };
        self.trail.sent.push((node.id, sent));
        let started = Event::Acted { id, outcome: Acted::Started { child: start.run } };
        if !start.parent.waits {
            self.fold(&started);
            return;
        }
        let Some(Ending { after, usage, end }) = self.end_of_child(node.id, &call.kind, &start.input) else { return };
        self.fold(&started);
        // One that hangs never ends.
        if let Some(end) = end {
            self.end_child_at(self.now.plus(after), Box::new(Child { id, child: start.run, end, usage }));
        }
    }

    fn end_of_child(&mut self, node: NodeId, kind: &StepKind, input: &Value) -> Option<Ending> {
        let ending = match choose(&mut self.mocks, node, input) {
            Ok(reply) => {
                let end = match &reply.what {
                    What::Hangs => Ok(None),
                    What::Fails { problem, .. } => Ok(Some(ChildEnd::Faulted { problem: problem.clone() })),
                    What::Gives(template) => match template.evaluate(input, &Variables::default()) {
                        Ok(value) => Ok(Some(ChildEnd::Completed { output: value.as_ref().clone() })),
                        Err(e) => Err((reply.place.clone(), e)),
                    },
                };
                end.map(|end| Ending { after: reply.latency, usage: reply.usage.unwrap_or_default(), end })
            }
            Err(no) => {
                let failure = self.unanswered(node, kind, input, no);
                self.stop(failure);
                return None;
            }
        };
        match ending {
            Ok(ending) => Some(ending),
            Err((place, e)) => {
                let failure = self.no_result(node, input, &place, &e);
                self.stop(failure);
                None
            }
        }
    }

    /// A run of another workflow has ended.
    pub(crate) fn end_child(&mut self, ended: Child) {
        let Child { id, child, end, usage } = ended;
        self.fold(&Event::ChildEnded { id, child, end, usage });
    }
}
