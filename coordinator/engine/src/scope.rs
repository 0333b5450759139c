//! What an expression sees at a place: the standard's arguments and the variables of the loops and catches around it.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};
use stepmill_definition::expression::{Expression, Variables, budget};
use stepmill_definition::plan::{DurationSpec, Node, NodeKind, Part, Template};
use stepmill_definition::schema::Schema;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Millis, StepPath, Timestamp, limit};

use crate::fault::Fault;
use crate::frame::{Frame, FrameId, Place, State, TryPhase};
use crate::instant;
use crate::mention::Texts;
use crate::values::Held;
use crate::walk::Walk;

/// Errors of a schema that are told; the rest is counted.
const SCHEMA_ERRORS_TOLD: usize = 10;

/// Where an expression is evaluated. What is none has no value there.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) place: Place,
    /// None for the workflow's own data flow.
    pub(crate) node: Option<&'a Node>,
    pub(crate) began: Timestamp,
    pub(crate) raw: Option<&'a Held>,
    pub(crate) input: Option<&'a Held>,
    pub(crate) raw_output: Option<&'a Held>,
    pub(crate) output: Option<&'a Held>,
    /// `$context` as it was, instead of as it is.
    pub(crate) context: Option<&'a Held>,
    /// The error that a `catch` looks at.
    pub(crate) error: Option<(&'a Arc<str>, &'a Arc<Value>)>,
}

impl<'a> Site<'a> {
    pub(crate) fn workflow(at: Timestamp) -> Self {
        Self {
            place: Place { parent: None, slot: 0 },
            node: None,
            began: at,
            raw: None,
            input: None,
            raw_output: None,
            output: None,
            context: None,
            error: None,
        }
    }

    pub(crate) fn entry(place: Place, node: &'a Node, at: Timestamp, raw: &'a Held) -> Self {
        Self { place, node: Some(node), raw: Some(raw), ..Self::workflow(at) }
    }

    /// Inside a task that is under way.
    pub(crate) fn inside(node: &'a Node, frame: &'a Frame) -> Self {
        Self {
            place: frame.place,
            node: Some(node),
            raw: frame.raw.as_ref(),
            input: frame.input.as_ref(),
            ..Self::workflow(frame.began)
        }
    }
}

/// A variable's value, made only if an expression mentions the variable.
type Lazy<'v> = &'v dyn Fn() -> Option<Arc<Value>>;

struct Names {
    context: Arc<str>,
    input: Arc<str>,
    output: Arc<str>,
    task: Arc<str>,
    workflow: Arc<str>,
    runtime: Arc<str>,
    secrets: Arc<str>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
    context: "context".into(),
    input: "input".into(),
    output: "output".into(),
    task: "task".into(),
    workflow: "workflow".into(),
    runtime: "runtime".into(),
    secrets: "secrets".into(),
});

impl Walk<'_> {
    /// The value of a template.
    pub(crate) fn evaluate(&self, site: &Site<'_>, template: &Template, on: &Value) -> Result<Arc<Value>, Fault> {
        match template {
            Template::Const(value) => Ok(value.clone()),
            Template::Expr(_) | Template::Array(_) | Template::Object(_) => {
                let variables = self.variables(site, &Texts::default().template(template));
                Ok(template.evaluate(on, &variables)?)
            }
        }
    }

    /// The same, taken into the run.
    pub(crate) fn make(&mut self, site: &Site<'_>, template: &Template, on: &Value) -> Result<Held, Fault> {
        let value = self.evaluate(site, template, on)?;
        Ok(self.values.make(value)?)
    }

    /// Whether a condition holds.
    pub(crate) fn holds(&self, site: &Site<'_>, condition: &Expression, on: &Value) -> Result<bool, Fault> {
        let variables = self.variables(site, &Texts::default().expression(condition));
        Ok(condition.holds(on, &variables)?)
    }

    /// A duration.
    pub(crate) fn duration(&self, site: &Site<'_>, spec: &DurationSpec, on: &Value) -> Result<Millis, Fault> {
        let millis = match spec {
            DurationSpec::Const(millis) => *millis,
            DurationSpec::Template(template) => {
                let value = self.evaluate(site, template, on)?;
                match value.get("cron").and_then(Value::as_str) {
                    Some(pattern) => stepmill_definition::cron::until_next(pattern, self.at),
                    None => stepmill_definition::duration::from_value(&value),
                }
                .map_err(|reason| Fault::standard(Standard::Expression, reason))?
            }
        };
        if millis > limit::DURATION_MAX {
            let (given, max) = (millis.0, limit::DURATION_MAX.0);
            let detail =
                format!("a duration of {given} ms is longer than {max} ms, the longest allowed (DURATION_MAX)");
            return Err(Fault::standard(Standard::Expression, detail));
        }
        Ok(millis)
    }

    pub(crate) fn variables(&self, site: &Site<'_>, texts: &Texts<'_>) -> Variables {
        let mut found = Variables::default();
        if texts.is_empty() {
            return found;
        }
        let names = &*NAMES;
        let mut add = |name: &Arc<str>, value: Lazy<'_>| {
            if texts.mention(name)
                && !found.0.iter().any(|(n, _)| n == name)
                && let Some(value) = value()
            {
                found.0.push((name.clone(), value));
            }
        };
        let of = |held: Option<&Held>| held.map(|h| h.value().clone());
        if let Some((name, error)) = site.error {
            add(name, &|| Some(error.clone()));
        }
        self.nested(site.place, &mut add);
        add(&names.context, &|| of(site.context.or(self.live.context.as_ref())));
        add(&names.input, &|| of(site.input));
        add(&names.output, &|| of(site.output));
        add(&names.task, &|| site.node.map(|node| Arc::new(self.task(site, node))));
        add(&names.workflow, &|| Some(Arc::new(self.workflow_descriptor())));
        add(&names.runtime, &|| {
            Some(Arc::new(json!({ "name": "stepmill", "version": self.head.engine.to_string(), "metadata": {} })))
        });
        add(&names.secrets, &|| Some(Arc::new(self.secrets())));
        found
    }

    /// The variables of the loops and catches around a place, inner ones first. A function sees none of its caller's.
    fn nested(&self, place: Place, add: &mut dyn FnMut(&Arc<str>, Lazy<'_>)) {
        let mut below = place;
        while let Some((id, frame)) = below.parent.and_then(|id| self.live.frames.get(&id).map(|f| (id, f))) {
            let node = self.plan.get(frame.node);
            match (&frame.state, node.map(|n| &n.kind)) {
                (State::Loop(_) | State::Gather(..), Some(NodeKind::For { each, at, .. })) => {
                    let index = below.slot;
                    add(each, &|| self.items(id).and_then(|items| items.get(index as usize).cloned().map(Arc::new)));
                    add(at, &|| Some(Arc::new(index.into())));
                }
                (State::Try(t), Some(NodeKind::Try { catch, .. })) => match &t.phase {
                    TryPhase::Catch(error) => add(&catch.as_, &|| Some(error.value().clone())),
                    TryPhase::Body(_) | TryPhase::Delay(_) => {}
                },
                (State::Listen(state), Some(NodeKind::Listen(listen))) => {
                    if let Some(foreach) = &listen.foreach {
                        add(&foreach.item, &|| state.current.as_ref().map(|event| event.value().clone()));
                        add(&foreach.at, &|| Some(Arc::new(below.slot.into())));
                    }
                }
                (State::Scope, _) => return,
                (
                    State::List
                    | State::Loop(_)
                    | State::Gather(..)
                    | State::Fork(_)
                    | State::Try(_)
                    | State::Wait(_)
                    | State::Call(_)
                    | State::Listen(_),
                    _,
                ) => {}
            }
            below = frame.place;
        }
    }

    /// What a `for` that is under way goes through. Evaluated again after a load, from the same input, variables and
    /// context, so that the list need not be stored.
    pub(crate) fn items(&self, id: FrameId) -> Option<Arc<Value>> {
        let frame = self.live.frames.get(&id)?;
        let items = match &frame.state {
            State::Loop(items) | State::Gather(items, _) => items,
            State::List
            | State::Scope
            | State::Fork(_)
            | State::Try(_)
            | State::Wait(_)
            | State::Call(_)
            | State::Listen(_) => {
                return None;
            }
        };
        if let Some(list) = items.memo.get() {
            return Some(list.clone());
        }
        let node = self.plan.get(frame.node)?;
        let NodeKind::For { items: template, .. } = &node.kind else { return None };
        let site = Site { context: items.context.as_ref(), ..Site::inside(node, frame) };
        let on = frame.input.as_ref().map(|h| h.value().clone()).unwrap_or_default();
        // Whether the list is still in memory must not change what the step may do.
        let list = budget::apart(|| self.evaluate(&site, template, &on)).ok()?;
        Some(items.memo.get_or_init(|| list).clone())
    }

    fn workflow_descriptor(&self) -> Value {
        json!({
            "id": self.head.id.to_string(),
            "definition": self.plan.definition,
            "input": self.live.input.as_ref().map(|h| h.value().as_ref()),
            "startedAt": instant::descriptor(self.head.submitted_at),
        })
    }

    /// The task as it stands in the definition, what it got and when it began. To an extension, `$task` is the task that it
    /// extends, with the fields of that one's definition at hand.
    fn task(&self, site: &Site<'_>, node: &Node) -> Value {
        let of = |held: Option<&Held>| held.map(|h| h.value().as_ref().clone());
        let about = match node.part {
            Part::Around(extended) => self.plan.get(extended),
            Part::Own | Part::Extended => None,
        };
        let mut fields = about.and_then(|about| about.definition.as_object().cloned()).unwrap_or_default();
        let told = about.unwrap_or(node);
        fields.insert("name".into(), told.name.as_ref().into());
        fields.insert("reference".into(), told.path.0.as_ref().into());
        fields.insert("definition".into(), told.definition.clone());
        fields.insert("input".into(), of(site.raw).unwrap_or_default());
        match of(site.raw_output) {
            Some(output) => fields.insert("output".into(), output),
            None => fields.remove("output"),
        };
        fields.insert("startedAt".into(), instant::descriptor(site.began));
        Value::Object(fields)
    }

    /// Names to references, which a worker replaces by the secrets' values. The values themselves never come here.
    fn secrets(&self) -> Value {
        let scope = self.head.secret.scope(&self.plan.secrets);
        let fields = self.plan.secrets.iter().map(|name| (name.clone(), scope.reference(name).into()));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

/// Holds a value against a schema.
pub(crate) fn check(schema: Option<&Arc<Schema>>, what: &str, value: &Value) -> Result<(), Fault> {
    let Some(schema) = schema else { return Ok(()) };
    schema.check(value).map_err(|errors| {
        let told = errors.iter().take(SCHEMA_ERRORS_TOLD).map(String::as_str).collect::<Vec<_>>().join("; ");
        let more = errors.len().saturating_sub(SCHEMA_ERRORS_TOLD);
        let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
        Fault::standard(Standard::Validation, format!("the {what} does not fit its schema: {told}{rest}"))
    })
}

/// The place in the definition that the workflow's own errors name.
pub(crate) fn workflow_path() -> StepPath {
    StepPath("/".into())
}
