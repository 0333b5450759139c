//! Writes outcomes and views in the words of the scripts. Kinds, not texts: the wording of errors is not recorded.

use std::fmt::Write as _;

use serde_json::Value;
use stepmill_definition::plan::Plan;
use stepmill_engine::{Command, Outcome, Told};
use stepmill_protocol::api::{Folded, RunState, RunView};
use stepmill_protocol::{
    ChildEnd, CloudEvent, CommandId, Event, PartitionNo, Payload, PoolName, Priority, Problem, RunId, StartRun,
    SystemAction, Task, Timestamp,
};

use crate::world::World;

const JSON_CHARS: usize = 300;
/// Of more commands than this only the first ones and the last are shown.
const COMMANDS_SHOWN: usize = 12;

pub(crate) fn outcome(world: &mut World, plan: &Plan, outcome: &Outcome) -> String {
    let mut text = match &outcome.answer {
        Folded::Applied => "applied\n".to_owned(),
        Folded::Ignored { note } => format!("ignored: {note}\n"),
        Folded::Refused(p) => problem("refused", p) + "\n",
    };
    let mut lines = Vec::new();
    for command in &outcome.commands {
        let line = match command {
            Command::Dispatch { id, pool, priority } => {
                let run = outcome.run.as_ref().expect("a dispatch is of a run");
                if pool.is_system() {
                    let action = run.action(plan, *id).expect("a dispatch of the system has an action");
                    assert_eq!(run.task(plan, *id, PartitionNo(3)), None);
                    lines.push(format!("act {} {}", name(world, id), act(world, &action)));
                    continue;
                }
                assert_eq!(run.action(plan, *id), None);
                let task = run.task(plan, *id, PartitionNo(3)).expect("a dispatch has a task");
                world.learn(*id, task.token);
                format!("dispatch {} {}", name(world, id), body(&task, pool, *priority))
            }
            Command::Withdraw { id } => format!("withdraw {}", name(world, id)),
            Command::Arm { timer, due } => format!("arm {timer} {}", time(*due)),
            Command::Disarm { timer } => format!("disarm {timer}"),
            Command::Yield { number } => format!("yield {number}"),
        };
        lines.push(line);
    }
    let shown = if lines.len() > COMMANDS_SHOWN { COMMANDS_SHOWN / 2 } else { lines.len() };
    lines[..shown].iter().for_each(|line| writeln!(text, "{line}").unwrap());
    if shown < lines.len() {
        writeln!(text, "… {} more …", lines.len() - shown - 1).unwrap();
        writeln!(text, "{}", lines[lines.len() - 1]).unwrap();
    }
    if let (Some(run), Folded::Applied) = (&outcome.run, &outcome.answer) {
        let view = run.view(plan);
        if view.state != RunState::Running {
            writeln!(text, "{}", end(&view)).unwrap();
        }
    }
    text
}

/// The life-cycle events, one per line.
pub(crate) fn happened(told: Option<&Told>) -> String {
    let mut text = String::new();
    for event in told.into_iter().flat_map(Told::events) {
        let body: Value = serde_json::from_slice(&event.body).unwrap();
        let body = CloudEvent::try_from(body).expect("an event that consumers accept");
        let data = body.data();
        let of = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let error = data.get("error").map(|e| problem("", &serde_json::from_value(e.clone()).unwrap()));
        let output = data.get("output").map(|o| format!(" {}", json(o)));
        let (error, output) = (error.unwrap_or_default(), output.unwrap_or_default());
        let line = format!("| {} {}{error}{output}", event.kind, of("task"));
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text
}

/// `visit.pass.dispatch`; derived visits by their alias.
fn name(world: &mut World, id: &CommandId) -> String {
    let visit = if id.visit.0 < 1 << 52 {
        id.visit.to_string()
    } else {
        let known = world.derived.iter().position(|v| *v == id.visit);
        let at = known.unwrap_or_else(|| {
            world.derived.push(id.visit);
            world.derived.len() - 1
        });
        format!("~{}", at + 1)
    };
    format!("{visit}.{}.{}", id.pass, id.dispatch)
}

fn body(task: &Task, pool: &PoolName, priority: Priority) -> String {
    assert_eq!((&task.pool, task.priority), (pool, priority));
    let mut text = format!("{} {} attempt={}", task.path, task.kind, task.attempt);
    if pool.as_str() != "default" {
        write!(text, " pool={pool}").unwrap();
    }
    if priority != Priority::Normal {
        write!(text, " priority={}", priority.as_str()).unwrap();
    }
    if let Some(deadline) = task.deadline {
        write!(text, " deadline={}", time(deadline)).unwrap();
    }
    if let Some(retry) = &task.retry {
        write!(text, " retry={}x{}ms", retry.attempts_max, retry.delay.0).unwrap();
    }
    let input = match &task.input {
        Payload::Inline(value) => json(value),
        Payload::Ref { id, bytes } => format!("value {id} of {bytes} bytes"),
    };
    match &task.secrets {
        Some(scope) => {
            let readable = input.replace(&scope.mark, "<secret ").replace('\u{2063}', ">");
            write!(text, " secrets={} input={readable}", scope.names.join(",")).unwrap();
        }
        None => write!(text, " input={input}").unwrap(),
    }
    text
}

fn act(world: &mut World, action: &SystemAction) -> String {
    match action {
        SystemAction::Start(start) => {
            world.started(start.parent.id, start.run);
            self::start(start)
        }
        SystemAction::Tell { run, event } => format!("tell {} {}", short(*run), told(event)),
        SystemAction::Cancel { run, start, .. } => {
            let first = start.as_ref().map(|s| format!(" after {}", self::start(s))).unwrap_or_default();
            format!("cancel {}{first}", short(*run))
        }
        SystemAction::Emit { event, .. } => format!("emit {}", json(event.value())),
    }
}

fn start(start: &StartRun) -> String {
    let StartRun { run, workflow, version, input, parent, .. } = start;
    let version = version.as_ref().map(|v| format!(" version={v}")).unwrap_or_default();
    let waits = if parent.waits { "" } else { " unawaited" };
    format!("start {} {workflow}{version} depth={}{waits} input={}", short(*run), parent.depth, json(input))
}

fn told(event: &Event) -> String {
    let Event::ChildEnded { end, usage, .. } = event else { return event.name().into() };
    let end = match end {
        ChildEnd::Completed { output } => format!("completed {}", json(output)),
        ChildEnd::Faulted { problem: p } => problem("faulted", p),
        ChildEnd::Cancelled { problem: p } => problem("cancelled", p),
    };
    format!("{end} tokens={}", usage.tokens_in)
}

/// The first digits of a run's id.
pub(crate) fn short(run: RunId) -> String {
    run.to_string().chars().take(8).collect()
}

fn end(view: &RunView) -> String {
    let word = view.state.as_str();
    match (&view.output, &view.error) {
        (Some(output), _) => format!("{word} {}", json(output)),
        (None, Some(error)) => problem(word, error),
        (None, None) => word.into(),
    }
}

/// The kind of a problem and its place; not its wording.
pub(crate) fn problem(word: &str, problem: &Problem) -> String {
    let kind = problem.kind.rsplit('/').next().unwrap_or_default();
    let at = problem.instance.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    format!("{word} {} {kind}{at}", problem.status)
}

pub(crate) fn view(view: &RunView) -> String {
    let mut text = format!(
        "{} rev={} steps={} failed={} tokens={}\n",
        view.state.as_str(),
        view.rev,
        view.steps_done,
        view.attempts_failed,
        view.usage.tokens_in
    );
    if view.state != RunState::Running {
        writeln!(text, "{}", end(view)).unwrap();
    }
    for step in &view.live {
        let attempt = step.attempt.map(|a| format!(" attempt={a}")).unwrap_or_default();
        let kind = step.kind.as_ref().map(|k| format!(" {k}")).unwrap_or_default();
        let until = step.until.map(|at| format!(" until={}", time(at))).unwrap_or_default();
        let waits_for = serde_json::to_value(step.waits_for).unwrap();
        writeln!(text, "{}{kind} waits for {}{attempt}{until}", step.path, waits_for.as_str().unwrap()).unwrap();
    }
    text
}

pub(crate) fn json(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= JSON_CHARS {
        return text;
    }
    let cut: String = text.chars().take(60).collect();
    format!("{cut}… ({} bytes)", text.len())
}

fn time(at: Timestamp) -> String {
    if at.0.is_multiple_of(1000) { format!("@{}s", at.0 / 1000) } else { format!("@{}ms", at.0) }
}
