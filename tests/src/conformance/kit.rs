//! The steps of the kit's Gherkin files, and the run of all its scenarios on one system each.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cucumber::event::{Cucumber as All, Feature, Scenario, Step as StepEvent};
use cucumber::gherkin::Step as Written;
use cucumber::step::Context;
use cucumber::writer::Normalized;
use cucumber::{Cucumber, Event, Writer, cli, parser, runner};
use futures::future::LocalBoxFuture;
use regex::Regex;
use serde_json::Value;
use stepmill_protocol::api::{RunState, RunView};

use super::adapter::Adapter;
use super::attempt::{Attempt, attempt};
use super::scene::Scene;

/// A scenario of the kit takes milliseconds; one that takes longer than this is stuck.
const SCENARIO_WITHIN: Duration = Duration::from_secs(20);

/// How one scenario went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) feature: String,
    pub(super) scenario: String,
    /// The step that failed, and why.
    pub(super) failure: Option<String>,
}

/// What a scenario knows.
#[derive(Default)]
struct World {
    adapter: Option<Adapter>,
    definition: String,
    input: Value,
    attempt: Option<Attempt>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("input", &self.input).finish_non_exhaustive()
    }
}

impl cucumber::World for World {
    type Error = Infallible;

    async fn new() -> Result<Self, Infallible> {
        Ok(Self::default())
    }
}

/// All scenarios of a folder.
pub(super) async fn run(features: &Path, adapter: Adapter) -> Vec<Outcome> {
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let runner = steps().max_concurrent_scenarios(4).before(move |_, _, _, world: &mut World| {
        world.adapter = Some(adapter);
        Box::pin(std::future::ready(()))
    });
    let writer = Collect { outcomes: Arc::clone(&outcomes) };
    let kit = Cucumber::<World, _, _, _, _, cli::Empty>::custom(parser::Basic::new(), runner, writer);
    kit.with_default_cli().run(features.to_owned()).await;
    let mut outcomes = outcomes.lock().map(|o| o.clone()).unwrap_or_default();
    outcomes.sort_by(|a, b| (&a.feature, &a.scenario).cmp(&(&b.feature, &b.scenario)));
    outcomes
}

type Runner = runner::Basic<World>;

/// Every sentence that the kit uses.
fn steps() -> Runner {
    let given = |text: &str, step| (sentence(text), step);
    let mut runner = Runner::default();
    for (regex, step) in [
        given(r"^a workflow with definition:$", definition as Step),
        given(r"^given the workflow input is:$", input as Step),
    ] {
        runner = runner.given(regex, step);
    }
    runner = runner.when(sentence(r"^the workflow is executed$"), executed as Step);
    for (text, step) in [
        (r"^the workflow should complete$", completes as Step),
        (r"^the workflow should complete with output:$", completes_with),
        (r"^the workflow should fault$", faults),
        (r"^the workflow should fault with error:$", faults_with),
        (r"^the workflow output should have propert(?:y|ies) ((?:'[^']+'(?:, )?)+)$", has_properties),
        (r"^the workflow output should have an? '([^']+)' property with value:$", has_value),
        (r"^the workflow output should have an? '([^']+)' property containing (\d+) items?$", has_items),
        (r"^(\S+) should run (first|last)$", runs_first_or_last),
        (r"^(\S+) should run (before|after) (\S+)$", runs_before_or_after),
    ] {
        runner = runner.then(sentence(text), step);
    }
    runner
}

type Step = for<'a> fn(&'a mut World, Context) -> LocalBoxFuture<'a, ()>;

#[expect(clippy::expect_used, reason = "the texts above")]
fn sentence(text: &str) -> Regex {
    Regex::new(text).expect("a regular expression")
}

fn definition(world: &mut World, context: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move { world.definition = block(&context.step).to_owned() })
}

fn input(world: &mut World, context: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move { world.input = yaml(block(&context.step)) })
}

fn executed(world: &mut World, _: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move {
        let adapter = world.adapter.unwrap_or(Adapter::Embedded);
        match attempt(adapter, &world.definition, world.input.take(), SCENARIO_WITHIN, &Scene::default()).await {
            Ok(done) => world.attempt = Some(done),
            Err(error) => panic!("the system broke down: {error}"),
        }
    })
}

fn completes(world: &mut World, _: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move { drop(world.output()) })
}

fn completes_with(world: &mut World, context: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move { assert_eq!(world.output(), yaml(block(&context.step))) })
}

fn faults(world: &mut World, _: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move { drop(world.error()) })
}

fn faults_with(world: &mut World, context: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move {
        let error = world.error();
        for (field, expected) in yaml(block(&context.step)).as_object().into_iter().flatten() {
            assert_eq!(error.get(field), Some(expected), "`{field}` of {error}");
        }
    })
}

fn has_properties(world: &mut World, context: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move {
        let output = world.output();
        for path in part(&context, 1).split(", ").map(|p| p.trim_matches('\'')) {
            assert!(property(&output, path).is_some(), "there is no `{path}` in {output}");
        }
    })
}

fn has_value(world: &mut World, context: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move {
        let (output, path) = (world.output(), part(&context, 1));
        assert_eq!(property(&output, path), Some(&yaml(block(&context.step))), "`{path}` of {output}");
    })
}

fn has_items(world: &mut World, context: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move {
        let (output, path) = (world.output(), part(&context, 1));
        let items = property(&output, path).and_then(Value::as_array).map(Vec::len);
        assert_eq!(items, part(&context, 2).parse().ok(), "`{path}` of {output}");
    })
}

fn runs_first_or_last(world: &mut World, context: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move {
        let order = world.order();
        let place = if part(&context, 2) == "first" { order.first() } else { order.last() };
        assert_eq!(place.map(String::as_str), Some(part(&context, 1)), "they ran in this order: {order:?}");
    })
}

fn runs_before_or_after(world: &mut World, context: Context) -> LocalBoxFuture<'_, ()> {
    Box::pin(async move {
        let order = world.order();
        let place = |name: &str| order.iter().position(|n| n == name);
        let (one, other) = (place(part(&context, 1)), place(part(&context, 3)));
        let right = match (one, other) {
            (Some(one), Some(other)) => (one > other) == (part(&context, 2) == "after"),
            (None, _) | (_, None) => false,
        };
        assert!(right, "they ran in this order: {order:?}");
    })
}

impl World {
    fn view(&self) -> &RunView {
        match &self.attempt {
            Some(Attempt::Ran(view, _)) => view,
            Some(Attempt::Refused(problem)) => panic!("it was refused: {problem}"),
            None => panic!("the workflow was not executed"),
        }
    }

    fn output(&self) -> Value {
        let view = self.view();
        assert_eq!(view.state, RunState::Completed, "{:?} {:?}", view.error, view.live);
        view.output.clone().unwrap_or_default()
    }

    fn error(&self) -> Value {
        let view = self.view();
        assert_eq!(view.state, RunState::Faulted, "{:?} {:?}", view.output, view.live);
        view.error.as_ref().and_then(|e| serde_json::to_value(e).ok()).unwrap_or_default()
    }

    /// The names of the tasks that ran, in order.
    fn order(&self) -> &[String] {
        match &self.attempt {
            Some(Attempt::Ran(_, order)) => order,
            Some(Attempt::Refused(problem)) => panic!("it was refused: {problem}"),
            None => panic!("the workflow was not executed"),
        }
    }
}

/// The text between the quotes below a step.
fn block(step: &Written) -> &str {
    let text = step.docstring.as_deref().unwrap_or_default();
    text.trim_start_matches('\n').trim_start_matches("yaml").trim_matches('\n')
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("the kit's YAML: {e}"))
}

fn part(context: &Context, n: usize) -> &str {
    context.matches.get(n).map_or("", |(_, text)| text)
}

/// A field by its path with dots.
fn property<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

/// Keeps how each scenario went.
struct Collect {
    outcomes: Arc<Mutex<Vec<Outcome>>>,
}

/// Nothing is shown while it runs.
impl Normalized for Collect {}

impl Writer<World> for Collect {
    type Cli = cli::Empty;

    async fn handle_event(&mut self, event: parser::Result<Event<All<World>>>, _: &Self::Cli) {
        let Ok(mut outcomes) = self.outcomes.lock() else { return };
        match event.map(|event| event.value) {
            Ok(All::Feature(feature, Feature::Scenario(scenario, event))) => {
                let file = feature.path.as_deref().and_then(Path::file_name).unwrap_or_default();
                let file = file.to_string_lossy().into_owned();
                note(&mut outcomes, file, &scenario.name, event.event);
            }
            Ok(All::Feature(..) | All::Started | All::ParsingFinished { .. } | All::Finished) => {}
            Err(error) => {
                let failure = Some(error.to_string());
                outcomes.push(Outcome { feature: "unread".into(), scenario: String::new(), failure });
            }
        }
    }
}

fn note(outcomes: &mut Vec<Outcome>, feature: String, scenario: &str, event: Scenario<World>) {
    match event {
        Scenario::Started => outcomes.push(Outcome { feature, scenario: scenario.to_owned(), failure: None }),
        Scenario::Step(step, StepEvent::Skipped) => {
            fail(outcomes, &feature, scenario, format!("no step is written for: {}", step.value));
        }
        Scenario::Step(step, StepEvent::Failed(_, _, _, error)) => {
            fail(outcomes, &feature, scenario, format!("{}: {error}", step.value));
        }
        Scenario::Step(_, StepEvent::Started | StepEvent::Passed(..))
        | Scenario::Background(..)
        | Scenario::Hook(..)
        | Scenario::Log(_)
        | Scenario::Finished => {}
    }
}

/// The first failure of a scenario counts.
fn fail(outcomes: &mut [Outcome], feature: &str, scenario: &str, why: String) {
    let found = outcomes.iter_mut().find(|o| o.feature == feature && o.scenario == scenario);
    if let Some(outcome) = found {
        outcome.failure.get_or_insert(why);
    }
}
