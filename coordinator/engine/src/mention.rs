//! Which variables expressions mention. Values are kept, and variables built, only where some expression could read them.
//! The question is asked of the expression's text, so the answer may be a yes too many, never a no too many.

use stepmill_definition::expression::Expression;
use stepmill_definition::plan::{Catch, DataFlow, DurationSpec, Listen, Node, NodeKind, Plan, Template, Until};

use crate::event::pin;

/// Texts of expressions.
#[derive(Default)]
pub(crate) struct Texts<'p>(Vec<&'p str>);

impl<'p> Texts<'p> {
    pub(crate) fn mention(&self, variable: &str) -> bool {
        self.0.iter().any(|text| text.contains(variable))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn expression(mut self, e: &'p Expression) -> Self {
        self.0.push(&e.source);
        self
    }

    pub(crate) fn template(mut self, t: &'p Template) -> Self {
        self.add(t);
        self
    }

    fn add(&mut self, template: &'p Template) {
        match template {
            Template::Const(_) => {}
            Template::Expr(e) => self.0.push(&e.source),
            Template::Array(items) => items.iter().for_each(|t| self.add(t)),
            Template::Object(fields) => fields.iter().for_each(|(_, t)| self.add(t)),
        }
    }

    fn expressions(mut self, expressions: impl IntoIterator<Item = &'p Expression>) -> Self {
        self.0.extend(expressions.into_iter().map(|e| e.source.as_ref()));
        self
    }

    fn templates(mut self, templates: impl IntoIterator<Item = &'p Template>) -> Self {
        templates.into_iter().for_each(|t| self.add(t));
        self
    }

    fn durations(mut self, durations: impl IntoIterator<Item = &'p DurationSpec>) -> Self {
        for duration in durations {
            match duration {
                DurationSpec::Const(_) => {}
                DurationSpec::Template(t) => self.add(t),
            }
        }
        self
    }

    /// What is evaluated after the task has begun.
    pub(crate) fn later(node: &'p Node) -> Self {
        let texts = Self::default().templates(node.flow.output_as.iter().chain(&node.flow.export_as));
        match &node.kind {
            NodeKind::For { items, while_, .. } => texts.template(items).expressions(while_),
            NodeKind::Try { catch, .. } => texts.catch(catch),
            NodeKind::Do { .. }
            | NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::Fork { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Call(_) => texts,
            NodeKind::Listen(listen) => texts.listen(listen),
        }
    }

    /// What is evaluated on each event.
    fn listen(self, listen: &'p Listen) -> Self {
        let texts = self.templates(listen.events.filters.iter().filter_map(|f| f.data.as_ref()));
        let texts = match &listen.events.until {
            Some(Until::Condition(condition)) => texts.expression(condition),
            Some(Until::Never | Until::Consumed(_)) | None => texts,
        };
        listen.foreach.iter().fold(texts, |texts, foreach| texts.flow(&foreach.flow))
    }

    fn catch(self, catch: &'p Catch) -> Self {
        let texts =
            self.templates(catch.with.iter().map(|(_, t)| t)).expressions(catch.when.iter().chain(&catch.except_when));
        let Some(retry) = &catch.retry else { return texts };
        let jitter = retry.jitter.iter().flat_map(|(from, to)| [from, to]);
        texts
            .expressions(retry.when.iter().chain(&retry.except_when))
            .durations(jitter.chain([&retry.delay]).chain(&retry.attempt_duration).chain(&retry.duration_max))
    }

    fn flow(self, flow: &'p DataFlow) -> Self {
        self.templates(flow.input_from.iter().chain(&flow.output_as).chain(&flow.export_as))
    }

    fn node(self, node: &'p Node) -> Self {
        let texts = self.expressions(&node.condition).flow(&node.flow).durations(&node.timeout);
        match &node.kind {
            NodeKind::Do { .. } | NodeKind::Fork { .. } => texts,
            NodeKind::Set { value: t } | NodeKind::Raise { error: t } | NodeKind::Scope { with: t, .. } => {
                texts.template(t)
            }
            NodeKind::Switch { cases } => texts.expressions(cases.iter().filter_map(|c| c.when.as_ref())),
            NodeKind::For { items, while_, .. } => texts.template(items).expressions(while_),
            NodeKind::Try { catch, .. } => texts.catch(catch),
            NodeKind::Wait { duration } => texts.durations([duration]),
            NodeKind::Call(call) => texts.templates(&call.with),
            NodeKind::Listen(listen) => {
                let pinned = listen.events.filters.iter().flat_map(|f| pin(f).flatten());
                texts.templates(pinned).listen(listen)
            }
        }
    }

    /// All of a plan.
    pub(crate) fn plan(plan: &'p Plan) -> Self {
        let texts = Self::default().flow(&plan.flow).durations(&plan.timeout);
        plan.nodes.iter().fold(texts, Self::node)
    }
}
