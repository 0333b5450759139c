//! Lets a random workflow run on the engine, in a random order of reports with duplicates and strangers among them, and
//! holds it against the model after every event. A second run is written and read back every time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use stepmill_definition::plan::Plan;
use stepmill_engine::{Command, Run, advance};
use stepmill_protocol::api::{Folded, RunState};
use stepmill_protocol::{
    CommandId, Event, Millis, PartitionNo, Payload, Problem, Report, ReportOutcome, RunId, Submitted, Task as Message,
    TaskToken, TimerId, Timestamp, ValueId, Visit,
};

use crate::model::{self, Entry, Reports, Standing, Task, Word};
use crate::write::definition;

const RUN: RunId = RunId(uuid::Uuid::from_u128(0xa11));
const EVENTS_MAX: usize = 400;

/// Runs and compares, until the workflow ends.
pub(crate) fn compare(tasks: &[Task], seed: u64) -> Result<(), TestCaseError> {
    let text = definition(tasks);
    let plan = match stepmill_definition::compile(&text) {
        Ok(compiled) => Arc::new(compiled.plan),
        // A definition whose tasks cannot be reached is none.
        Err(_) => return Err(TestCaseError::reject("not a definition")),
    };
    let mut chance = Chance(seed);
    let input = json!({ "start": chance.below(10) });
    let mut pair = Pair::new(plan, &input)?;
    let mut reports = Reports::new();
    let mut sent: Vec<Report> = Vec::new();
    for _ in 0..EVENTS_MAX {
        let verdict = model::judge(tasks, &input, &reports);
        pair.check(&verdict)?;
        if verdict.standing != Standing::Running {
            return disturb_the_end(&mut pair, &sent);
        }
        if let (0, Some(old)) = (chance.below(4), sent.get(chance.below(sent.len().max(1)))) {
            let answer = pair.event(&Event::Report(Box::new(old.clone())))?;
            prop_assert!(matches!(answer, Folded::Ignored { .. }), "a repeated report was {answer:?}");
        }
        let open: Vec<(CommandId, Message)> = pair.open().into_iter().collect();
        let (id, task) = &open[chance.below(open.len())];
        let word = word(seed, task, &mut chance);
        let report = report(*id, task, &word);
        if chance.below(8) == 0 {
            let stranger = Report { token: TaskToken([9; 16]), ..report.clone() };
            let answer = pair.event(&Event::Report(Box::new(stranger)))?;
            prop_assert!(matches!(answer, Folded::Refused(_)), "a stranger's report was {answer:?}");
        }
        prop_assert_eq!(pair.event(&Event::Report(Box::new(report.clone())))?, Folded::Applied);
        reports.insert(entry(task), (reports.len() as u64 + 1, word));
        sent.push(report);
    }
    Ok(())
}

fn disturb_the_end(pair: &mut Pair, sent: &[Report]) -> Result<(), TestCaseError> {
    let late = sent.last().map(|report| Event::Report(Box::new(report.clone())));
    for event in late.into_iter().chain([
        Event::TimerDue { timer: TimerId(1) },
        Event::Resume { number: 1 },
        Event::Cancel { reason: String::new() },
    ]) {
        let answer = pair.event(&event)?;
        prop_assert!(matches!(answer, Folded::Ignored { .. }), "after the end {event:?} was {answer:?}");
    }
    Ok(())
}

/// What a worker says: most attempts succeed, some fail, a few of those for good.
fn word(seed: u64, task: &Message, chance: &mut Chance) -> Word {
    match chance.below(10) {
        0 => Word::Fails { status: 500, terminal: chance.below(3) == 0 },
        1 | 2 => Word::Fails { status: 503, terminal: chance.below(4) == 0 },
        _ => Word::Gives(json!({ "k": (seed ^ task.id.visit.0) % 100 })),
    }
}

fn report(id: CommandId, task: &Message, word: &Word) -> Report {
    let outcome = match word {
        Word::Gives(output) => ReportOutcome::Succeeded { output: output.clone() },
        Word::Fails { status, terminal } => ReportOutcome::Failed {
            problem: Problem::own("scripted", *status, "Scripted", "as the test wants it"),
            retryable: !terminal,
            retry_after: None,
            redeliver_after: None,
        },
    };
    let (path, token, attempt) = (task.path.clone(), task.token, task.attempt);
    Report { id, path, token, attempt, outcome, worker: "test".into(), took: Millis(1), usage: None }
}

/// The model's name of what a task asks for.
fn entry(task: &Message) -> Entry {
    let with = input(task);
    let at = with["at"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    (with["step"].as_u64().unwrap(), at, task.id.pass.0)
}

fn input(task: &Message) -> &Value {
    match &task.input {
        Payload::Inline(value) => value,
        Payload::Ref { .. } => panic!("the test's values are small"),
    }
}

/// One run that stays in memory, and one that is written and read back after every event.
struct Pair {
    plan: Arc<Plan>,
    at: Timestamp,
    steady: Option<Run>,
    restarted: Option<Run>,
    store: BTreeMap<ValueId, Value>,
    open: BTreeSet<CommandId>,
    armed: BTreeSet<TimerId>,
    asked: Vec<Entry>,
    visits: BTreeMap<(u64, Vec<u64>), Visit>,
}

impl Pair {
    fn new(plan: Arc<Plan>, input: &Value) -> Result<Self, TestCaseError> {
        let submitted = Event::Submitted(Submitted {
            namespace: plan.namespace.clone(),
            workflow: plan.name.clone(),
            digest: plan.digest.clone(),
            input: input.clone(),
            secret: vec![5; 16],
            key: None,
            parent: None,
            engine: stepmill_engine::ENGINE_VERSION,
            cancelled: None,
        });
        let mut pair = Self {
            plan,
            at: Timestamp(1),
            steady: None,
            restarted: None,
            store: BTreeMap::new(),
            open: BTreeSet::new(),
            armed: BTreeSet::new(),
            asked: Vec::new(),
            visits: BTreeMap::new(),
        };
        prop_assert_eq!(pair.event(&submitted)?, Folded::Applied);
        Ok(pair)
    }

    fn event(&mut self, event: &Event) -> Result<Folded, TestCaseError> {
        self.at = self.at.plus(Millis(7));
        let one = advance(&self.plan, RUN, self.steady.take(), self.at, event);
        let two = advance(&self.plan, RUN, self.restarted.take(), self.at, event);
        prop_assert_eq!(&one.answer, &two.answer);
        prop_assert_eq!(&one.commands, &two.commands);
        let (one_run, mut two_run) = (one.run.unwrap(), two.run.unwrap());
        let control = one_run.encode().unwrap();
        prop_assert_eq!(&control, &two_run.encode().unwrap());
        prop_assert_eq!(one_run.unneeded_values(), vec![]);
        let changes = two_run.take_value_changes();
        self.store.extend(changes.put.into_iter().map(|(id, value)| (id, value.as_ref().clone())));
        for id in changes.drop {
            prop_assert!(self.store.remove(&id).is_some());
        }
        let again = Run::decode(&control, self.store.clone()).unwrap();
        prop_assert_eq!(again.encode().unwrap(), control);
        for command in &one.commands {
            self.obey(command, &one_run)?;
        }
        let (open, timers) = (one_run.open_dispatches(), one_run.open_timers());
        prop_assert_eq!(open.into_iter().map(|(id, _, _)| id).collect::<BTreeSet<_>>(), self.open.clone());
        prop_assert_eq!(timers.into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>(), self.armed.clone());
        self.steady = Some(one_run);
        self.restarted = Some(again);
        Ok(one.answer)
    }

    /// Every dispatch and every timer begins once and ends once.
    fn obey(&mut self, command: &Command, run: &Run) -> Result<(), TestCaseError> {
        match command {
            Command::Dispatch { id, .. } => {
                let task = run.task(&self.plan, *id, PartitionNo(0)).unwrap();
                let (step, at, pass) = entry(&task);
                let visit = *self.visits.entry((step, at.clone())).or_insert(id.visit);
                prop_assert_eq!(visit, id.visit, "step {} at {:?} has one visit in all passes", step, &at);
                let others = self.visits.iter().filter(|(key, v)| **v == visit && **key != (step, at.clone())).count();
                prop_assert_eq!(others, 0, "no two places share a visit");
                self.asked.push((step, at, pass));
                prop_assert!(self.open.insert(*id));
            }
            Command::Withdraw { id } => prop_assert!(self.open.remove(id), "{id} was not open"),
            Command::Arm { timer, .. } => prop_assert!(self.armed.insert(*timer)),
            Command::Disarm { timer } => prop_assert!(self.armed.remove(timer)),
            Command::Yield { .. } => prop_assert!(false, "so few tasks need no second turn"),
        }
        Ok(())
    }

    fn open(&self) -> BTreeMap<CommandId, Message> {
        let run = self.steady.as_ref().unwrap();
        self.open.iter().map(|id| (*id, run.task(&self.plan, *id, PartitionNo(0)).unwrap())).collect()
    }

    fn check(&self, verdict: &model::Verdict) -> Result<(), TestCaseError> {
        let view = self.steady.as_ref().unwrap().view(&self.plan);
        let standing = match (view.state, view.output, view.error) {
            (RunState::Running, _, _) => Standing::Running,
            (RunState::Completed, Some(output), _) => Standing::Completed(output),
            (RunState::Faulted, _, Some(error)) => Standing::Faulted(error.status),
            (state, output, error) => panic!("{state:?} {output:?} {error:?}"),
        };
        prop_assert_eq!(&standing, &verdict.standing);
        let open: BTreeMap<Entry, Value> =
            self.open().values().map(|task| (entry(task), input(task)["in"].clone())).collect();
        prop_assert_eq!(&open, &verdict.open);
        let sorted = |entries: &[Entry]| {
            let mut sorted = entries.to_vec();
            sorted.sort();
            sorted
        };
        prop_assert_eq!(sorted(&self.asked), sorted(&verdict.asked));
        Ok(())
    }
}

/// A small generator, so that one number makes the whole story.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % n.max(1) as u64).unwrap()
    }
}
