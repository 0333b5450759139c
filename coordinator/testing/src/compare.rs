//! What came of a run, held against what its case expects.

use serde_json::{Value, json};
use stepmill_definition::expression::Variables;
use stepmill_definition::plan::{NodeId, NodeKind};
use stepmill_definition::{Mistake, Place, Placed};
use stepmill_protocol::Problem;
use stepmill_protocol::api::{RunState, RunView, WaitsFor};

use crate::alone::told;
use crate::answer::type_uri;
use crate::case::Case;
use crate::difference::{Difference, differences};
use crate::expect::{CommandPattern, ErrorPattern, ExpectedState, Item, REST};
use crate::mock::Mock;
use crate::names::Names;
use crate::outcome::{Facts, Failure, Outcome, Sent};
use crate::prepare::{Meant, Prepared};
use crate::sequence::{Parting, follow};
use crate::when::shown;
use crate::world::Seen;

/// Judges a run.
pub(crate) fn judge(names: Names<'_>, case: &Case, prepared: &Prepared<'_>, seen: Seen, outcome: &mut Outcome) {
    let facts = facts(names, case, &seen);
    let Seen { trail, mocks, failures, stopped, .. } = seen;
    outcome.failures = failures;
    outcome.used = mocks.iter().filter(|mock| mock.shared && is_used(mock)).map(|m| m.step.value.clone()).collect();
    if !stopped {
        let judge = Judge { names, case, prepared, facts: &facts, path: &trail.path };
        judge.all(&trail.sent, &mut outcome.failures);
        outcome.warnings.extend(mocks.iter().filter(|mock| !mock.shared).flat_map(unused));
    }
    outcome.hits = trail.hits;
    outcome.facts = facts;
}

fn is_used(mock: &Mock) -> bool {
    mock.replies.iter().any(|reply| reply.used > 0)
}

fn unused(mock: &Mock) -> Vec<Mistake> {
    let step = &mock.step.value;
    if !is_used(mock) {
        let message = format!("the mock of `{step}` was not used");
        return vec![Mistake::error("unused-mock", &mock.step.place, message, "remove it").as_warning()];
    }
    let idle = mock.replies.iter().filter(|reply| reply.used == 0 || reply.left.is_some_and(|left| left > 0));
    idle.map(|reply| {
        let message = format!("the mock of `{step}` has an answer that was used {} times", reply.used);
        Mistake::error("unused-mock", &reply.place, message, "remove it, or lower `times`").as_warning()
    })
    .collect()
}

/// What is known at the end.
fn facts(names: Names<'_>, case: &Case, seen: &Seen) -> Facts {
    let view = seen.run.as_ref().map(|run| run.view(names.plan));
    let name = |id: &NodeId| names.plan.get(*id).map_or_else(String::new, |node| node.name.as_ref().into());
    let chose = seen.trail.chose.iter().map(|(id, case)| {
        let chosen = names.plan.get(*id).and_then(|node| {
            let NodeKind::Switch { cases } = &node.kind else { return None };
            Some(cases.get((*case)?)?.name.clone())
        });
        format!("{}: {}", name(id), chosen.as_deref().unwrap_or("none"))
    });
    let mut facts = Facts {
        path: seen.trail.path.iter().map(name).collect(),
        chose: chose.collect(),
        commands: seen.trail.sent.iter().map(|(_, sent)| sent.clone()).collect(),
        emitted: seen.trail.emitted.clone(),
        took_ms: seen.took,
        ..Facts::default()
    };
    for (_, sent) in &seen.trail.sent {
        *facts.attempts.entry(sent.step.clone()).or_default() += 1;
    }
    match view {
        Some(view) => fill(&mut facts, view, case.alone.is_some()),
        None => facts.error.clone_from(&seen.refused),
    }
    facts
}

fn fill(facts: &mut Facts, view: RunView, alone: bool) {
    facts.state = Some(view.state);
    facts.waits_for =
        view.live.iter().map(|step| format!("{} waits for {}", step.path, word(step.waits_for))).collect();
    facts.model_calls = view.usage.model_calls;
    facts.tokens_in = view.usage.tokens_in;
    facts.tokens_out = view.usage.tokens_out;
    facts.error = view.error;
    facts.output = view.output;
    if alone && let Some(told) = facts.output.as_ref().and_then(told) {
        facts.output = Some(told.output);
        facts.context = Some(told.context);
    }
}

fn word(waits: WaitsFor) -> String {
    serde_json::to_value(waits).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

struct Judge<'a> {
    names: Names<'a>,
    case: &'a Case,
    prepared: &'a Prepared<'a>,
    facts: &'a Facts,
    path: &'a [NodeId],
}

impl Judge<'_> {
    fn all(&self, sent: &[(NodeId, Sent)], failures: &mut Vec<Failure>) {
        let expect = &self.case.expect;
        let right = self.state(failures);
        if right {
            // Without an output there is nothing to compare, and the state has said so.
            if let Some(output) = &expect.output {
                self.value("output", output, self.facts.output.as_ref(), false, failures);
            }
            if let Some(output) = &expect.output_includes {
                self.value("output", output, self.facts.output.as_ref(), true, failures);
            }
            if let Some(context) = &expect.context {
                self.value("context", context, self.facts.context.as_ref(), false, failures);
            }
            if let Some(error) = &expect.error {
                self.error(error, failures);
            }
        }
        self.path(failures);
        self.counts(failures);
        self.commands(sent, failures);
        self.emitted(failures);
        self.holds(failures);
    }

    /// Whether the run ended as it should.
    fn state(&self, failures: &mut Vec<Failure>) -> bool {
        let expect = &self.case.expect;
        let (wanted, place) = match (&expect.state, &expect.error) {
            (Some(state), _) => (state.value, &state.place),
            (None, Some(error)) => (ExpectedState::Faulted, &error.place),
            (None, None) => (ExpectedState::Completed, &self.case.name.place),
        };
        if self.facts.state == Some(wanted.run_state()) {
            return true;
        }
        let should = match wanted {
            ExpectedState::Completed => "it should have completed",
            ExpectedState::Faulted => "it should have failed",
            ExpectedState::Cancelled => "it should have been cancelled",
            ExpectedState::Running => "it should still wait",
        };
        let (message, help) = match self.facts.state {
            None => ("the submission was refused".to_owned(), self.told_error()),
            Some(RunState::Completed) => {
                let output = self.facts.output.as_ref().map(Value::to_string).unwrap_or_default();
                ("the run completed".to_owned(), format!("its output is {output}"))
            }
            Some(state @ (RunState::Faulted | RunState::Cancelled | RunState::Parked)) => {
                (format!("the run {}", verb(state)), self.told_error())
            }
            Some(RunState::Running) => {
                let help = "nothing in the case wakes it: add an answer, a signal or a cancel";
                ("the run still waits".to_owned(), format!("{}\n{help}", self.facts.waits_for.join("\n")))
            }
        };
        failures.push(Failure::new("state", place, format!("{message}, {should}"), help));
        false
    }

    fn told_error(&self) -> String {
        let Some(error) = &self.facts.error else { return String::new() };
        let at = error.instance.as_ref().map(|at| format!(", at {at}")).unwrap_or_default();
        format!("{error}\nits type is {}, its status {}{at}", error.kind, error.status)
    }

    fn value(
        &self,
        what: &'static str,
        expected: &Placed<Value>,
        got: Option<&Value>,
        partly: bool,
        failures: &mut Vec<Failure>,
    ) {
        let Some(got) = got else {
            let message = format!("there is no {what}");
            failures.push(Failure::new(what, &expected.place, message, ""));
            return;
        };
        let found = differences(&expected.value, got, partly);
        if !found.is_empty() {
            let message = format!("the {what} is another one");
            failures.push(differing(what, &expected.place, message, found));
        }
    }

    fn error(&self, expected: &Placed<ErrorPattern>, failures: &mut Vec<Failure>) {
        let Some(error) = &self.facts.error else { return };
        let found = error_differences(&expected.value, error);
        if !found.is_empty() {
            let failure = differing("error", &expected.place, "the error is another one".into(), found);
            failures.push(Failure { help: self.told_error(), ..failure });
        }
    }

    fn path(&self, failures: &mut Vec<Failure>) {
        if let (Some(items), Some(Placed { place, .. })) = (&self.prepared.path, &self.case.expect.path)
            && let Err(parting) = follow(items, self.path, |meant, node| meant.nodes.contains(node))
        {
            let wanted = parting.wanted.iter().filter_map(|n| items.get(*n)).filter_map(|item| match item {
                Item::One(meant) => Some(meant),
                Item::Rest => None,
            });
            let wanted: Vec<&Meant> = wanted.collect();
            let place = wanted.first().map_or(place, |meant| &meant.text.place);
            let wanted: Vec<String> = wanted.iter().map(|meant| format!("`{}`", meant.text.value)).collect();
            failures.push(parted("path", "path", place, &parting, &wanted, &self.facts.path));
        }
        for meant in &self.prepared.never {
            if self.path.iter().any(|node| meant.nodes.contains(node)) {
                let message = format!("`{}` was entered, and never should be", meant.text.value);
                failures.push(Failure::new("never", &meant.text.place, message, path_help(&self.facts.path)));
            }
        }
    }

    fn counts(&self, failures: &mut Vec<Failure>) {
        for (meant, wanted) in &self.prepared.attempts {
            let steps: Vec<String> = meant.nodes.iter().map(|node| self.names.shown(*node)).collect();
            let got: u64 = steps.iter().filter_map(|step| self.facts.attempts.get(step)).sum();
            if got != *wanted {
                let message = format!("{got} attempts were made at `{}`, not {wanted}", meant.text.value);
                failures.push(Failure::new("attempts", &meant.text.place, message, path_help(&self.facts.path)));
            }
        }
        if let Some(wanted) = &self.case.expect.model_calls
            && wanted.value != self.facts.model_calls
        {
            let message = format!("{} calls to a model were made, not {}", self.facts.model_calls, wanted.value);
            failures.push(Failure::new("model-calls", &wanted.place, message, ""));
        }
        if let Some(wanted) = &self.case.expect.took
            && wanted.value.0 != self.facts.took_ms
        {
            let message = format!("the run took {}, not {}", shown(self.facts.took_ms), shown(wanted.value.0));
            failures.push(Failure::new("took", &wanted.place, message, ""));
        }
    }

    fn commands(&self, sent: &[(NodeId, Sent)], failures: &mut Vec<Failure>) {
        let (Some(items), Some(Placed { place, .. })) = (&self.prepared.commands, &self.case.expect.commands) else {
            return;
        };
        let fits = |(meant, pattern): &(Meant, &CommandPattern), (node, sent): &(NodeId, Sent)| {
            meant.nodes.contains(node) && command_differences(pattern, sent).is_empty()
        };
        let Err(parting) = follow(items, sent, fits) else { return };
        let wanted = parting.wanted.iter().filter_map(|n| items.get(*n)).filter_map(|item| match item {
            Item::One(one) => Some(one),
            Item::Rest => None,
        });
        let wanted: Vec<&(Meant, &CommandPattern)> = wanted.collect();
        let place = wanted.first().map_or(place, |(meant, _)| &meant.text.place);
        let names: Vec<String> = wanted.iter().map(|(meant, _)| format!("`{}`", meant.text.value)).collect();
        let steps: Vec<String> = sent.iter().map(|(_, sent)| sent.step.clone()).collect();
        let mut failure = parted("commands", "list of commands", place, &parting, &names, &steps);
        // The right step with something else about it: say what.
        if let (Some((node, sent)), [(meant, pattern), ..]) = (sent.get(parting.after), wanted.as_slice())
            && meant.nodes.contains(node)
        {
            failure.differences = command_differences(pattern, sent);
        }
        failures.push(failure);
    }

    fn emitted(&self, failures: &mut Vec<Failure>) {
        let Some(Placed { value, place }) = &self.case.expect.emitted else { return };
        let items = value.iter().map(|one| if one.value == REST { Item::Rest } else { Item::One(one) });
        let items: Vec<Item<&Placed<Value>>> = items.collect();
        let got = &self.facts.emitted;
        let Err(parting) = follow(&items, got, |one, event| differences(&one.value, event, true).is_empty()) else {
            return;
        };
        let wanted = parting.wanted.iter().filter_map(|n| items.get(*n)).filter_map(|item| match item {
            Item::One(one) => Some(*one),
            Item::Rest => None,
        });
        let wanted: Vec<&Placed<Value>> = wanted.collect();
        let place = wanted.first().map_or(place, |one| &one.place);
        let names: Vec<String> = wanted.iter().map(|one| format!("`{}`", kind(&one.value))).collect();
        let kinds: Vec<String> = got.iter().map(kind).collect();
        let mut failure = parted("emitted", "list of emitted events", place, &parting, &names, &kinds);
        // The right type with something else about it: say what.
        if let (Some(event), [one, ..]) = (got.get(parting.after), wanted.as_slice())
            && kind(event) == kind(&one.value)
        {
            failure.differences = differences(&one.value, event, true);
        }
        failures.push(failure);
    }

    fn holds(&self, failures: &mut Vec<Failure>) {
        if self.prepared.holds.is_empty() {
            return;
        }
        let known = serde_json::to_value(self.facts).unwrap_or_default();
        for (text, expression) in &self.prepared.holds {
            let message = match expression.holds(&known, &Variables::default()) {
                Ok(true) => continue,
                Ok(false) => format!("`{}` does not hold", text.value),
                Err(e) => format!("`{}` cannot be evaluated: {e}", text.value),
            };
            let help = format!("the output is {}", self.facts.output.as_ref().unwrap_or(&Value::Null));
            failures.push(Failure::new("holds", &text.place, message, help));
        }
    }
}

/// The type of an event.
fn kind(event: &Value) -> String {
    event.get("type").and_then(Value::as_str).unwrap_or("…").to_owned()
}

const fn verb(state: RunState) -> &'static str {
    match state {
        RunState::Running => "still waits",
        RunState::Completed => "completed",
        RunState::Faulted => "failed",
        RunState::Cancelled => "was cancelled",
        RunState::Parked => "was parked",
    }
}

fn differing(code: &'static str, place: &Place, message: String, differences: Vec<Difference>) -> Failure {
    Failure { differences, ..Failure::new(code, place, message, "") }
}

fn error_differences(expected: &ErrorPattern, error: &Problem) -> Vec<Difference> {
    let ErrorPattern { kind, status, title, detail, instance } = expected;
    let kind = kind.as_deref().map(type_uri);
    let texts = [
        ("/type", kind.as_ref(), Some(&error.kind)),
        ("/title", title.as_ref(), Some(&error.title)),
        ("/detail", detail.as_ref(), error.detail.as_ref()),
        ("/instance", instance.as_ref(), error.instance.as_ref()),
    ];
    let texts = texts.into_iter().filter_map(|(at, expected, got)| {
        let expected = expected.filter(|expected| Some(*expected) != got)?;
        Some(difference(at, json!(expected), got.map(|got| json!(got))))
    });
    let status = status.filter(|status| *status != error.status);
    texts.chain(status.map(|status| difference("/status", json!(status), Some(json!(error.status))))).collect()
}

fn command_differences(pattern: &CommandPattern, sent: &Sent) -> Vec<Difference> {
    let CommandPattern { step: _, call, pool, priority, input, input_includes, attempt, at } = pattern;
    let mut found = Vec::new();
    let mut check = |place: &str, expected: Option<Value>, got: Value| {
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            found.push(difference(place, expected, Some(got)));
        }
    };
    check("/call", call.as_ref().map(|v| json!(v)), json!(sent.call));
    check("/pool", pool.as_ref().map(|v| json!(v)), json!(sent.pool));
    check("/priority", priority.map(|v| json!(v)), json!(sent.priority));
    check("/attempt", attempt.map(|v| json!(v)), json!(sent.attempt));
    check("/at", at.map(|v| json!(shown(v.0))), json!(shown(sent.at)));
    let inputs = input.iter().map(|input| (input, false)).chain(input_includes.iter().map(|input| (input, true)));
    for (expected, partly) in inputs {
        found.extend(differences(expected, &sent.input, partly).into_iter().map(|d| {
            let at = format!("/input{}", d.at);
            Difference { at, ..d }
        }));
    }
    found
}

fn difference(at: &str, expected: Value, got: Option<Value>) -> Difference {
    Difference { at: at.into(), expected: Some(expected), got }
}

fn parted(
    code: &'static str,
    what: &str,
    place: &Place,
    parting: &Parting,
    wanted: &[String],
    got: &[String],
) -> Failure {
    let came = match got.get(parting.after) {
        Some(step) => format!("`{step}` came"),
        None => "nothing more came".to_owned(),
    };
    let wanted = if wanted.is_empty() { "nothing more".to_owned() } else { wanted.join(" or ") };
    let after = match parting.after.checked_sub(1).and_then(|last| got.get(last)) {
        Some(last) => format!("after `{last}` (number {})", parting.after),
        None => "at its beginning".to_owned(),
    };
    let message = format!("the {what} is another one: {after} {came}, not {wanted}");
    Failure::new(code, place, message, path_help(got))
}

fn path_help(path: &[String]) -> String {
    format!("it was [{}]", path.join(", "))
}
