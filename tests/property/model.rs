//! What should be true of a run, as simply as possible: after each report the whole workflow is gone through again from
//! its start, with all reports so far at hand. Shares no code with the engine.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A task of a random workflow.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Sets a value made from its input, then goes where it says.
    Set(Then),
    /// A step that a worker runs. The number is unique in the workflow.
    Step(u64),
    /// Jumps over so many tasks (or to the end of the list) if the length of its input's text is even.
    Switch(usize),
    /// Fails with this status.
    Raise(u16),
    /// A list of tasks.
    List(Vec<Task>),
    /// So many items; with a width, so many at a time.
    For { items: u64, width: Option<(u32, Rule)>, body: Vec<Task> },
    /// Branches.
    Fork { rule: Rule, branches: Vec<Vec<Task>> },
    /// Tries the body so many times, catches errors with this status (or all), and goes through the handler.
    Try { body: Vec<Task>, attempts: u32, status: Option<u16>, handler: Option<Vec<Task>> },
}

/// When branches side by side are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// All succeeded, or one failed.
    All,
    /// All ended.
    Settled,
    /// One ended.
    First,
    /// `fork.compete`, the same.
    Compete,
    /// One succeeded, or none can.
    Any,
    /// So many succeeded, or too few can.
    Count(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Continue,
    Exit,
    End,
}

/// One entry of a token into a step: the step's number, the indices of the loops around it, the pass.
pub(crate) type Entry = (u64, Vec<u64>, u32);

/// What a worker says about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Gives(Value),
    Fails { status: u16, terminal: bool },
}

/// Reports so far, each with its place in the order of events (the submission is 0).
pub(crate) type Reports = BTreeMap<Entry, (u64, Word)>;

/// How far a token came.
#[derive(Clone, Debug, PartialEq)]
enum Flow {
    Done(Value),
    Ended(Value),
    Failed { status: u16, terminal: bool },
    Waits,
}

/// How far, when, and the highest pass that was used on the way.
type Reached = (Flow, u64, u32);

/// How a run stands.
#[derive(Debug, PartialEq)]
pub(crate) enum Standing {
    Running,
    Completed(Value),
    Faulted(u16),
}

/// What the model says about a run after some reports.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) standing: Standing,
    /// The entries that wait for a report, with their inputs.
    pub(crate) open: BTreeMap<Entry, Value>,
    /// Every entry that was ever asked for.
    pub(crate) asked: Vec<Entry>,
}

struct Asked {
    entry: Entry,
    input: Value,
    at: u64,
    is_open: bool,
    cancelled: Option<u64>,
}

/// Goes through a workflow.
pub(crate) fn judge(tasks: &[Task], input: &Value, reports: &Reports) -> Verdict {
    let mut model = Model { reports, asked: Vec::new() };
    let (flow, at, _) = model.list(tasks, &[], 0, input.clone(), 0);
    let standing = match flow {
        Flow::Done(output) | Flow::Ended(output) => Standing::Completed(output),
        Flow::Failed { status, .. } => Standing::Faulted(status),
        Flow::Waits => Standing::Running,
    };
    if standing != Standing::Running {
        model.cancel(0, at);
    }
    // What is cancelled in the very moment it is asked for is never asked for.
    let asked: Vec<Asked> = model.asked.into_iter().filter(|a| a.cancelled != Some(a.at)).collect();
    let open = asked.iter().filter(|a| a.is_open && a.cancelled.is_none());
    Verdict {
        standing,
        open: open.map(|a| (a.entry.clone(), a.input.clone())).collect(),
        asked: asked.iter().map(|a| a.entry.clone()).collect(),
    }
}

struct Model<'r> {
    reports: &'r Reports,
    asked: Vec<Asked>,
}

impl Model<'_> {
    fn cancel(&mut self, since: usize, at: u64) {
        for asked in &mut self.asked[since..] {
            if asked.is_open && asked.cancelled.is_none() {
                asked.cancelled = Some(at);
            }
        }
    }

    fn list(&mut self, tasks: &[Task], at: &[u64], pass: u32, input: Value, seq: u64) -> Reached {
        let (mut value, mut seq, mut used, mut next) = (input, seq, pass, 0);
        while let Some(task) = tasks.get(next) {
            next += 1;
            if let Task::Switch(jump) = task {
                if value.to_string().len() % 2 == 0 {
                    next += jump;
                }
                continue;
            }
            let (flow, then, passes) = self.task(task, at, pass, value, seq);
            (seq, used) = (then, used.max(passes));
            match flow {
                Flow::Done(output) => value = output,
                Flow::Ended(_) | Flow::Failed { .. } | Flow::Waits => return (flow, seq, used),
            }
            if let Task::Set(Then::Exit) = task {
                break;
            }
        }
        (Flow::Done(value), seq, used)
    }

    fn task(&mut self, task: &Task, at: &[u64], pass: u32, input: Value, seq: u64) -> Reached {
        match task {
            Task::Set(then) => {
                let output = json!({ "k": input.to_string().len() % 7 });
                let flow = if *then == Then::End { Flow::Ended(output) } else { Flow::Done(output) };
                (flow, seq, pass)
            }
            Task::Switch(_) => (Flow::Done(input), seq, pass),
            Task::Raise(status) => (Flow::Failed { status: *status, terminal: false }, seq, pass),
            Task::Step(number) => self.step(*number, at, pass, input, seq),
            Task::List(tasks) => self.list(tasks, at, pass, input, seq),
            Task::For { items, width: None, body } => self.one_by_one(*items, body, at, pass, input, seq),
            Task::For { items, width: Some((width, rule)), body } => {
                let bodies: Vec<&[Task]> = (0..*items).map(|_| body.as_slice()).collect();
                self.side_by_side(&bodies, *width as usize, true, *rule, at, pass, &input, seq)
            }
            Task::Fork { rule, branches } => {
                let bodies: Vec<&[Task]> = branches.iter().map(Vec::as_slice).collect();
                self.side_by_side(&bodies, bodies.len(), false, *rule, at, pass, &input, seq)
            }
            Task::Try { body, attempts, status, handler } => {
                self.attempt(body, *attempts, *status, handler.as_deref(), at, pass, &input, seq)
            }
        }
    }

    fn step(&mut self, number: u64, at: &[u64], pass: u32, input: Value, seq: u64) -> Reached {
        let entry = (number, at.to_vec(), pass);
        let report = self.reports.get(&entry);
        self.asked.push(Asked { entry, input, at: seq, is_open: report.is_none(), cancelled: None });
        match report {
            None => (Flow::Waits, seq, pass),
            Some((when, Word::Gives(output))) => (Flow::Done(output.clone()), *when, pass),
            Some((when, Word::Fails { status, terminal })) => {
                (Flow::Failed { status: *status, terminal: *terminal }, *when, pass)
            }
        }
    }

    fn one_by_one(&mut self, items: u64, body: &[Task], at: &[u64], pass: u32, input: Value, seq: u64) -> Reached {
        let (mut value, mut seq, mut used) = (input, seq, pass);
        for index in 0..items {
            let inside = [at, &[index]].concat();
            let (flow, then, passes) = self.list(body, &inside, pass, value, seq);
            (seq, used) = (then, used.max(passes));
            match flow {
                Flow::Done(output) => value = output,
                Flow::Ended(_) | Flow::Failed { .. } | Flow::Waits => return (flow, seq, used),
            }
        }
        (Flow::Done(value), seq, used)
    }

    #[expect(clippy::too_many_arguments, reason = "one place where everything about branches is said")]
    fn side_by_side(
        &mut self,
        bodies: &[&[Task]],
        width: usize,
        counts: bool,
        rule: Rule,
        at: &[u64],
        pass: u32,
        input: &Value,
        seq: u64,
    ) -> Reached {
        let (first, mut used) = (self.asked.len(), pass);
        let mut ends: Vec<End> = Vec::new();
        for (index, body) in bodies.iter().enumerate() {
            // A branch starts when fewer than `width` of those before it are under way.
            let mut sorted: Vec<u64> = ends.iter().map(|end| end.when).collect();
            sorted.sort_unstable();
            let Some(start) = index.checked_sub(width).map_or(Some(seq), |n| sorted.get(n).copied()) else { break };
            if decision(rule, bodies.len(), &ends).is_some_and(|(_, when)| start >= when) {
                break;
            }
            let inside = if counts { [at, &[index as u64]].concat() } else { at.to_vec() };
            let (flow, when, passes) = self.list(body, &inside, pass, input.clone(), start);
            used = used.max(passes);
            if flow != Flow::Waits {
                ends.push(End { when, index, flow });
            }
        }
        if let Some((flow, when)) = decision(rule, bodies.len(), &ends) {
            self.cancel(first, when);
            return (flow, when, used);
        }
        if ends.len() < bodies.len() {
            return (Flow::Waits, seq, used);
        }
        (all_ended(rule, &mut ends), ends.iter().map(|end| end.when).max().unwrap_or(seq), used)
    }

    #[expect(clippy::too_many_arguments, reason = "one place where everything about a try is said")]
    fn attempt(
        &mut self,
        body: &[Task],
        attempts: u32,
        caught: Option<u16>,
        handler: Option<&[Task]>,
        at: &[u64],
        pass: u32,
        input: &Value,
        seq: u64,
    ) -> Reached {
        let (mut mine, mut used, mut start) = (pass, pass, seq);
        for failed in 1.. {
            let (flow, when, passes) = self.list(body, at, mine, input.clone(), start);
            used = used.max(passes);
            let Flow::Failed { status, terminal } = flow else { return (flow, when, used) };
            if caught.is_some_and(|only| only != status) {
                return (flow, when, used);
            }
            if failed < attempts && !terminal {
                (mine, start) = (used + 1, when);
                continue;
            }
            let Some(handler) = handler else {
                // What only tries again catches nothing at the end.
                let flow = if attempts > 1 { flow } else { Flow::Done(input.clone()) };
                return (flow, when, used);
            };
            let told = json!({ "e": status, "in": input });
            let (flow, when, passes) = self.list(handler, at, pass, told, when);
            return (flow, when, used.max(passes));
        }
        (Flow::Waits, seq, used)
    }
}

/// How a branch ended, and when.
struct End {
    when: u64,
    index: usize,
    flow: Flow,
}

/// What decides about branches before all of them have ended: looked for in the order of their ends.
fn decision(rule: Rule, branches: usize, ends: &[End]) -> Option<(Flow, u64)> {
    let mut order: Vec<&End> = ends.iter().collect();
    order.sort_by_key(|end| (end.when, end.index));
    let (mut failed, mut outputs) = (0, BTreeMap::new());
    for end in order {
        let decides = match (&end.flow, rule) {
            (Flow::Ended(_), _) => true,
            (Flow::Failed { .. }, Rule::All | Rule::First | Rule::Compete) => true,
            (Flow::Failed { .. }, Rule::Any | Rule::Count(_)) => {
                failed += 1;
                let needed = if let Rule::Count(n) = rule { n as usize } else { 1 };
                branches < failed + needed
            }
            (Flow::Done(_), Rule::First | Rule::Compete | Rule::Any) => true,
            (Flow::Done(output), Rule::Count(n)) => {
                outputs.insert(end.index, output.clone());
                if outputs.len() == n as usize {
                    return Some((Flow::Done(outputs.into_values().collect()), end.when));
                }
                false
            }
            (Flow::Failed { .. }, Rule::Settled) | (Flow::Done(_), Rule::All | Rule::Settled) | (Flow::Waits, _) => {
                false
            }
        };
        if decides {
            return Some((end.flow.clone(), end.when));
        }
    }
    None
}

/// What branches give that have all ended with nothing decided on the way.
fn all_ended(rule: Rule, ends: &mut [End]) -> Flow {
    ends.sort_by_key(|end| end.index);
    let output = |end: &End| if let Flow::Done(output) = &end.flow { output.clone() } else { Value::Null };
    match rule {
        Rule::All => Flow::Done(ends.iter().map(output).collect()),
        Rule::Settled => {
            let error = |end: &End| match &end.flow {
                Flow::Failed { status, .. } => Some(json!({ "index": end.index, "status": status })),
                Flow::Done(_) | Flow::Ended(_) | Flow::Waits => None,
            };
            let errors: Vec<Value> = ends.iter().filter_map(error).collect();
            Flow::Done(json!({ "outputs": ends.iter().map(output).collect::<Vec<_>>(), "errors": errors }))
        }
        // Fewer branches than must succeed.
        Rule::First | Rule::Compete | Rule::Any | Rule::Count(_) => Flow::Failed { status: 500, terminal: false },
    }
}
