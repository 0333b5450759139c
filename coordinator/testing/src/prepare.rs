//! A case held against its definition: names resolved, expressions compiled, all mistakes told.

use std::sync::Arc;

use serde_json::Value;
use stepmill_definition::expression::Expression;
use stepmill_definition::plan::{NodeId, Template};
use stepmill_definition::{Mistake, Place, Placed};
use stepmill_protocol::CloudEvent;

use crate::answer::{Answer, Answers, Times, place_of};
use crate::case::Case;
use crate::event;
use crate::expect::{CommandPattern, Item};
use crate::mock::{Mock, Reply, What};
use crate::names::{Names, is_call};

/// A step, or several of one name, as a case names them.
#[derive(Clone, Debug)]
pub(crate) struct Meant {
    pub(crate) text: Placed<String>,
    pub(crate) nodes: Vec<NodeId>,
}

/// What a case says, in the terms of its plan.
#[derive(Debug, Default)]
pub(crate) struct Prepared<'c> {
    pub(crate) mocks: Vec<Mock>,
    pub(crate) alone: Option<NodeId>,
    pub(crate) events: Vec<CloudEvent>,
    pub(crate) path: Option<Vec<Item<Meant>>>,
    pub(crate) never: Vec<Meant>,
    pub(crate) attempts: Vec<(Meant, u64)>,
    pub(crate) commands: Option<Vec<Item<(Meant, &'c CommandPattern)>>>,
    pub(crate) holds: Vec<(&'c Placed<String>, Expression)>,
}

struct Preparing<'c, 'p> {
    names: Names<'p>,
    mistakes: Vec<Mistake>,
    done: Prepared<'c>,
}

/// Holds a case against a plan. With an error among the mistakes it cannot be run.
pub(crate) fn prepare<'c>(names: Names<'_>, case: &'c Case) -> (Prepared<'c>, Vec<Mistake>) {
    let mut preparing = Preparing { names, mistakes: Vec::new(), done: Prepared::default() };
    preparing.mocks(case);
    preparing.alone(case);
    preparing.events(case);
    preparing.expectations(case);
    (preparing.done, preparing.mistakes)
}

impl<'c> Preparing<'c, '_> {
    fn note<T>(&mut self, found: Result<T, Mistake>) -> Option<T> {
        found.map_err(|mistake| self.mistakes.push(mistake)).ok()
    }

    fn meant(&mut self, text: &Placed<String>) -> Option<Meant> {
        let found = self.names.find(text);
        self.note(found).map(|nodes| Meant { text: text.clone(), nodes })
    }

    /// The case's own mocks go before those of the file, paths before names.
    fn mocks(&mut self, case: &Case) {
        let own = case.mocks.iter().map(|(step, answers)| (step, answers, false));
        let shared = case.shared.iter().filter(|(step, _)| !case.mocks.contains_key(*step));
        let mut all: Vec<(&Placed<String>, &Answers, bool)> =
            own.chain(shared.map(|(step, answers)| (step, answers, true))).collect();
        all.sort_by_key(|(step, _, shared)| (*shared, !step.value.starts_with('/')));
        for (step, answers, shared) in all {
            let Some(meant) = self.meant(step) else { continue };
            let nodes: Vec<NodeId> =
                meant.nodes.iter().copied().filter(|id| self.names.plan.get(*id).is_some_and(is_call)).collect();
            if nodes.is_empty() {
                let message = format!("`{}` is run by the engine itself, not by a worker", step.value);
                let help = "remove its mock: only calls are mocked";
                self.mistakes.push(Mistake::error("not-mockable", &step.place, message, help));
                continue;
            }
            let replies: Vec<Reply> = answers
                .0
                .iter()
                .filter_map(|answer| {
                    let reply = reply(&answer.value, place_of(answer, step));
                    self.note(reply)
                })
                .collect();
            if answers.0.is_empty() {
                let message = format!("the mock of `{}` has no answer", step.value);
                self.mistakes.push(Mistake::error("no-answer", &step.place, message, "add `- result: …`"));
            }
            self.done.mocks.push(Mock { step: step.clone(), nodes, replies, shared });
        }
    }

    fn alone(&mut self, case: &Case) {
        let Some(alone) = &case.alone else {
            if let Some(context) = &case.expect.context {
                let help = "use it with `alone`, or look at the context through the output";
                let message = "the context of a whole run is not known at its end";
                self.mistakes.push(Mistake::error("no-effect", &context.place, message, help));
            }
            return;
        };
        let found = self.names.find_one(&alone.step);
        self.done.alone = self.note(found);
    }

    fn events(&mut self, case: &Case) {
        for (number, event) in case.events.iter().enumerate() {
            let read = event::read(number, &event.event);
            let read = self.note(read);
            self.done.events.extend(read);
        }
    }

    fn expectations(&mut self, case: &'c Case) {
        let expect = &case.expect;
        if let Some(path) = &expect.path {
            let items = path.value.iter().filter_map(|item| match item {
                Item::Rest => Some(Item::Rest),
                Item::One(step) => self.meant(step).map(Item::One),
            });
            self.done.path = Some(items.collect());
        }
        self.done.never = expect.never.iter().filter_map(|step| self.meant(step)).collect();
        self.done.attempts =
            expect.attempts.iter().filter_map(|(step, count)| Some((self.meant(step)?, *count))).collect();
        if let Some(commands) = &expect.commands {
            let items = commands.value.iter().filter_map(|item| match item {
                Item::Rest => Some(Item::Rest),
                Item::One(pattern) => self.meant(&pattern.step).map(|meant| Item::One((meant, pattern))),
            });
            self.done.commands = Some(items.collect());
        }
        for text in &expect.holds {
            let compiled = expression(&text.value, &text.place);
            if let Some(expression) = self.note(compiled) {
                self.done.holds.push((text, expression));
            }
        }
    }
}

fn reply(answer: &Answer, place: &Place) -> Result<Reply, Mistake> {
    let what = match (&answer.result, &answer.error, answer.hangs) {
        (Some(result), None, false) => What::Gives(template(result, place)?),
        (None, Some(error), false) => What::Fails {
            problem: error.0.clone(),
            retryable: answer.retryable.unwrap_or(true),
            retry_after: answer.retry_after.map(|after| after.0),
        },
        (None, None, true) => What::Hangs,
        (None, None, false) => {
            let help = "add `result:`, or `error:`, or `hangs: true`";
            return Err(Mistake::error("no-answer", place, "this answer says nothing", help));
        }
        (_, _, _) => {
            let message = "an answer has one of `result`, `error` and `hangs`, not several";
            return Err(Mistake::error("two-answers", place, message, "remove all but one"));
        }
    };
    if answer.error.is_none() && (answer.retryable.is_some() || answer.retry_after.is_some()) {
        let message = "`retryable` and `retryAfter` have no effect without `error`";
        return Err(Mistake::error("no-effect", place, message, "remove them, or add `error:`"));
    }
    let when = answer.when.as_ref().map(|text| expression(&text.value, &text.place)).transpose()?;
    let left = match answer.times {
        Some(Times::Always) => None,
        Some(Times::Count(count)) => Some(count),
        None if when.is_none() => Some(1),
        None => None,
    };
    let usage = answer.usage.map(Into::into);
    Ok(Reply { place: place.clone(), what, when, left, latency: answer.latency.0, usage, used: 0 })
}

/// An expression, with or without `${ }`.
fn expression(text: &str, place: &Place) -> Result<Expression, Mistake> {
    Expression::compile(inside(text).unwrap_or(text), &[])
        .map_err(|mistake| Mistake::error(mistake.code, place, mistake.message, mistake.help))
}

/// The expression in `${ … }`.
fn inside(text: &str) -> Option<&str> {
    text.trim().strip_prefix("${")?.strip_suffix('}')
}

fn template(value: &Value, place: &Place) -> Result<Template, Mistake> {
    Ok(match value {
        Value::String(text) => match inside(text) {
            Some(_) => Template::Expr(expression(text, place)?),
            None => Template::Const(Arc::new(value.clone())),
        },
        Value::Array(items) => {
            Template::Array(items.iter().map(|item| template(item, place)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Ok((name.clone(), template(value, place)?)));
            Template::Object(fields.collect::<Result<_, Mistake>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Template::Const(Arc::new(value.clone())),
    })
}
