//! One run with its plan and its store, and the checks that hold after every event.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use stepmill_definition::plan::Plan;
use stepmill_engine::{Listeners, Run, advance_telling};
use stepmill_protocol::{
    AttemptNo, CommandId, Event, MayRun, Occurrence, Parent, PartitionNo, RunId, Submitted, TaskToken, Timestamp,
    ValueId, Visit,
};

use crate::show;

/// The run of every script.
pub(crate) const RUN: RunId = RunId(uuid::Uuid::from_u128(0x5eed));

/// The run that asks for it, in scripts of children.
pub(crate) const PARENT: RunId = RunId(uuid::Uuid::from_u128(0xa9e));

#[derive(Default)]
pub(crate) struct World {
    pub(crate) at: Timestamp,
    plan: Option<Arc<Plan>>,
    run: Option<Run>,
    store: BTreeMap<ValueId, Value>,
    /// Visits inside of blocks that retry, in the order in which they were first seen: `~1`, `~2` …
    pub(crate) derived: Vec<Visit>,
    tokens: BTreeMap<CommandId, TaskToken>,
    /// Runs that steps have started.
    children: BTreeMap<CommandId, RunId>,
    events: u64,
    /// Life-cycle events are shown.
    pub(crate) telling: bool,
}

impl World {
    pub(crate) fn define(&mut self, text: &str) -> String {
        let header = "document: {dsl: '1.0.3', namespace: default, name: script, version: '1.0.0'}\n";
        let text = if text.starts_with("document:") { text.to_owned() } else { format!("{header}{text}") };
        match stepmill_definition::compile(&text) {
            Ok(compiled) => {
                self.plan = Some(Arc::new(compiled.plan));
                "defined".into()
            }
            Err(mistakes) => panic!("{mistakes}\n{text}"),
        }
    }

    pub(crate) fn submit(
        &mut self,
        key: Option<&str>,
        input: Value,
        other_secret: bool,
        parent: Option<Parent>,
        (engine, cancelled): (Option<u32>, Option<&str>),
    ) -> String {
        let plan = self.plan.as_ref().expect("`define` comes first");
        let submitted = Submitted {
            namespace: plan.namespace.clone(),
            workflow: plan.name.clone(),
            digest: plan.digest.clone(),
            input,
            secret: vec![if other_secret { 2 } else { 1 }; 32],
            key: key.map(str::to_owned),
            parent,
            engine: engine.unwrap_or(stepmill_engine::ENGINE_VERSION),
            cancelled: cancelled.map(str::to_owned),
        };
        self.event(Event::Submitted(submitted))
    }

    pub(crate) fn event(&mut self, event: Event) -> String {
        let text = self.fold(event);
        let plan = self.plan.clone();
        self.run = self.run.take().map(|run| self.restart(run, plan.as_ref().unwrap()));
        text
    }

    fn fold(&mut self, event: Event) -> String {
        let plan = self.plan.clone().expect("`define` comes first");
        let before = self.run.as_ref().map(|run| run.encode().unwrap());
        let (outcome, told) = advance_telling(&plan, RUN, self.run.take(), self.at, &event);
        let applied = matches!(outcome.answer, stepmill_protocol::api::Folded::Applied);
        if !applied {
            assert_eq!(outcome.run.as_ref().map(|run| run.encode().unwrap()), before, "an event that was not applied");
            assert_eq!(outcome.commands, [], "an event that was not applied");
        }
        let mut text = show::outcome(self, &plan, &outcome);
        assert!(applied || told.is_none(), "an event that was not applied");
        if self.telling {
            text += &show::happened(told.as_ref());
        }
        self.run = outcome.run;
        text
    }

    /// The sequence of the next event.
    pub(crate) fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Folds an event, and holds the engine's index of listeners against the answer: whoever takes an event must be found by it.
    pub(crate) fn occurred(&mut self, occurrence: Occurrence, in_doubt: bool) -> String {
        let plan = self.plan.clone().expect("`define` comes first");
        let mut index = Listeners::default();
        let mut asked = false;
        if let Some(run) = &mut self.run {
            index.set(run, &plan);
            assert_eq!(index.knows(RUN), run.listens_since().is_some());
            asked =
                index.candidates(&plan.namespace, &occurrence.event).contains(&RUN) && run.takes(&plan, &occurrence);
            index.remove(RUN);
            assert!(index.is_empty());
        }
        let text = self.event(Event::Occurred(Box::new(occurrence)));
        // In doubt: an event before this one could have changed what its filter asks for, so the answer is yes.
        assert_eq!(in_doubt || text.starts_with("applied"), asked, "{text}");
        text
    }

    /// Gives the run its turns until it asks for no more, and restarts it then; answers with the last turn.
    pub(crate) fn resume_all(&mut self) -> String {
        let mut text = "no turn was asked for".into();
        while let Some(number) = self.run.as_ref().and_then(Run::pending_yield) {
            text = format!("turn {number}: {}", self.fold(Event::Resume { number }));
        }
        let plan = self.plan.clone();
        self.run = self.run.take().map(|run| self.restart(run, plan.as_ref().unwrap()));
        text
    }

    /// Writes the run and reads it back; nothing of it may get lost, and nothing may be held that is not needed.
    fn restart(&mut self, mut run: Run, plan: &Plan) -> Run {
        let changes = run.take_value_changes();
        for (id, value) in changes.put {
            assert_eq!(self.store.insert(id, value.as_ref().clone()), None, "value {id} was written twice");
        }
        for id in changes.drop {
            assert!(self.store.remove(&id).is_some(), "value {id} was dropped and never written");
        }
        let all: BTreeMap<ValueId, Value> =
            run.all_values().into_iter().map(|(id, v)| (id, v.as_ref().clone())).collect();
        assert_eq!(all, self.store);
        assert_eq!(run.unneeded_values(), []);
        let control = run.encode().unwrap();
        let again = Run::decode(&control, self.store.clone()).unwrap();
        again.validate(plan).unwrap();
        assert_eq!(again.encode().unwrap(), control);
        assert_eq!(again.open_dispatches(), run.open_dispatches());
        assert_eq!(again.open_timers(), run.open_timers());
        assert_eq!(again.view(plan), run.view(plan));
        again
    }

    /// A step wants this run to start.
    pub(crate) fn started(&mut self, id: CommandId, run: RunId) {
        self.children.insert(id, run);
    }

    /// The run that a step has started.
    pub(crate) fn child(&self, id: &CommandId) -> RunId {
        self.children.get(id).copied().unwrap_or_else(|| panic!("{id} has started nothing"))
    }

    /// The token of a dispatch, once its task was seen.
    pub(crate) fn token(&self, id: &CommandId) -> TaskToken {
        self.tokens.get(id).copied().unwrap_or_else(|| panic!("{id} was never dispatched"))
    }

    pub(crate) fn learn(&mut self, id: CommandId, token: TaskToken) {
        self.tokens.insert(id, token);
    }

    /// The attempt that a worker would report on now.
    pub(crate) fn attempt(&self, id: CommandId) -> AttemptNo {
        let (plan, run) = (self.plan.as_ref().unwrap(), self.run.as_ref());
        run.and_then(|run| run.task(plan, id, PartitionNo(0))).map_or(AttemptNo(1), |task| task.attempt)
    }

    pub(crate) fn may_run(&self, id: CommandId, token: TaskToken) -> String {
        match self.run.as_ref().expect("a run").may_run(&id, &token, self.at) {
            MayRun::Run { attempt } => format!("run attempt={attempt}"),
            MayRun::Wait { delay } => format!("wait {}ms", delay.0),
            MayRun::Done => "done".into(),
            MayRun::Stale => "stale".into(),
        }
    }

    pub(crate) fn value(&self, id: CommandId, token: TaskToken, value: ValueId) -> String {
        match self.run.as_ref().expect("a run").value_for(&id, &token, value) {
            Ok(value) => show::json(&value),
            Err(problem) => show::problem("refused", &problem),
        }
    }

    pub(crate) fn show(&mut self) -> String {
        let plan = self.plan.clone().unwrap();
        show::view(&self.run.as_ref().expect("a run").view(&plan))
    }
}
