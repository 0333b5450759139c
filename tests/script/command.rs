//! Reads the commands of a script and carries them out.

use serde_json::Value;
use stepmill_protocol::{
    Act, Acted, AttemptNo, ChildEnd, CloudEvent, CommandId, Event, Millis, Occurrence, Operation, Parent, Pass,
    Problem, Report, ReportOutcome, StepPath, Target, TaskToken, TimerId, Timestamp, Usage, ValueId, Visit,
};

use crate::world::{PARENT, RUN, World};

/// Carries out one block and gives the answer.
pub(crate) fn run(world: &mut World, block: &[&str], place: &str) -> String {
    let mut line = block[0];
    if let Some(rest) = line.strip_prefix('@') {
        let (at, command) =
            rest.split_once(' ').unwrap_or_else(|| panic!("{place}: a command is expected after {line}"));
        world.at = Timestamp(millis(at));
        line = command;
    }
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let args = Args::read(rest);
    match verb {
        "define" => world.define(&block[1..].join("\n")),
        "submit" => {
            let input = args.json("input").unwrap_or_default();
            let rules = (args.get("engine").map(|engine| engine.parse().unwrap()), args.get("cancelled"));
            world.submit(args.get("key"), input, args.has("other-secret"), parent(&args), rules)
        }
        "started" => {
            let id = command_id(world, args.plain(0));
            world.event(Event::Acted { id, outcome: Acted::Started { child: world.child(&id) } })
        }
        "acted" => {
            let id = command_id(world, args.plain(0));
            let output = args.json("output").unwrap_or_default();
            world.event(Event::Acted { id, outcome: Acted::Done { output } })
        }
        "not-acted" => {
            let id = command_id(world, args.plain(0));
            let (problem, retryable) = (scripted(&args), !args.has("terminal"));
            world.event(Event::Acted { id, outcome: Acted::Failed { problem, retryable } })
        }
        "child-completed" => {
            let end = ChildEnd::Completed { output: args.json("output").unwrap_or_default() };
            child_ended(world, &args, end)
        }
        "child-faulted" => child_ended(world, &args, ChildEnd::Faulted { problem: scripted(&args) }),
        "child-cancelled" => child_ended(world, &args, ChildEnd::Cancelled { problem: scripted(&args) }),
        "done" => {
            let output = args.json("output").unwrap_or_default();
            let report = report(world, &args, ReportOutcome::Succeeded { output });
            world.event(Event::Report(Box::new(report)))
        }
        "fail" => {
            let report = report(world, &args, failure(&args));
            world.event(Event::Report(Box::new(report)))
        }
        "due" => world.event(Event::TimerDue { timer: TimerId(args.number(0)) }),
        "resume" => world.event(Event::Resume { number: args.number(0) }),
        "resume-all" => world.resume_all(),
        "cancel" => world.event(Event::Cancel { reason: args.rest("reason").into() }),
        "terminate" => world.event(operated(&args, Act::Terminate)),
        "pause" => world.event(operated(&args, Act::Pause)),
        "unpause" => world.event(operated(&args, Act::Unpause)),
        "rerun" => world.event(operated(&args, Act::Rerun { step: target(&args), input: args.json("input") })),
        "skip" => {
            let output = args.json("output").unwrap_or_default();
            world.event(operated(&args, Act::Skip { step: target(&args), output }))
        }
        "set" => {
            let output = args.json("output").unwrap_or_default();
            world.event(operated(&args, Act::Set { step: target(&args), output }))
        }
        "acts" => world.acts(),
        "park" => world.event(Event::Park { reason: args.rest("reason").into() }),
        "lost" => {
            let id = command_id(world, args.plain(0));
            world.event(Event::TaskLost { id })
        }
        "signal" => world.event(Event::Signal {
            id: uuid::Uuid::from_u128(args.number(0).into()),
            name: args.plain(1).into(),
            data: args.json("data").unwrap_or_default(),
        }),
        "event" => {
            let occurrence = occurrence(world, &args);
            world.occurred(occurrence, args.has("in-doubt"))
        }
        "snapshot" => world.event(Event::Snapshot { state: Vec::new(), values: Vec::new(), as_of: 0 }),
        "may-run" => {
            let id = command_id(world, args.plain(0));
            let token = token(world, &args, &id);
            world.may_run(id, token)
        }
        "value" => {
            let id = command_id(world, args.plain(0));
            let token = token(world, &args, &id);
            world.value(id, token, ValueId(args.number(1)))
        }
        "show" => world.show(),
        "tell" => {
            world.telling = true;
            "from now on".into()
        }
        _ => panic!("{place}: no command is called `{verb}`"),
    }
}

/// `[id=…]`, else the same act is never the same twice; done by `ann`, for the reason at the end of the line.
fn operated(args: &Args<'_>, act: Act) -> Event {
    let id = args.get("id").map_or_else(uuid::Uuid::new_v4, |id| uuid::Uuid::from_u128(id.parse().unwrap()));
    Event::Operated(Box::new(Operation { id, by: "ann".into(), reason: args.rest("reason").into(), act }))
}

/// `path [token=…]`
fn target(args: &Args<'_>) -> Target {
    Target { path: StepPath(args.plain(0).into()), token: args.get("token").map(|n| n.parse().unwrap()) }
}

/// `id type [in-doubt] [source=…] [at=…] [<attribute>=…] [data=…]`: stored at the time of the script unless said, in the order of the script.
fn occurrence(world: &mut World, args: &Args<'_>) -> Occurrence {
    let mut event = serde_json::json!({
        "specversion": "1.0", "id": args.plain(0), "type": args.plain(1), "source": args.get("source").unwrap_or("/script"),
    });
    for word in args.words().filter(|w| !w.starts_with("at=") && !w.starts_with("seq=")) {
        if let Some((name, value)) = word.split_once('=') {
            event[name] = value.into();
        }
    }
    if let Some(data) = args.json("data") {
        event["data"] = data;
    }
    let stored_at = args.get("at").map_or(world.at, |at| Timestamp(millis(at)));
    let seq = args.get("seq").map_or_else(|| world.next_event(), |seq| seq.parse().unwrap());
    Occurrence { event: CloudEvent::try_from(event).unwrap(), stored_at, seq }
}

fn report(world: &World, args: &Args<'_>, outcome: ReportOutcome) -> Report {
    let id = command_id(world, args.plain(0));
    Report {
        id,
        path: StepPath("/".into()),
        token: token(world, args, &id),
        attempt: args.get("attempt").map_or_else(|| world.attempt(id), |a| AttemptNo(a.parse().unwrap())),
        outcome,
        worker: "script".into(),
        took: Millis(1),
        usage: args.get("tokens").map(|t| Usage {
            model_calls: 1,
            tokens_in: t.parse().unwrap(),
            tokens_out: 1,
            ..Usage::default()
        }),
    }
}

/// `child-of=<depth>`, with `unawaited`.
fn parent(args: &Args<'_>) -> Option<Parent> {
    let depth = args.get("child-of")?.parse().unwrap();
    let id = CommandId { run: PARENT, visit: Visit(1), pass: Pass(0), dispatch: 1 };
    Some(Parent { id, path: StepPath("/do/0/child".into()), depth, waits: !args.has("unawaited") })
}

fn child_ended(world: &mut World, args: &Args<'_>, end: ChildEnd) -> String {
    let id = command_id(world, args.plain(0));
    let child = if args.has("stranger") { PARENT } else { world.child(&id) };
    let usage = Usage { model_calls: 1, tokens_in: 7, tokens_out: 1, ..Usage::default() };
    world.event(Event::ChildEnded { id, child, end, usage })
}

fn scripted(args: &Args<'_>) -> Problem {
    let status: u16 = args.plain(1).parse().expect("a status");
    let kind = match args.get("type") {
        Some(kind) => kind.to_owned(),
        None => "https://example.com/errors/scripted".into(),
    };
    Problem { kind, status, title: "Scripted".into(), detail: None, instance: None, extra: None }
}

fn failure(args: &Args<'_>) -> ReportOutcome {
    let duration = |name| args.get(name).map(|text| Millis(millis(text)));
    ReportOutcome::Failed {
        problem: scripted(args),
        retryable: !args.has("terminal"),
        retry_after: duration("after"),
        redeliver_after: duration("redeliver"),
    }
}

fn token(world: &World, args: &Args<'_>, id: &CommandId) -> TaskToken {
    if args.has("wrong-token") { TaskToken([7; 16]) } else { world.token(id) }
}

/// `visit.pass.dispatch`; a derived visit goes by its alias, for instance `~1`.
fn command_id(world: &World, text: &str) -> CommandId {
    let mut parts = text.split('.');
    let visit = parts.next().unwrap();
    let visit = match visit.strip_prefix('~') {
        Some(alias) => world.derived[alias.parse::<usize>().unwrap() - 1],
        None => Visit(visit.parse().unwrap_or_else(|_| panic!("`{text}` is no dispatch"))),
    };
    let mut number = || parts.next().unwrap().parse().unwrap();
    CommandId { run: RUN, visit, pass: Pass(number()), dispatch: number() }
}

pub(crate) fn millis(text: &str) -> u64 {
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(ms), _) => ms.parse().unwrap(),
        (None, Some(s)) => s.parse::<u64>().unwrap() * 1000,
        (None, None) => panic!("`{text}` needs a unit: s or ms"),
    }
}

/// Words, then `name=value`, the last of which may be JSON or text to the end of the line.
struct Args<'a>(&'a str);

impl<'a> Args<'a> {
    const TO_THE_END: [&'static str; 4] = ["input=", "output=", "data=", "reason="];

    fn read(text: &'a str) -> Self {
        Self(text)
    }

    fn words(&self) -> impl Iterator<Item = &'a str> {
        let end = Self::TO_THE_END.iter().filter_map(|name| self.0.find(name)).min().unwrap_or(self.0.len());
        self.0[..end].split_whitespace()
    }

    fn plain(&self, n: usize) -> &'a str {
        self.words()
            .filter(|w| !w.contains('='))
            .nth(n)
            .unwrap_or_else(|| panic!("word {n} is missing in `{}`", self.0))
    }

    fn number(&self, n: usize) -> u64 {
        self.plain(n).parse().unwrap()
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.words().find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
    }

    fn has(&self, name: &str) -> bool {
        self.words().any(|w| w == name)
    }

    fn rest(&self, name: &str) -> &'a str {
        self.0.split_once(&format!("{name}=")).map_or("", |(_, rest)| rest)
    }

    fn json(&self, name: &str) -> Option<Value> {
        let (_, rest) = self.0.split_once(&format!("{name}="))?;
        Some(serde_json::from_str(rest).unwrap_or_else(|e| panic!("`{rest}` is no JSON: {e}")))
    }
}
