//! `listen` to a node.

use std::sync::Arc;

use stepmill_protocol::limit::EVENT_FILTERS_MAX;

use super::Compiler;
use super::flow::shared;
use super::policy::all;
use crate::expression::Expression;
use crate::model::event::{Consumption as Model, Correlate, Filter as FilterModel, Foreach as Each};
use crate::model::event::{Listen as ListenModel, Until as UntilModel};
use crate::model::expression_inside;
use crate::model::reader::Text;
use crate::model::task::Task;
use crate::pattern::Pattern;
use crate::plan::{Consumption, Correlation, Filter, Foreach, Listen, NodeId, NodeKind, Until, Wanted};
use crate::tree::{Kind, Tree};

impl<'a, 't> Compiler<'a, 't> {
    pub(super) fn listen(
        &mut self,
        task: &'a Task<'t>,
        model: &'a ListenModel<'t>,
        id: NodeId,
        path: &str,
    ) -> Option<NodeKind> {
        let events = model.events.as_ref().and_then(|events| self.consumption(events));
        let foreach = model.foreach.as_ref().map(|foreach| self.foreach(task, foreach, id, path));
        Some(NodeKind::Listen(Box::new(Listen { events: events?, foreach: all(foreach)? })))
    }

    pub(super) fn consumption(&mut self, model: &'a Model<'t>) -> Option<Consumption> {
        let mut filters: Vec<_> = self.filters(model);
        let own = filters.len();
        let until = model.until.as_ref().map(|until| match until {
            UntilModel::Condition(text) => {
                let condition = self.bare(text)?;
                Some(if condition.source.trim() == "false" { Until::Never } else { Until::Condition(condition) })
            }
            UntilModel::Consumed(others) => {
                filters.extend(self.filters(others));
                Some(Until::Consumed(others.mode))
            }
        });
        if filters.len() > EVENT_FILTERS_MAX {
            let message = format!("there are more than {EVENT_FILTERS_MAX} event filters (EVENT_FILTERS_MAX)");
            self.reader.error(
                "too-large",
                model.tree.span,
                &model.tree.at,
                message,
                "use fewer, or regular expressions",
            );
            return None;
        }
        let filters: Option<Vec<Filter>> = filters.into_iter().collect();
        Some(Consumption { filters: filters?, own, mode: model.mode, until: all(until)?, read: model.read })
    }

    /// `any` of no filter takes every event.
    fn filters(&mut self, model: &'a Model<'t>) -> Vec<Option<Filter>> {
        if model.filters.is_empty() && model.mode == crate::plan::Mode::One {
            let everything = Filter { kind: None, attributes: Vec::new(), data: None, correlate: Vec::new() };
            return vec![Some(everything)];
        }
        model.filters.iter().map(|filter| self.filter(filter)).collect()
    }

    fn filter(&mut self, model: &'a FilterModel<'t>) -> Option<Filter> {
        let data = model.with.iter().find(|e| &*e.key == "data").map(|e| self.template(&e.value, false));
        let rest = model.with.iter().filter(|e| &*e.key != "data");
        let attributes: Vec<_> = rest.map(|e| Some((Arc::from(&*e.key), self.wanted(&e.value)?))).collect();
        let correlate: Vec<_> = model.correlate.iter().map(|c| self.correlation(c)).collect();
        let attributes: Vec<(Arc<str>, Wanted)> = attributes.into_iter().collect::<Option<_>>()?;
        let kind = attributes.iter().find_map(|(name, wanted)| match wanted {
            Wanted::Text(text) if &**name == "type" => Some(Arc::clone(text)),
            Wanted::Text(_) | Wanted::Pattern(_) | Wanted::Value(_) => None,
        });
        let correlate = correlate.into_iter().collect::<Option<_>>()?;
        Some(Filter { kind, attributes, data: all(data)?, correlate })
    }

    fn wanted(&mut self, tree: &Tree) -> Option<Wanted> {
        match &tree.kind {
            Kind::Text(text) if expression_inside(text).is_some() => self.template(tree, false).map(Wanted::Value),
            Kind::Text(text) => {
                Some(Pattern::of(text).map_or_else(|| Wanted::Text(Arc::from(&**text)), Wanted::Pattern))
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => {
                Some(Wanted::Text(tree.to_json().to_string().into()))
            }
        }
    }

    /// `from` sees the event only, so that it is evaluated once for all runs that listen.
    fn correlation(&mut self, model: &'a Correlate<'t>) -> Option<Correlation> {
        let from = self.alone(&model.from);
        let expect = model.expect.map(|t| self.template(t, false));
        Some(Correlation { key: Arc::from(&*model.key), from: from?, expect: all(expect)? })
    }

    fn alone(&mut self, text: &Text) -> Option<Expression> {
        let inside = expression_inside(&text.text).unwrap_or(&text.text);
        Expression::compile(inside, &[]).map_err(|mistake| self.report(text, inside, mistake)).ok()
    }

    fn foreach(&mut self, task: &'a Task<'t>, model: &'a Each<'t>, id: NodeId, path: &str) -> Option<Foreach> {
        let item: Arc<str> = model.item.as_ref().map_or_else(|| Arc::from("item"), shared);
        let at: Arc<str> = model.at.as_ref().map_or_else(|| Arc::from("index"), shared);
        let (body, flow) = self.with_variables(&[Arc::clone(&item), Arc::clone(&at)], |c| {
            let body = model.body.as_ref().map(|tasks| {
                let (name, path) = (&*task.name.text, format!("{path}/foreach/do"));
                c.block(tasks, &path, name, Some(id), &task.name.at, task.name.span)
            });
            (body, c.flow(&model.flow))
        });
        Some(Foreach { item, at, body: all(body)?, flow: flow? })
    }
}
